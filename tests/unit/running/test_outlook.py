"""What is said of a call while it runs: how much is left, and what the pruner compares with."""

from __future__ import annotations

import random
from pathlib import Path

import optuna
import pytest
from optuna.pruners import BasePruner, MedianPruner, PercentilePruner
from optuna.trial import TrialState

from tunectl.config.search_schema import Direction
from tunectl.running.events import (
    EpochEnded,
    StudyStarted,
    TrialEnded,
    TrialStarted,
    WorkerLost,
)
from tunectl.running.outlook import Outlook
from tunectl.studies.budget import Budget

EPOCHS = 12


class Clock:
    """A clock that a test sets."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Call:
    """A call of four trials, as its observers see it, on a study in memory."""

    def __init__(
        self, *, workers: int = 1, pruner: BasePruner | None = None, **budget: int
    ) -> None:
        self.study = optuna.create_study(pruner=pruner or MedianPruner())
        self.clock = Clock()
        budget = budget or {"until": 4}
        self.outlook = Outlook(self.study, Budget(**budget), "sqlite:///s.db", self.clock)
        self.outlook(
            StudyStarted(
                study="s",
                metrics=["val_mse"],
                directions=["minimize"],
                planned=4,
                best_value=None,
                workers=workers,
            )
        )

    def begin(self, epochs: int | None = 10) -> int:
        number = self.study.ask().number
        self.outlook(
            TrialStarted(
                number=number, parameters={}, epochs=epochs, adopted=False, directory=Path()
            )
        )
        return number

    def epoch(self, number: int, epoch: int) -> None:
        self.outlook(EpochEnded(number=number, epoch=epoch, value=1.0, best=1.0))

    def end(self, number: int, seconds: float, state: TrialState = TrialState.COMPLETE) -> None:
        self.study.tell(number, 1.0 if state == TrialState.COMPLETE else None, state=state)
        self.outlook(
            TrialEnded(
                number=number,
                state="complete" if state == TrialState.COMPLETE else "failed",
                value=1.0,
                epochs=10,
                duration_s=seconds,
                error=None,
                directory=Path(),
                is_best=False,
            )
        )

    def left_s(self) -> float | None:
        left = self.outlook.time_left()
        return None if left is None else left.seconds


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize(
    "pruner",
    [
        MedianPruner(n_startup_trials=3, n_warmup_steps=2),
        MedianPruner(n_startup_trials=0, n_warmup_steps=0, interval_steps=3),
        PercentilePruner(20.0, n_startup_trials=1, n_warmup_steps=1, n_min_trials=4),
    ],
)
def test_a_trial_is_pruned_just_where_its_best_value_is_worse_than_the_threshold(
    direction: Direction, pruner: PercentilePruner
) -> None:
    numbers = random.Random(1)
    study = optuna.create_study(direction=direction, pruner=pruner)
    judged = 0
    for _ in range(8):
        outlook = Outlook(study, Budget(until=1), "sqlite:///s.db")
        outlook(
            StudyStarted(
                study="s", metrics=["v"], directions=[direction], planned=1, best_value=None
            )
        )
        trial = study.ask()
        values: list[float] = []
        for epoch in range(1, EPOCHS + 1):
            values.append(numbers.random())
            trial.report(values[-1], epoch)
            pruned = trial.should_prune()
            threshold = outlook.threshold(epoch)
            best = min(values) if direction == "minimize" else max(values)
            worse = threshold is not None and (
                best > threshold if direction == "minimize" else best < threshold
            )
            since = epoch - pruner._n_warmup_steps
            if epoch == 1 or since % pruner._interval_steps == 0:
                judged += threshold is not None
                assert pruned == worse
            else:
                assert not pruned
        study.tell(trial, values[-1])
    assert judged > EPOCHS


def test_a_pruner_that_compares_with_no_single_value_has_no_threshold() -> None:
    patient = optuna.pruners.SuccessiveHalvingPruner()
    call = Call(pruner=patient)
    call.end(call.begin(), 1.0)

    assert call.outlook.threshold(1) is None


def test_nothing_is_said_of_the_time_left_before_anything_is_known() -> None:
    call = Call()
    assert call.left_s() is None
    number = call.begin()
    call.clock.now_s += 5.0
    assert call.left_s() is None

    call.epoch(number, 1)

    left = call.outlook.time_left()
    assert left is not None
    assert left.seconds == pytest.approx(4 * 50.0 - 5.0)
    assert left.is_bound


def test_the_time_left_is_made_from_the_mean_of_the_trials_that_ended() -> None:
    call = Call()
    for seconds in (10.0, 30.0):
        number = call.begin()
        call.clock.now_s += seconds
        call.end(number, seconds)
    assert call.left_s() == pytest.approx(2 * 20.0)

    number = call.begin()
    call.clock.now_s += 4.0
    call.epoch(number, 1)  # 10 epochs would take 40 s, but it may be pruned like others

    assert call.left_s() == pytest.approx(16.0 + 20.0)
    call.clock.now_s += 16.0
    call.epoch(number, 5)  # longer than the mean by now: half of 40 s is left
    assert call.left_s() == pytest.approx(20.0 + 20.0)


def test_workers_share_the_time_left_but_no_trial_is_shared() -> None:
    call = Call(workers=2)
    first = call.begin()
    call.clock.now_s += 20.0
    call.end(first, 20.0)
    assert call.left_s() == pytest.approx(3 * 20.0 / 2)

    one, _ = call.begin(), call.begin()
    call.end(one, 20.0)
    call.begin()
    # Two are left and two run: the longer one decides.
    assert call.left_s() == pytest.approx(20.0)


def test_trials_of_other_processes_count_where_the_study_is_to_have_so_many() -> None:
    call = Call(until=4)
    other = call.study.ask()
    call.end(call.begin(), 20.0)
    assert (call.outlook.done, call.outlook.total) == (1, 4)
    call.study.tell(other, 1.0)
    number = call.begin()
    assert (call.outlook.done, call.outlook.total) == (2, 4)

    call.outlook(WorkerLost(worker=1, number=number, reason="killed"))
    assert call.outlook.done == 2


def test_a_call_for_so_many_trials_counts_its_own_failed_ones_too() -> None:
    call = Call(n_trials=3)
    call.study.add_trial(optuna.trial.create_trial(value=1.0))
    call.end(call.begin(), 2.0, TrialState.FAIL)

    assert (call.outlook.done, call.outlook.total) == (1, 3)
    call.end(call.begin(), 2.0)
    call.end(call.begin(), 2.0)
    assert call.left_s() is None
