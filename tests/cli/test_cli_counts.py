"""What a short command costs, counted: modules that are imported and queries that are made."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from cli_project import PATIENCE_S, Project, environment_with
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial
from warm_project import small_project

NAME = "training.learning_rate"
DRAWING = {"rich", "markdown_it", "pygments"}
COUNTING = {"numpy", "pydantic", "sqlalchemy"}
HEAVY = {"alembic", "matplotlib", "mlflow", "omegaconf", "optuna", "plotly", "scipy", "torch"}
OF_A_FUNCTION = """\
study: {name: own, metric: loss, direction: minimize}
params_to_tune: {x: {type: float, low: 0.0, high: 1.0}}
"""
FUNCTION = """\
import gc
from pathlib import Path


def run(trial):
    with Path(__file__).with_name("thresholds").open("a") as file:
        print(gc.get_threshold()[0], file=file)
    return trial.config["x"] ** 2
"""
# Counts every query of the process, then tells which modules it has and what it counted.
COUNT = """
import atexit, json, sqlite3, sys
from tunectl.cli.app import run
sys.argv[0] = "tunectl"
queries, connect = [], sqlite3.connect
def counting(*arguments, **more):
    connection = connect(*arguments, **more)
    connection.set_trace_callback(queries.append)
    return connection
sqlite3.connect = counting
atexit.register(lambda: sys.stderr.write(json.dumps([sorted(sys.modules), queries])))
sys.exit(run())
"""


def counted(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> tuple[str, set[str], list[str]]:
    """Run a command; return what it printed, the modules that it imported and its queries."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT, *arguments],
        cwd=folder,
        env=environment_with(environment or {}),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:500]
    modules, queries = json.loads(done.stderr)
    return done.stdout, set(modules), [one for one in queries if one.lstrip().startswith("SELECT")]


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def commands(modules: set[str]) -> set[str]:
    """Return the modules of commands among those imported."""
    of_commands = {"doctor", "mirror", "pages", "plots", "predict", "results", "study", "tune"}
    return of_commands & {name.removeprefix("tunectl.cli.") for name in modules}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project with studies of 20 and of 200 trials, made by Optuna alone."""
    made = small_project(tmp_path_factory.mktemp("counts"))
    (made.path / "optuna").mkdir()
    for count in (20, 200):
        study = optuna.create_study(study_name=f"of-{count}", storage=made.url)
        study.add_trials([trial_of(number / count) for number in range(count)])
    return made


def trial_of(value: float) -> Any:
    return create_trial(
        value=value,
        params={NAME: 0.1},
        distributions={NAME: FloatDistribution(0.0, 1.0)},
        intermediate_values={1: 1.0, 2: value},
        user_attrs={"output_dir": f"outputs/{value}"},
    )


def test_the_version_needs_no_command_and_draws_nothing(tmp_path: Path) -> None:
    said, modules, _ = counted(tmp_path, "--version")

    assert said.startswith("tunectl ")
    assert packages(modules) & (DRAWING | COUNTING | HEAVY | {"yaml"}) == set()
    assert not commands(modules)


def test_help_needs_no_more_than_what_draws_it(tmp_path: Path) -> None:
    for arguments in (["--help"], ["study", "--help"]):
        said, modules, _ = counted(tmp_path, *arguments)
        assert "Usage" in said
        assert (
            packages(modules) & ({"markdown_it", "pygments"} | COUNTING | HEAVY | {"yaml"}) == set()
        )
        assert not commands(modules)

    said, modules, _ = counted(tmp_path, "plots", "--help")
    assert "--only" in said
    assert packages(modules) & ({"markdown_it", "pygments"} | COUNTING | HEAVY) == set()
    assert commands(modules) == {"plots"}


def test_a_completion_draws_nothing_and_checks_nothing(project: Project) -> None:
    for words, offered in (
        (("summary", "--study", "of-2"), "of-20"),
        (("trial", "show", "--study", "of-20", "1"), "19"),
        (("tune", "--wor"), "--workers"),
        (("su",), "summary"),
    ):
        asked = {
            "_TUNECTL_COMPLETE": "complete_bash",
            "COMP_WORDS": "\n".join(("tunectl", *words)),
            "COMP_CWORD": str(len(words)),
        }
        said, modules, _ = counted(project.path, environment=asked)
        assert offered in said.split()
        assert packages(modules) & (DRAWING | COUNTING | HEAVY) == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ("summary", "--json"),
        ("summary", "--csv"),
        ("best", "--json"),
        ("trial", "list", "--json"),
    ],
    ids=" ".join,
)
def test_a_summary_takes_as_many_queries_whatever_the_number_of_trials(
    project: Project, arguments: tuple[str, ...]
) -> None:
    said, modules, few = counted(project.path, *arguments, "--study", "of-20")
    more, _, many = counted(project.path, *arguments, "--study", "of-200")

    assert 0 < len(few) == len(many) <= 15
    assert packages(modules) & (DRAWING | HEAVY | {"numpy", "sqlalchemy"}) == set()
    assert said != more
    # Of what every epoch reported, only how much it is.
    about_epochs = [query for query in many if "trial_intermediate_values" in query]
    assert all("COUNT(*)" in query for query in about_epochs)


def test_a_list_of_studies_takes_the_same_queries_for_each(project: Project) -> None:
    said, modules, queries = counted(project.path, "study", "list", "--json")

    assert [one["n_trials"] for one in json.loads(said)["studies"]] == [20, 200]
    assert packages(modules) & (DRAWING | HEAVY | {"numpy", "sqlalchemy"}) == set()
    assert not any("trial_intermediate_values" in query for query in queries)
    assert len(queries) <= 3 + 2 * 7


def test_a_call_that_has_no_trial_to_run_needs_no_pytorch(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    name = project.ok("study", "create").out.strip()
    study = optuna.load_study(study_name=name, storage=project.url)
    study.add_trials([create_trial(value=1.0) for _ in range(3)])

    for arguments in (
        ("tune", "--until", "3", "--device", "cuda:7"),
        ("study", "resume", name, "--until", "2"),
        ("worker", "--study", name, "--until", "1"),
    ):
        _, modules, _ = counted(project.path, "-q", *arguments)
        assert packages(modules) & {"torch", "matplotlib", "sklearn"} == set()
    said = project.tunectl("tune", "--until", "4", "--device", "cuda:7").err
    assert "cuda:7 is not on this machine" in said


def test_a_first_trial_needs_neither_alembic_nor_omegaconf(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    project.write(params="objective: fit:run\nx: 1.0\n", optuna_params=OF_A_FUNCTION)
    (project.path / "fit.py").write_text(FUNCTION, encoding="utf-8")

    _, modules, _ = counted(project.path, "-q", "tune", "--n-trials", "1")

    unwanted = {"alembic", "antlr4", "hydra", "mako", "omegaconf", "pygments", "torch"}
    assert packages(modules) & unwanted == set()
    assert not {"tunectl.running.executors.processes", "tunectl.demo.dataset"} & modules
    # Garbage is looked for as usual by then, though what is counted here began without `main`.
    assert project.ok("-q", "tune", "--n-trials", "1").code == 0
    assert (project.path / "thresholds").read_text().split() == [str(gc.get_threshold()[0])] * 2
