"""Optuna's median and percentile pruners, which decide the same at a cost that hardly grows.

Optuna goes through all complete trials at each epoch of each trial. These remember what was
reported at a step, so that beside a thousand trials an epoch costs about what it does beside ten.
"""

from __future__ import annotations

import math
from collections import defaultdict

import optuna
from optuna.pruners._percentile import _is_first_in_interval_step
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tunectl.search.complete import Complete


class _Column:
    """What the complete trials reported at one step."""

    def __init__(self) -> None:
        self.count = 0
        self._values: list[float] = []
        self._is_sorted = True

    def add(self, value: float) -> None:
        """Take a value down; what is no number counts, but has no place among the others."""
        self.count += 1
        if not math.isnan(value):
            self._values.append(value)
            self._is_sorted = False

    def percentile(self, share: float) -> float:
        """Return what `numpy.nanpercentile` does, to the bit, without going through all values.

        Args:
            share: From 0 to 100.
        """
        if not self._values:
            return math.nan
        if not self._is_sorted:  # all but the last few are, which is what this sort is made for
            self._values.sort()
            self._is_sorted = True
        place = (len(self._values) - 1) * (share / 100)
        before = math.floor(place)
        low = self._values[before]
        high = self._values[min(before + 1, len(self._values) - 1)]
        # From the nearer of the two, as NumPy does, so that rounding never leads past either.
        rest, distance = place - before, high - low
        return high - distance * (1 - rest) if rest >= 0.5 else low + distance * rest


class _Columns:
    """What the complete trials of one study reported, step by step.

    Args:
        study: The study.
    """

    def __init__(self, study: optuna.Study) -> None:
        self.complete = Complete(study)
        self._columns: defaultdict[int, _Column] = defaultdict(_Column)

    def take(self, trials: list[FrozenTrial]) -> None:
        """Take note of all complete trials that there are now.

        Of a new one all steps: it is in the processor's cache now, and may not be at the next.
        """
        for one in self.complete.take(trials):
            for step, value in one.intermediate_values.items():
                self._columns[step].add(value)

    def at(self, step: int) -> _Column:
        """Return what was reported at a step."""
        return self._columns[step]


class PercentilePruner(optuna.pruners.PercentilePruner):
    """Optuna's pruner of that name; it decides the same."""

    _columns: _Columns | None = None

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Say whether the trial is to end now. See `BasePruner.prune`."""
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        step = trial.last_step
        if not complete or len(complete) < self._n_startup_trials:
            return False
        if step is None or step < self._n_warmup_steps:
            return False
        reported = trial.intermediate_values.keys()
        if not _is_first_in_interval_step(
            step, reported, self._n_warmup_steps, self._interval_steps
        ):
            return False
        numbers = [one for one in trial.intermediate_values.values() if not math.isnan(one)]
        if not numbers:
            return True
        column = self._column(study, complete, step)
        if column.count < self._n_min_trials:
            return False
        if study.direction == StudyDirection.MAXIMIZE:
            return max(numbers) < column.percentile(100 - self._percentile)
        return min(numbers) > column.percentile(self._percentile)

    def _column(self, study: optuna.Study, complete: list[FrozenTrial], step: int) -> _Column:
        if self._columns is None or not self._columns.complete.is_of(study):
            self._columns = _Columns(study)
        self._columns.take(complete)
        return self._columns.at(step)


class MedianPruner(PercentilePruner, optuna.pruners.MedianPruner):
    """Optuna's pruner of that name; it decides the same."""
