"""What is read of a finished study: summary, best, trial and study, for people and for programs."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_project import COLOUR, TUNECTL, Project, bundle_of, environment_with
from warm_project import mixed_project

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
STATES = {"complete": 3, "pruned": 1, "failed": 1, "running": 0, "waiting": 0}
STUDY_KEYS = {"name", "direction", "metric", "created_at", "storage"}
TRIAL_KEYS = {
    "number",
    "state",
    "value",
    "params",
    "started_at",
    "finished_at",
    "duration_s",
    "epochs",
    "output_dir",
    "error",
}
BEST_KEYS = {"number", "value", "params", "output_dir", "mlflow_run_id"}


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return mixed_project(tmp_path_factory)


def check_trial(trial: dict[str, Any]) -> None:
    """Check the types of a trial in any JSON document."""
    assert set(trial) >= TRIAL_KEYS
    assert TIME.fullmatch(trial["started_at"])
    assert TIME.fullmatch(trial["finished_at"])
    assert trial["duration_s"] > 0
    assert re.fullmatch(r"outputs/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d(-\d+)?", trial["output_dir"])
    assert (trial["error"] is not None) == (trial["state"] == "failed")
    assert (trial["value"] is None) == (trial["state"] == "failed")


def test_summary_json_is_what_the_contract_says(mixed: Project) -> None:
    result = mixed.ok("summary", "--json")

    summary = result.document()
    assert result.err == ""
    assert set(summary) == {"schema_version", "study", "n_trials", "states", "best", "trials"}
    assert (summary["schema_version"], summary["n_trials"]) == (1, 5)
    assert summary["states"] == STATES
    study = summary["study"]
    assert set(study) == STUDY_KEYS
    assert TIME.fullmatch(study.pop("created_at"))
    assert study == {
        "name": "mixed",
        "direction": "minimize",
        "metric": "val_mse",
        "storage": "sqlite:///optuna/study.db",
    }
    assert [trial["number"] for trial in summary["trials"]] == [0, 1, 2, 3, 4]
    for trial in summary["trials"]:
        assert set(trial) == TRIAL_KEYS
        check_trial(trial)
    complete = [trial for trial in summary["trials"] if trial["state"] == "complete"]
    best = min(complete, key=lambda trial: trial["value"])
    assert set(summary["best"]) == BEST_KEYS
    assert summary["best"]["number"] == best["number"]
    assert summary["best"]["params"] == best["params"]


def test_summary_top_leaves_the_best_completed_trials_best_first(mixed: Project) -> None:
    summary = mixed.ok("summary", "--json", "--top", "2").document()

    values = [trial["value"] for trial in summary["trials"]]
    assert values == sorted(values)
    assert len(values) == 2
    assert values[0] == summary["best"]["value"]
    assert summary["n_trials"] == 5


def test_summary_csv_has_a_row_for_each_trial(mixed: Project) -> None:
    result = mixed.ok("summary", "--csv")

    rows = list(csv.DictReader(io.StringIO(result.out)))
    assert result.err == ""
    assert [row["number"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert {row["state"] for row in rows} == {"complete", "pruned", "failed"}
    frozen = mixed.trials("mixed")
    for row, trial in zip(rows, frozen, strict=True):
        assert float(row["training.learning_rate"]) == trial.params["training.learning_rate"]
        assert row["value"] == ("" if trial.value is None else repr(trial.value))


def test_summary_for_people_has_every_trial_and_no_colour_without_a_terminal(
    mixed: Project,
) -> None:
    result = mixed.ok("summary")

    assert "3 complete, 1 pruned, 1 failed" in result.out
    for trial in mixed.trials("mixed"):
        assert trial.user_attrs["output_dir"] in result.out
    assert "diverged" in result.out
    assert "\x1b" not in result.out


def test_a_terminal_gets_colour_unless_no_color_is_set(mixed: Project) -> None:
    code, seen = mixed.in_terminal("summary")
    assert (code, bool(COLOUR.search(seen))) == (0, True)

    code, seen = mixed.in_terminal("summary", NO_COLOR="1")
    assert code == 0
    assert not re.search(r"\x1b\[(\d+;)*(3\d|9\d)m", seen)


def test_best_json_is_the_best_of_the_summary_with_metrics_and_study(mixed: Project) -> None:
    best = mixed.ok("best", "--json").document()
    summary = mixed.ok("summary", "--json").document()

    metrics, study = best.pop("metrics"), best.pop("study")
    assert best.pop("mlflow_parent_run_id") is None  # it was never mirrored
    assert best == {"schema_version": 1, **summary["best"]}
    assert study == summary["study"]
    assert metrics == mixed.json(f"{best['output_dir']}/metrics.json")


def test_best_params_is_yaml_to_put_into_params_yaml(mixed: Project) -> None:
    result = mixed.ok("best", "--params")

    rate = mixed.study("mixed").best_params["training.learning_rate"]
    assert yaml.safe_load(result.out) == {"training": {"learning_rate": rate}}
    assert result.err == ""


def test_best_export_writes_a_bundle_that_training_can_start_from(
    mixed: Project, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bundle = tmp_path / "to give away" / "bundle"
    shutil.copytree(bundle_of(mixed, tmp_path_factory), bundle)
    (bundle / "metrics.json").unlink()

    again = mixed.ok("best", "--export", "--to", bundle)

    assert again.out == f"{bundle}\n"
    names = {path.name for path in bundle.iterdir()}
    assert names >= {"model_simplecnn_real.pth", "metrics.json", "params_best.yaml", "config.yaml"}
    assert not any(name.startswith(".") for name in names)
    rate = mixed.study("mixed").best_params["training.learning_rate"]
    params = yaml.safe_load((bundle / "params_best.yaml").read_text())
    assert params["training"]["learning_rate"] == rate
    mixed.ok("check", "--params", bundle / "params_best.yaml")


def test_best_export_never_replaces_what_is_no_bundle(mixed: Project, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    result = mixed.tunectl("best", "--export", "--to", tmp_path)

    assert result.code == 2
    assert str(tmp_path) in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_trial_list_and_show_tell_the_same(mixed: Project) -> None:
    listed = mixed.ok("trial", "list", "--json").document()

    assert (listed["schema_version"], len(listed["trials"])) == (1, 5)
    by_state = {trial["state"]: trial for trial in listed["trials"]}
    for state in ("complete", "failed"):
        expected = by_state[state]
        shown = mixed.ok("trial", "show", str(expected["number"]), "--json").document()
        assert shown["study"] == "mixed"
        assert {key: shown[key] for key in TRIAL_KEYS} == expected
        rate = expected["params"]["training.learning_rate"]
        assert shown["config"]["training"]["learning_rate"] == rate


def test_trials_for_people_show_state_place_and_each_target(mixed: Project) -> None:
    best = mixed.study("mixed").best_trial

    listed = mixed.ok("trial", "list")
    shown = mixed.ok("trial", "show", str(best.number))

    assert len(listed.out.splitlines()) == 6
    assert f"*{best.number}" in listed.out
    assert best.user_attrs["output_dir"] in shown.out
    assert "flow [m/s]" in shown.out
    assert listed.err == shown.err == ""


def test_trial_path_is_an_absolute_folder_and_nothing_else(mixed: Project) -> None:
    out = mixed.ok("trial", "path", "4").out

    folder = Path(out.removesuffix("\n"))
    assert folder.is_absolute()
    assert folder == mixed.path / mixed.trials("mixed")[4].user_attrs["output_dir"]
    assert (folder / "trial_info.yaml").is_file()


def test_study_list_and_show(mixed: Project) -> None:
    studies = mixed.ok("study", "list", "--json").document()
    shown = mixed.ok("study", "show", "--json").document()

    assert set(studies) == {"schema_version", "studies"}
    (study,) = studies["studies"]
    assert set(study) == {
        "name",
        "direction",
        "metric",
        "states",
        "n_trials",
        "best_value",
        "created_at",
    }
    assert (study["name"], study["n_trials"], study["states"]) == ("mixed", 5, STATES)
    assert study["best_value"] == mixed.study("mixed").best_value
    assert shown["schema_version"] == 1
    assert shown["study"]["name"] == "mixed"
    assert shown["space"]["training.learning_rate"]["choices"] == [0.02, 0.01, 0.005, 3.0, 1e30]
    assert shown["configuration"]["training"]["epochs"] == 2
    assert "mixed" in mixed.ok("study", "list").out
    assert "one of 0.02, 0.01, 0.005, 3" in mixed.ok("study", "show", "mixed").out


def test_the_project_may_be_named_anywhere_on_the_line_and_by_the_environment(
    mixed: Project, tmp_path: Path
) -> None:
    command, folder = ["trial", "path", "0"], str(mixed.path)

    results = [
        mixed.tunectl("-C", folder, *command, cwd=tmp_path),
        mixed.tunectl(*command, f"-C{folder}", cwd=tmp_path),
        mixed.tunectl(*command, cwd=tmp_path, TUNECTL_PROJECT=folder),
    ]

    directory = mixed.trials("mixed")[0].user_attrs["output_dir"]
    assert [result.out for result in results] == [f"{mixed.path / directory}\n"] * 3
    assert list(tmp_path.iterdir()) == []


def test_options_may_come_from_the_environment(mixed: Project) -> None:
    summary = mixed.ok("summary", TUNECTL_JSON="true", TUNECTL_TOP="1").document()
    assert len(summary["trials"]) == 1

    other = mixed.tunectl("summary", TUNECTL_STUDY="other")
    assert (other.code, "'other'" in other.err) == (3, True)

    elsewhere = mixed.tunectl("study", "list", "--json", OPTUNA_STORAGE="sqlite:///no/where.db")
    assert (elsewhere.code, "there is no database sqlite:///no/where.db" in elsewhere.err) == (
        7,
        True,
    )
    assert not (mixed.path / "no").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["summary", "--study", "none"],
        ["best", "--json", "--study", "none"],
        ["study", "resume", "none"],
        ["study", "delete", "none", "--yes"],
    ],
)
def test_an_unknown_study_is_exit_3_and_names_those_there_are(
    mixed: Project, command: list[str]
) -> None:
    result = mixed.tunectl(*command)

    assert (result.code, result.out) == (3, "")
    assert "no study 'none'; there are: mixed" in result.err


def test_an_unknown_trial_is_exit_3_and_says_which_there_are(mixed: Project) -> None:
    result = mixed.tunectl("trial", "show", "5")

    assert (result.code, result.out) == (3, "")
    assert "no trial 5; it has 0 to 4" in result.err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["summary", "--json", "--csv"], "--json and --csv exclude each other"),
        (["best", "--to", "here"], "--to goes with --export"),
        (["best", "--params", "--export"], "--export and --register exclude each other"),
        (["summary", "--top", "0"], "--top"),
        (["summary", "--jsn"], "--json"),
        (["sumary"], "summary"),
        (["trial", "show", "best"], "'N'"),
        (["-C", "nowhere", "summary"], "nowhere is no folder"),
        ([], "Usage: tunectl"),
    ],
)
def test_wrong_usage_is_exit_2_and_says_what_is_meant(
    mixed: Project, command: list[str], words: str
) -> None:
    result = mixed.tunectl(*command)

    assert result.code == 2
    assert words in result.said


@pytest.mark.parametrize("command", [["summary"], ["summary", "--json"], ["study", "show"]])
def test_a_closed_pipe_ends_it_quietly(mixed: Project, command: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [TUNECTL, *command],
            cwd=mixed.path,
            env=environment_with({}),
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_character_that_the_terminal_does_not_have_is_no_reason_to_fail(mixed: Project) -> None:
    best = mixed.study("mixed").best_trial.number

    result = mixed.ok("trial", "show", str(best), PYTHONIOENCODING="ascii")

    assert "R?" in result.out
