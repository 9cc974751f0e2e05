"""What every objective owes a user, whatever it runs: the same suite over all of them."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from cli_project import PATIENCE_S, Project, wait_for_file
from objective_cases import CASES, Case
from optuna.trial import FrozenTrial, TrialState
from warm_project import copy_of

from tunectl.objectives.registry import OBJECTIVES

EPOCHS_BEFORE_THE_KILL = 8


# One network with two sets of defaults, of which the other tests run the one again and again.
LONG = ("flow_cnn", "signal_regressor")
PARAMS = [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in sorted(CASES)]


def test_the_suite_runs_over_every_objective_that_tune_can_run() -> None:
    assert set(OBJECTIVES) - {"script"} <= set(CASES)


@pytest.fixture(scope="module", params=PARAMS)
def named(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def case(named: str) -> Case:
    return CASES[named]


@pytest.fixture(scope="module")
def finished(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Return the project with its study of two trials; only to be read."""
    project = case.make(tmp_path_factory.mktemp("finished"))
    project.ok("tune")
    yield project


def told(trials: list[FrozenTrial]) -> list[dict[str, Any]]:
    """Return all that a study found, to the bit."""
    return [
        {
            "state": trial.state,
            "values": trial.values,
            "params": trial.params,
            "reports": trial.intermediate_values,
        }
        for trial in trials
    ]


@pytest.mark.slow
def test_the_same_study_gives_the_same_numbers(
    case: Case, finished: Project, tmp_path: Path
) -> None:
    again = case.make(tmp_path)
    Project(again.path).ok("tune")  # the installed command, whose hashes have another seed

    assert told(again.trials("s")) == told(finished.trials("s"))
    assert [trial.state for trial in finished.trials("s")] == [TrialState.COMPLETE] * 2


@pytest.mark.slow
def test_a_hopeless_trial_is_pruned_and_leaves_its_directory(case: Case, tmp_path: Path) -> None:
    project = case.make(tmp_path)
    project.tunectl("tune", "--n-trials", "1", *case.hopeless)

    (trial,) = project.trials("s")
    assert trial.state is TrialState.PRUNED
    directory = project.path / trial.user_attrs["output_dir"]
    assert project.yaml(directory / "trial_info.yaml")["state"] == "pruned"
    assert (directory / "config.yaml").is_file()


@pytest.mark.slow
def test_a_killed_trial_goes_on_and_becomes_what_it_would_have_been(
    case: Case, tmp_path: Path
) -> None:
    unbroken = case.make(tmp_path / "unbroken")
    broken = case.make(tmp_path / "broken")
    unbroken.ok("tune", "--n-trials", "1", *case.long)
    with broken.started("tune", "--n-trials", "1", *case.long) as process:
        wait_for_epochs(broken, EPOCHS_BEFORE_THE_KILL)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_S)
    (interrupted,) = broken.trials("s")
    assert interrupted.state is TrialState.RUNNING
    (whole,) = unbroken.trials("s")
    assert len(interrupted.intermediate_values) < len(whole.intermediate_values)

    broken.ok("tune", "--n-trials", "1", *case.long)

    assert told(broken.trials("s")) == told(unbroken.trials("s"))
    assert metrics_of(broken) == metrics_of(unbroken)


def wait_for_epochs(project: Project, count: int) -> None:
    file = wait_for_file(project, "optuna/study.db")
    deadline = time.monotonic() + PATIENCE_S
    # Only read: another program must not make its tables first.
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        while time.monotonic() < deadline:
            with suppress(sqlite3.OperationalError):  # they are not there yet
                (seen,) = database.execute("SELECT COUNT(*) FROM trial_intermediate_values")
                if seen[0] >= count:
                    return
            time.sleep(0.01)
    raise AssertionError(f"there were no {count} epochs")


def metrics_of(project: Project) -> dict[str, Any]:
    """Return what metrics.json says, without what is measured with a clock."""
    (trial,) = project.trials("s")
    metrics: dict[str, Any] = project.json(Path(trial.user_attrs["output_dir"]) / "metrics.json")
    return {key: value for key, value in metrics.items() if not key.endswith(("_s", "_ms"))}


def test_what_is_wrong_is_refused_before_anything_is_stored(case: Case, tmp_path: Path) -> None:
    project = case.make(tmp_path)
    override, key = case.wrong
    for command in ("check", "tune"):
        result = project.tunectl(command, override)
        assert result.code == 2, result
        assert key in result.said
    assert project.database() is None


@pytest.mark.slow
def test_a_plan_can_be_made_and_leaves_nothing(case: Case, tmp_path: Path) -> None:
    project = case.make(tmp_path)
    document = project.ok("check", "--plan", "--json").document()

    assert document["samples"]
    assert project.database() is None


@pytest.mark.slow
def test_a_trial_comes_out_the_same_again(finished: Project) -> None:
    document = finished.ok("trial", "replay", "1", "--json").document()

    assert document["same"], document


@pytest.mark.slow
def test_the_best_trial_is_exported_with_its_parameters(
    case: Case, finished: Project, tmp_path: Path
) -> None:
    finished.ok("best", "--export", "--to", str(tmp_path / "bundle"))

    params = finished.yaml(tmp_path / "bundle" / "params_best.yaml")
    best = finished.study("s").best_trial
    for key, value in best.params.items():
        section, name = key.split(".")
        assert params[section][name] == value
    again = copy_of(finished, tmp_path / "again")
    again.ok("check", "--params", str(tmp_path / "bundle" / "params_best.yaml"))


@pytest.mark.slow
def test_a_network_predicts_and_what_has_none_says_so(
    case: Case, finished: Project, tmp_path: Path
) -> None:
    out = tmp_path / "y.npy"
    result = finished.tunectl("predict", case.inputs or "x.npy", "--out", str(out))

    if case.inputs is None:
        assert result.code == 2
        assert "leaves no network" in result.said
    else:
        assert result.code == 0, result
        assert out.is_file()


@pytest.mark.long
def test_every_view_of_the_study_can_be_had(finished: Project, tmp_path: Path) -> None:
    assert finished.ok("summary", "--json").document()["states"]["complete"] == 2
    assert finished.ok("doctor", "--json").document()["findings"] is not None
    finished.ok("trial", "show", "0")
    finished.ok("report", "--out", str(tmp_path / "report.html"))
    assert finished.ok("plots", "--out", str(tmp_path / "plots")).out
