"""What a running trial tells its objective: pruned, over its time, told to stop, diverged."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import Settings
from tunectl.config.signal_run import TrainingRun
from tunectl.errors import DivergedError, ObjectiveError
from tunectl.objectives.base import TrialInterrupted, TrialTimedOut
from tunectl.objectives.flow_cnn import FlowCnn
from tunectl.running.context import RunningTrial
from tunectl.running.trial_config import configure_trial

Make = Callable[..., Settings]
LIMIT_S = 60.0


class Clock:
    """A clock that a test sets, and a program that a test tells to stop."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.stop = False

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(pruner=optuna.pruners.NopPruner())


@pytest.fixture
def trial(study: optuna.Study, clock: Clock, tmp_path: Path, make_settings: Make) -> RunningTrial:
    """Return a trial of three epochs that may take a minute by the test's clock."""
    settings = make_settings(name="s", run=TrainingRun.model_validate({"training": {"epochs": 3}}))
    failures = settings.search.failures.model_copy(update={"trial_timeout": LIMIT_S})
    search = settings.search.model_copy(update={"failures": failures})
    settings = settings.model_copy(update={"search": search})
    asked = study.ask()
    return RunningTrial(
        trial=asked,
        config=configure_trial(settings, FlowCnn(), asked.number, {}),
        project=tmp_path,
        directory=TrialDir.create(tmp_path, dt.datetime(2026, 1, 31)),
        device="cpu",
        log=logging.getLogger("test.context"),
        storage_url="sqlite:///study.db",
        on_epoch=lambda *_: None,
        should_stop=lambda: clock.stop,
        clock=clock,
    )


def report(trial: RunningTrial, epoch: int, value: float = 0.5) -> None:
    trial.report(epoch, {"val_mse": value})


def test_the_policy_stands_in_the_trials_own_configuration(trial: RunningTrial) -> None:
    assert trial.config.failures.trial_timeout == LIMIT_S


def test_a_training_that_is_over_early_is_not_thrown_away_for_the_time_of_its_evaluation(
    trial: RunningTrial, clock: Clock
) -> None:
    report(trial, 1)
    trial.trained()
    clock.now_s += 10 * LIMIT_S

    trial.check_stop()


def test_a_trial_over_its_time_is_told_at_the_next_batch(trial: RunningTrial, clock: Clock) -> None:
    trial.check_stop()
    report(trial, 1)
    report(trial, 2)
    clock.now_s += LIMIT_S
    with pytest.raises(TrialTimedOut, match="over its time of 60 s after epoch 2"):
        trial.check_stop()


def test_a_trial_over_its_time_is_told_when_it_reports_an_epoch_that_still_counts(
    trial: RunningTrial, study: optuna.Study, clock: Clock
) -> None:
    clock.now_s += LIMIT_S
    with pytest.raises(TrialTimedOut, match="over its time of 60 s after epoch 1"):
        report(trial, 1)
    assert study.get_trials()[0].intermediate_values == {1: 0.5}


def test_a_trial_that_is_over_its_time_before_an_epoch_says_no_epoch(
    trial: RunningTrial, clock: Clock
) -> None:
    clock.now_s += LIMIT_S
    with pytest.raises(TrialTimedOut, match=r"^over its time of 60 s$"):
        trial.check_stop()


def test_a_trial_that_has_trained_to_its_end_is_not_thrown_away(
    trial: RunningTrial, clock: Clock
) -> None:
    report(trial, 1)
    report(trial, 2)
    clock.now_s += LIMIT_S
    report(trial, 3)
    trial.check_stop()


def test_told_to_stop_it_can_go_on_later_even_if_its_time_is_over(
    trial: RunningTrial, clock: Clock
) -> None:
    clock.now_s += LIMIT_S
    clock.stop = True
    with pytest.raises(TrialInterrupted):
        trial.check_stop()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_metric_that_is_no_number_is_never_stored(
    trial: RunningTrial, study: optuna.Study, value: float
) -> None:
    report(trial, 1)
    with pytest.raises(DivergedError, match=f"val_mse is {value} in epoch 2: .*learning_rate"):
        report(trial, 2, value)
    assert study.get_trials()[0].intermediate_values == {1: 0.5}


def test_a_program_may_count_its_steps_from_0(trial: RunningTrial, study: optuna.Study) -> None:
    report(trial, 0)
    assert study.get_trials()[0].intermediate_values == {0: 0.5}


def test_a_metric_that_is_not_reported_is_named(trial: RunningTrial) -> None:
    with pytest.raises(ObjectiveError, match="no metric 'val_mse' was reported; there are: mae"):
        trial.report(1, {"mae": 0.5})
