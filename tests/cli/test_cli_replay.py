"""`trial replay`: a trial again, from nothing but its own directory."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_project import PATIENCE_S, TUNECTL, Project, environment_with, wait_for_file
from optuna.trial import TrialState
from warm_project import copy_of, mixed_project, small_project

SERIES = {"train_loss", "learning_rate", "val_mse", "val_mae", "val_rmse", "val_r2"}


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return mixed_project(tmp_path_factory)


def first_in(state: TrialState, project: Project) -> tuple[int, Path]:
    trial = next(trial for trial in project.trials("mixed") if trial.state == state)
    return trial.number, project.path / trial.user_attrs["output_dir"]


def changed_config(directory: Path, **training: Any) -> None:
    file = directory / "config.yaml"
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    config["training"].update(training)
    file.write_text(yaml.safe_dump(config), encoding="utf-8")


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
def test_a_trial_comes_out_the_same_and_the_study_is_left_alone(
    mixed: Project, state: TrialState
) -> None:
    number, _ = first_in(state, mixed)
    before = (mixed.database(), mixed.files())

    document = mixed.ok("trial", "replay", str(number), "--json").document()

    assert (document["schema_version"], document["study"], document["number"]) == (
        1,
        "mixed",
        number,
    )
    assert (document["same"], document["differences"], document["changes"]) == (True, [], [])
    compared = set(document["compared"])
    assert compared >= SERIES or state is not TrialState.COMPLETE
    assert ("weights" in compared) == (state is TrialState.COMPLETE)
    reported = mixed.trials("mixed")[number].intermediate_values
    assert document["epochs"] == len(reported)
    assert (mixed.database(), mixed.files()) == before


def test_a_trial_needs_none_of_the_three_files(mixed: Project, tmp_path: Path) -> None:
    project = copy_of(mixed, tmp_path / "copy")
    for name in ("config", "params", "optuna_params"):
        (project.path / f"{name}.yaml").unlink()
    number, _ = first_in(TrialState.COMPLETE, project)

    result = project.ok("trial", "replay", str(number))

    assert "came out the same to the bit" in result.out
    assert "weights" in result.out
    assert result.err == ""


def test_a_trial_that_comes_out_different_says_how_far_off_it_is(
    mixed: Project, tmp_path: Path
) -> None:
    project = copy_of(mixed, tmp_path / "copy")
    number, directory = first_in(TrialState.COMPLETE, project)
    changed_config(directory, weight_decay=1e-3)
    info = project.yaml(directory / "trial_info.yaml")
    info["versions"]["torch"] = "1.0"
    (directory / "trial_info.yaml").write_text(yaml.safe_dump(info))

    told = project.tunectl("trial", "replay", str(number))
    document = project.tunectl("trial", "replay", str(number), "--json").document()

    assert told.code == 1
    assert "came out different" in told.out
    assert "torch was 1.0, is " in told.out
    differences = {one["what"]: one for one in document["differences"]}
    assert document["same"] is False
    value = differences["value (val_mse)"]
    assert value["stored"] == project.trials("mixed")[number].value
    assert value["largest_difference"] == abs(value["stored"] - value["replayed"]) > 0
    assert differences["val_mse"]["first"] in ("epoch 1", "epoch 2")
    assert differences["weights"]["largest_difference"] > 0
    assert "truth of the test split" in document["compared"]
    assert "truth of the test split" not in differences
    assert [one["what"] for one in document["changes"]] == ["torch"]


def test_what_cannot_be_replayed_is_refused(mixed: Project, tmp_path: Path) -> None:
    project = copy_of(mixed, tmp_path / "copy")
    (project.path / "points.yaml").write_text("- {training.learning_rate: 0.02}\n")
    project.ok("study", "enqueue", "points.yaml")
    complete, directory = first_in(TrialState.COMPLETE, project)
    (directory / "config.yaml").write_text("number: [")

    for number, code, words in (
        (5, 2, "trial 5 is waiting; only one that has ended"),
        (99, 3, "no trial 99"),
        (complete, 1, "config.yaml is gone or damaged"),
    ):
        result = project.tunectl("trial", "replay", str(number))
        assert (result.code, result.out) == (code, ""), result
        assert words in result.said


@pytest.mark.long
def test_a_trial_that_was_pruned_for_it_diverges_again(tmp_path: Path) -> None:
    search = """\
study: {name: small, n_trials: 1, sampler: {name: GridSampler}, pruner: {name: NopPruner}}
params_to_tune:
  training.learning_rate: {type: categorical, choices: [1.0e+30]}
"""
    project = small_project(tmp_path, optuna_params=search)
    project.tunectl("tune")

    document = project.ok("trial", "replay", "0", "--json").document()

    (trial,) = project.trials("small")
    assert "diverged" in trial.user_attrs["error"]
    assert (document["state"], document["same"]) == ("pruned", True)


def test_a_trial_that_a_constraint_stopped_was_never_trained(tmp_path: Path) -> None:
    search = """\
study: {name: small, n_trials: 1}
params_to_tune:
  model.hidden: {type: int, low: 4, high: 8}
constraints: [model.hidden <= 2]
"""
    project = small_project(tmp_path, optuna_params=search)
    project.tunectl("tune")

    result = project.tunectl("trial", "replay", "0")

    assert result.code == 2
    assert "no epoch to train again: not trained, since it breaks model.hidden <= 2" in result.said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_replay_that_is_told_to_stop_leaves_nothing(
    mixed: Project, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    project = copy_of(mixed, tmp_path / "copy")
    trial, directory = first_in(TrialState.COMPLETE, project)
    changed_config(directory, epochs=1_000_000)
    before = (project.database(), project.files())
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = environment_with({"TMPDIR": str(scratch)})

    with subprocess.Popen(
        [TUNECTL, "trial", "replay", str(trial)],
        cwd=project.path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for_file(Project(scratch), "tunectl-*/*/*/checkpoints/*")
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, out, err) == (code, "", "")
    assert list(scratch.glob("tunectl-*")) == []
    assert (project.database(), project.files()) == before
