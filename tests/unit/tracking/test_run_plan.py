"""What a run is to hold: read off a trial, the same whenever it is made."""

from __future__ import annotations

import datetime as dt
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.tracking.run_plan import RunPlan, as_key, as_text
from tunectl.tracking.trial_plan import plan_trial

TAGS = {"tunectl.study": "s", "tunectl.study_id": "1"}
START = dt.datetime(2026, 1, 31, 12, 0, 0)


def make_trial(state: TrialState = TrialState.COMPLETE, **more: Any) -> FrozenTrial:
    trial = create_trial(
        state=state,
        value=0.5 if state is TrialState.COMPLETE else None,
        params={"lr": 0.1},
        distributions={"lr": FloatDistribution(0.0, 1.0)},
        **more,
    )
    trial.number = 7
    trial.datetime_start = START
    trial.datetime_complete = START + dt.timedelta(seconds=10) if state.is_finished() else None
    return trial


def plan_of(trial: FrozenTrial, directory: TrialDir | None = None, **more: Any) -> RunPlan:
    plan = plan_trial(trial, directory, "val_mse", TAGS, **more)
    assert plan is not None
    return plan


def directory_with(folder: Path, histories: dict[str, list[float | None]]) -> TrialDir:
    directory = TrialDir(folder)
    document = {"histories": histories, "per_target": {"flow [m/s]": {"r2": 0.9, "mse": None}}}
    directory.metrics_file.write_text(json.dumps(document))
    for part in ("logs", "checkpoints"):
        (folder / part).mkdir()
    directory.log_file.write_text("log")
    (directory.checkpoints_dir / "epoch-3").write_text("state")
    (folder / ".lock").touch()
    return directory


def test_curves_have_a_point_per_epoch_between_start_and_end(tmp_path: Path) -> None:
    metrics = {"val_mse": 0.5, "test_mse": 0.7}
    trial = make_trial(user_attrs={"metrics": metrics, "epochs": 4, "best_epoch": 3})
    directory = directory_with(tmp_path, {"val_mse": [0.9, 0.8, 0.5, None]})

    plan = plan_of(trial, directory)

    points = {point.key: point for point in plan.points if point.key != "val_mse"}
    start_ms = round(START.timestamp() * 1000)
    curve = [(p.step, p.value, p.time_ms - start_ms) for p in plan.points if p.key == "val_mse"]
    assert curve == [(1, 0.9, 2500), (2, 0.8, 5000), (3, 0.5, 7500)]
    assert points["best_val_mse"].value == 0.5  # not a further point of the curve
    assert (points["test_mse"].value, points["test_mse"].step) == (0.7, 4)
    assert points["test_r2/flow _m/s_"].value == 0.9
    assert "test_mse/flow _m/s_" not in points
    assert {(f.folder, f.source.name) for f in plan.files} == {
        ("", "metrics.json"),
        ("logs", "trial.log"),
    }


def test_a_curve_with_steps_of_its_own_has_its_points_there(tmp_path: Path) -> None:
    directory = directory_with(tmp_path, {"val_mse": [0.9, None, 0.5]})
    document = {"histories": {"val_mse": [0.9, None, 0.5]}, "steps": [10, 20, 40]}
    directory.metrics_file.write_text(json.dumps(document))
    plan = plan_of(make_trial(), directory)
    curve = [(point.step, point.value) for point in plan.points if point.key == "val_mse"]
    assert curve == [(10, 0.9), (40, 0.5)]


def test_the_parameters_of_a_program_are_its_command_and_its_own_sections(tmp_path: Path) -> None:
    directory = directory_with(tmp_path, {})
    config = {
        "objective": {"command": ["./train.sh", "{a.b}"], "metric": {"from": "exit"}},
        "a": {"b": 0.5, "c": {"d": [1, 2]}},
        "study": {"name": "s", "metric": "loss", "direction": "minimize", "values": ["loss"]},
        "number": 7,
        "parameters": {"a.b": 0.5},
    }
    directory.write_config(config)
    params = plan_of(make_trial(), directory).params
    assert params["objective.command"] == '["./train.sh", "{a.b}"]'
    assert (params["objective.metric.from"], params["a.b"], params["a.c.d"]) == (
        "exit",
        "0.5",
        "[1, 2]",
    )


def test_without_files_a_trial_has_what_it_reported() -> None:
    trial = make_trial(TrialState.PRUNED, intermediate_values={2: 0.3, 1: 0.4})

    plan = plan_of(trial)

    assert [(p.step, p.value) for p in plan.points if p.key == "val_mse"] == [(1, 0.4), (2, 0.3)]
    assert plan.params == {"lr": "0.1"}
    assert (plan.status, plan.tags["tunectl.state"]) == ("KILLED", "pruned")


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (TrialState.COMPLETE, "FINISHED"),
        (TrialState.PRUNED, "KILLED"),
        (TrialState.FAIL, "FAILED"),
        (TrialState.RUNNING, "RUNNING"),
    ],
)
def test_each_state_has_a_status_in_mlflow(state: TrialState, status: str) -> None:
    assert plan_of(make_trial(state)).status == status


def test_a_trial_that_is_running_in_name_only_is_killed_at_its_last_sign(tmp_path: Path) -> None:
    directory = directory_with(tmp_path, {})
    os.utime(directory.log_file, (2_000_000_000, 2_000_000_000))

    plan = plan_of(make_trial(TrialState.RUNNING), directory, interrupted=True)

    assert (plan.status, plan.end_ms) == ("KILLED", 2_000_000_000_000)
    assert plan.tags["tunectl.state"] == "interrupted"
    assert not plan.files


def test_a_trial_in_the_queue_has_no_run() -> None:
    waiting = make_trial(TrialState.WAITING)
    waiting.datetime_start = None

    assert plan_trial(waiting, None, "val_mse", TAGS) is None


def test_the_same_trial_gives_the_same_digest_and_a_changed_file_another(tmp_path: Path) -> None:
    trial, directory = make_trial(), directory_with(tmp_path, {"val_mse": [0.5]})
    before = plan_of(trial, directory)

    assert before.is_mirrored_by(plan_of(trial, directory).digest())
    directory.log_file.write_text("a longer log")
    assert not plan_of(trial, directory).is_mirrored_by(before.digest())


def test_where_the_files_are_out_of_reach_nothing_is_taken_back(tmp_path: Path) -> None:
    trial = make_trial()
    with_files = plan_of(trial, directory_with(tmp_path, {"val_mse": [0.5]}))

    without = plan_of(trial)

    assert without.is_mirrored_by(with_files.digest())
    assert not with_files.is_mirrored_by(without.digest())
    assert not without.is_mirrored_by(None)
    assert not replace(without, status="FAILED").is_mirrored_by(with_files.digest())


@pytest.mark.parametrize(
    ("name", "key"),
    [("training.lr", "training.lr"), ("R² [m/s]", "R_ _m/s_"), ("/", "_"), ("x" * 300, "x" * 250)],
)
def test_any_name_becomes_one_that_mlflow_takes(name: str, key: str) -> None:
    assert as_key(name) == key


def test_a_text_that_is_too_long_is_cut_and_says_so() -> None:
    text = as_text(["x" * 99], 50)

    assert len(text) == 50
    assert text.endswith("…")


def test_numbers_that_are_none_are_no_points() -> None:
    trial = make_trial(user_attrs={"metrics": {"val_mse": float("inf"), "flag": True}})

    assert {point.key for point in plan_of(trial).points} == {"value", "epochs"}
