"""What can be said of a call while it runs: how much is left, and what the pruner compares with.

It is told the same events as any observer, and looks at the study only when a trial begins or ends,
so no epoch waits for it. It may be asked from another thread than the one that tells it.
"""

from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import optuna
from optuna.pruners import PercentilePruner
from optuna.pruners._percentile import _get_percentile_intermediate_result_over_trials
from optuna.trial import FrozenTrial, TrialState

from tunectl.errors import StorageError
from tunectl.running.events import (
    EpochEnded,
    Event,
    StudyStarted,
    TrialEnded,
    TrialStarted,
    WorkerLost,
)
from tunectl.search import percentile
from tunectl.studies.budget import FINISHED, Budget
from tunectl.studies.storage import storage_errors

_BY_PERCENTILE = (
    PercentilePruner,
    optuna.pruners.MedianPruner,
    percentile.PercentilePruner,
    percentile.MedianPruner,
)


@dataclass(kw_only=True)
class _Running:
    """A trial of this call that runs.

    Args:
        since_s: When this call began it, on the clock.
        planned: Epochs that it is to train, None where it has none.
        first: The first epoch that ended in this call, None before it did.
        first_at_s: When that was.
        last: The last epoch that ended.
    """

    since_s: float
    planned: int | None
    first: int | None = None
    first_at_s: float = 0.0
    last: int = 0


@dataclass(frozen=True, kw_only=True)
class _Curves:
    """What the pruner compares with.

    Args:
        complete: The completed trials.
        thresholds: Epoch → the value worked out from them.
    """

    complete: list[FrozenTrial]
    thresholds: dict[int, float | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TimeLeft:
    """How long a call will still take.

    Args:
        seconds: The estimate.
        is_bound: Whether it is an upper bound: no trial has ended yet, and some may be pruned.
    """

    seconds: float
    is_bound: bool


class Outlook:
    """What can be said of a call.

    Args:
        study: The study, with its pruner.
        budget: What the call may run.
        storage_url: The database's URL, for what goes wrong with it.
        clock: Seconds that no one sets back.
    """

    def __init__(
        self,
        study: optuna.Study,
        budget: Budget,
        storage_url: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._study = study
        self._budget = budget
        self._storage_url = storage_url
        self._clock = clock
        self._began = dt.datetime.now()
        self._workers = 1
        self._running: dict[int, _Running] = {}
        self._ended_s: list[float] = []
        self._finished = 0
        self._others = 0
        self._reported: dict[int, int] = {}
        self._curves = _Curves(complete=[])

    def __call__(self, event: Event) -> None:
        """Take down what has happened."""
        if isinstance(event, StudyStarted):
            self._workers = event.workers
            self._look()
        elif isinstance(event, TrialStarted):
            begun = _Running(since_s=self._clock(), planned=event.epochs)
            self._running = {**self._running, event.number: begun}
            self._look()
        elif isinstance(event, EpochEnded):
            self._move(event)
        elif isinstance(event, TrialEnded):
            self._end(event)
            self._look()
        elif isinstance(event, WorkerLost) and event.number is not None:
            self._part_with(event.number)

    @property
    def total(self) -> int:
        """Trials that the bar of the whole call counts to.

        With `--n-trials` those of this call, else those that the study is to have.
        """
        return (
            self._budget.n_trials if self._budget.n_trials is not None else self._budget.until or 0
        )

    @property
    def done(self) -> int:
        """How many of them there are; other processes' trials count where the study's do."""
        return len(self._ended_s) if self._budget.n_trials is not None else self._finished

    def threshold(self, epoch: int) -> float | None:
        """Return the value that the pruner has compared a trial's best one with, up to an epoch.

        A trial whose best value is worse is pruned. It is known for the median and percentile
        pruners.

        Args:
            epoch: 1-based.

        Returns:
            None where the pruner has not judged by then, or by no single value.
        """
        pruner, curves = self._study.pruner, self._curves
        # The class itself: what a subclass of somebody's does is not known.
        if type(pruner) not in _BY_PERCENTILE:
            return None
        assert isinstance(pruner, PercentilePruner)
        since_warm_up = epoch - pruner._n_warmup_steps
        if since_warm_up < 0 or len(self._study.directions) > 1:
            return None
        # A judgement that is due before the first epoch is made after it.
        judged = max(1, epoch - since_warm_up % pruner._interval_steps)
        if judged not in curves.thresholds:
            curves.thresholds[judged] = _threshold(pruner, self._study, curves.complete, judged)
        return curves.thresholds[judged]

    def time_left(self) -> TimeLeft | None:
        """Return how long the call will still take, None while nothing is known about that.

        A trial takes the mean of those that ended in this call, pruned ones too. Before one has, it
        takes what the epochs of the running ones let expect.
        """
        left = max(0, self.total - self.done)
        if left == 0:
            return None
        running = list(self._running.values())
        wholes = [whole for one in running if (whole := self._whole_s(one)) is not None]
        if self._ended_s:
            mean_s = sum(self._ended_s) / len(self._ended_s)
        elif wholes:
            mean_s = sum(wholes) / len(wholes)
        else:
            return None
        rests = [self._rest_s(one, mean_s) for one in running[:left]]
        work_s = sum(rests) + mean_s * max(0, left - len(rests) - self._others)
        # Trials of other processes are half-way, for all that is known here.
        work_s += mean_s / 2 * min(self._others, max(0, left - len(rests)))
        workers = min(left, max(self._workers, len(rests)) + self._others)
        seconds = max([work_s / max(1, workers), *rests])
        return TimeLeft(seconds=seconds, is_bound=not self._ended_s)

    def _move(self, event: EpochEnded) -> None:
        running = self._running.get(event.number)
        if running is None:
            return
        if running.first is None:
            running.first, running.first_at_s = event.epoch, self._clock()
        running.last = event.epoch

    def _end(self, event: TrialEnded) -> None:
        running = self._part_with(event.number)
        # One that was taken up is measured by its whole duration, not by the rest of it.
        taken_s = self._clock() - running.since_s if running is not None else 0.0
        self._ended_s.append(max(taken_s, event.duration_s))

    def _part_with(self, number: int) -> _Running | None:
        # A new one, since the thread that draws may be looking at the old one.
        before = self._running
        self._running = {one: running for one, running in before.items() if one != number}
        return before.get(number)

    def _whole_s(self, running: _Running) -> float | None:
        """Return how long a running trial takes if it is not pruned, None if that is not known."""
        if running.first is None or not running.planned:
            return None
        trained = running.last - running.first + 1
        taken_s = self._clock() - running.since_s
        return taken_s / trained * running.planned

    def _rest_s(self, running: _Running, mean_s: float) -> float:
        """Return how long a running trial still takes: the rest of the mean, or of its epochs."""
        whole_s = self._whole_s(running)
        rest_s = max(0.0, mean_s - (self._clock() - running.since_s))
        if whole_s is None or not running.planned:
            return rest_s
        by_epochs_s = whole_s * max(0, running.planned - running.last) / running.planned
        # It is longer than the mean by now, or too near its end to take as long.
        return by_epochs_s if rest_s == 0.0 else min(rest_s, by_epochs_s)

    def _look(self) -> None:
        """Read the study; where that fails, what was known before still is nearly true."""
        with suppress(StorageError), storage_errors(self._storage_url):
            trials = self._study.get_trials(deepcopy=False)
            self._finished = sum(trial.state in FINISHED for trial in trials)
            self._others = sum(self._is_anothers(trial) for trial in trials)
            complete = [one for one in trials if one.state == TrialState.COMPLETE]
            if len(complete) != len(self._curves.complete):
                self._curves = _Curves(complete=complete)

    def _is_anothers(self, trial: FrozenTrial) -> bool:
        """Whether another process runs a trial now: it has begun or reported since this call did.

        One of which nothing is heard may have been interrupted.
        """
        if trial.state != TrialState.RUNNING or trial.number in self._running:
            return False
        reported = len(trial.intermediate_values)
        before = self._reported.setdefault(trial.number, reported)
        is_new = trial.datetime_start is not None and trial.datetime_start >= self._began
        return is_new or reported > before


def _threshold(
    pruner: PercentilePruner, study: optuna.Study, complete: list[FrozenTrial], epoch: int
) -> float | None:
    """Return what a pruner compares with at an epoch that it judges at."""
    if len(complete) < max(1, pruner._n_startup_trials):
        return None
    if not any(epoch in trial.intermediate_values for trial in complete):
        return None
    value = _get_percentile_intermediate_result_over_trials(
        complete, study.direction, epoch, pruner._percentile, pruner._n_min_trials
    )
    return value if math.isfinite(value) else None
