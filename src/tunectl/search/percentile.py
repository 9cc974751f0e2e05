"""Optuna's median and percentile pruners, which decide the same at a cost that hardly grows.

Optuna goes through all complete trials at each epoch of each trial. These remember what was
reported at a step, so that beside a thousand trials an epoch costs about what it does beside ten.
"""

from __future__ import annotations

import math
from array import array

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.pruners._percentile import (
    _get_best_intermediate_result_over_steps,
    _is_first_in_interval_step,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tunectl.search.complete import Complete


class _Columns:
    """What the complete trials of one study reported, step by step.

    Args:
        study: The study.
    """

    def __init__(self, study: optuna.Study) -> None:
        self.complete = Complete(study)
        self._columns: dict[int, array[float]] = {}

    def take(self, trials: list[FrozenTrial]) -> None:
        """Take note of all complete trials that there are now.

        Of a new one all steps: it is in the processor's cache now, and may not be at the next.
        """
        for one in self.complete.take(trials):
            for step, value in one.intermediate_values.items():
                self._columns.setdefault(step, array("d")).append(value)

    def at(self, step: int) -> NDArray[np.float64]:
        """Return what was reported at a step."""
        return np.array(self._columns.get(step, ()), dtype=np.float64)


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
        best = _get_best_intermediate_result_over_steps(trial, study.direction)
        if math.isnan(best):
            return True
        values = self._values(study, complete, step)
        if len(values) < self._n_min_trials:
            return False
        if study.direction == StudyDirection.MAXIMIZE:
            return bool(best < np.nanpercentile(values, 100 - self._percentile))
        return bool(best > np.nanpercentile(values, self._percentile))

    def _values(
        self, study: optuna.Study, complete: list[FrozenTrial], step: int
    ) -> NDArray[np.float64]:
        if self._columns is None or not self._columns.complete.is_of(study):
            self._columns = _Columns(study)
        self._columns.take(complete)
        return self._columns.at(step)


class MedianPruner(PercentilePruner, optuna.pruners.MedianPruner):
    """Optuna's pruner of that name; it decides the same."""
