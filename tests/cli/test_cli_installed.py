"""The installed command, started anew for each line: what forks of a warm process cannot show.

The other tests ask what these commands say. Here each has to start, work with `-q` as `-q` says,
which is without a word on standard error, and end by itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cli_project import Project, claim_trials, copy_of, mixed_project, small_project

LINES = (
    "check --plan --json",
    "doctor --json",
    "report --out report.html",
    "plots --out plots --only history,learning-curves",
    "trial list",
    "trial show 0",
    "trial path 0",
    "study list",
    "study show --json",
    "study diff",
    "study enqueue mixed points.json",
    "study export mixed mixed.jsonl",
    "study import mixed.jsonl again",
    "study delete again --yes",
    "best --export --to bundle",
    "predict x.npy --bundle bundle",
    "init new",
    "demo new/data --samples 20",
)
MADE = ("report.html", "plots/history.png", "mixed.jsonl", "bundle", "new/params.yaml")


@pytest.mark.slow
def test_every_kind_of_command_starts_works_quietly_and_ends(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    mixed = mixed_project(tmp_path_factory)
    project = copy_of(mixed, tmp_path / "project")
    assert type(project) is Project, "it starts the installed command"
    claim_trials(project, mixed)
    (project.path / "points.json").write_text('[{"training.learning_rate": 0.01}]')

    results = {line: project.tunectl("-q", *line.split()) for line in LINES}

    wrong = {line: one for line, one in results.items() if one.code != 0 or one.err}
    assert wrong == {}
    assert [line for line, one in results.items() if not one.out] == []
    assert [name for name in MADE if not (project.path / name).exists()] == []
    for line in LINES:
        if line.endswith("--json"):
            assert results[line].document()["schema_version"] == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="another library for threads")
def test_threads_wait_for_each_other_without_a_core_unless_the_user_wants_it(
    tmp_path: Path,
) -> None:
    project = small_project(tmp_path)
    shown = {"OMP_DISPLAY_ENV": "VERBOSE"}

    usual = project.ok("tune", "--n-trials", "1", **shown)
    wanted = project.ok("tune", "--n-trials", "1", **shown, OMP_WAIT_POLICY="ACTIVE")

    assert "GOMP_SPINCOUNT = '0'" in usual.err
    assert "OMP_WAIT_POLICY = 'ACTIVE'" in wanted.err
