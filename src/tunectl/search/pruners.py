"""Pruners by name, and the one that judges a trial by where its learning curve is going."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Collection

import numpy as np
import optuna
from optuna.pruners import BasePruner, PatientPruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tunectl.config.search_schema import Component
from tunectl.search.complete import Complete
from tunectl.search.components import Kind, make_component
from tunectl.search.curves import chance_of_reaching
from tunectl.search.percentile import MedianPruner, PercentilePruner

KEY = "study.pruner"
EPOCHS_KEY = "training.epochs"
# Below this chance of getting among the k best, a trial is given up.
CHANCE = 0.1


class PFLPruner(BasePruner):
    """Prunes a trial that is predicted to end worse than the k best that there are.

    It carries the trial's stored curve on (`curves.chance_of_reaching`) and compares with the
    values of completed trials. It keeps only what it has read there, so after a restart it judges
    as before. A trial's value is that of its best epoch, so it is pruned when even the best epoch
    still to come has, by the curve's own scatter, a chance of less than 1 in 10 of being good
    enough. A trial that already is among the k best is never pruned. Steps are 1-based epochs.

    Args:
        n_startup_trials: Completed trials before it prunes any.
        n_warmup_epochs: Epochs of a trial before it may be pruned.
        top_k: How many of the best completed trials a trial has to reach: the worst of them, or
            the worst of all while there are fewer.
        target_epoch: The epoch to predict; None for the trial's own last one if it tunes
            `training.epochs`, else the longest that a completed trial had.

    Raises:
        ValueError: an argument is negative, or `top_k` or `target_epoch` is less than 1.
    """

    def __init__(
        self,
        n_startup_trials: int = 10,
        n_warmup_epochs: int = 10,
        top_k: int = 10,
        target_epoch: int | None = 50,
    ) -> None:
        for name, value, least in (
            ("n_startup_trials", n_startup_trials, 0),
            ("n_warmup_epochs", n_warmup_epochs, 0),
            ("top_k", top_k, 1),
            ("target_epoch", target_epoch, 1),
        ):
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")
        self._n_startup_trials = n_startup_trials
        self._n_warmup_epochs = n_warmup_epochs
        self._top_k = top_k
        self._target_epoch = target_epoch
        self._read: _Ends | None = None

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Say whether the trial is to end now. See `BasePruner.prune`."""
        last = trial.last_step
        if last is None or last < self._n_warmup_epochs:
            return False
        # A number that is none says nothing about the trial, neither good nor bad.
        if not math.isfinite(trial.intermediate_values[last]):
            return False
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        # Maximising a value is minimising its opposite.
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        if self._read is None or not self._read.complete.is_of(study):
            self._read = _Ends(study, sign)
        ends = self._read.take(complete)
        if not ends or len(ends) < self._n_startup_trials:
            return False
        threshold = ends[: self._top_k][-1]
        curve = [(step, sign * value) for step, value in trial.intermediate_values.items()]
        epochs, losses = np.array(
            sorted(point for point in curve if math.isfinite(point[1])), dtype=float
        ).T
        # 1 where the trial is among the k best by now, and then it stays.
        target = self._target(trial, self._read.longest)
        return chance_of_reaching(epochs, losses, target, threshold) < CHANCE

    def _target(self, trial: FrozenTrial, longest: int) -> float:
        """Return the epoch at which the trial is compared."""
        if self._target_epoch is not None:
            return self._target_epoch
        own = trial.params.get(EPOCHS_KEY)
        if own is not None:
            return float(own)
        return float(longest)


class _Ends:
    """How the complete trials of one study ended.

    Args:
        study: The study.
        sign: -1 where a higher value is better, so that the best end is the least.
    """

    def __init__(self, study: optuna.Study, sign: float) -> None:
        self.complete = Complete(study)
        self.longest = 0
        self._sign = sign
        self._ends: list[float] = []

    def take(self, trials: list[FrozenTrial]) -> list[float]:
        """Take note of all complete trials; return their ends, the best first."""
        for one in self.complete.take(trials):
            self.longest = max(self.longest, one.last_step or 0)
            value = _end_of(one)
            if value is not None:
                insort(self._ends, self._sign * value)
        return self._ends


def _end_of(trial: FrozenTrial) -> float | None:
    """Return a completed trial's value, None where it is nothing to be measured against.

    A trial that breaks a constraint is never among the best, however low its loss.
    """
    value: float | None = trial.value
    if value is None or not math.isfinite(value):
        return None
    return value if all(violation <= 0 for violation in trial.constraints.values()) else None


PRUNERS: dict[str, type[BasePruner]] = {
    "MedianPruner": MedianPruner,
    "PercentilePruner": PercentilePruner,
    "PFLPruner": PFLPruner,
    **{
        name: getattr(optuna.pruners, name)
        for name in (
            "HyperbandPruner",
            "NopPruner",
            "PatientPruner",
            "SuccessiveHalvingPruner",
            "ThresholdPruner",
            "WilcoxonPruner",
        )
    },
}
# What these classes would find out in the middle of a trial only.
AT_LEAST = {
    ("HyperbandPruner", "min_resource"): 1,
    ("HyperbandPruner", "max_resource"): 1,
    ("HyperbandPruner", "reduction_factor"): 2,
    ("HyperbandPruner", "bootstrap_count"): 0,
}
NEEDS = {"WilcoxonPruner": ("scipy",)}
# These look at the trial itself and at complete ones; the others at running ones as well.
_ON_COMPLETE = (
    MedianPruner,
    PercentilePruner,
    PFLPruner,
    optuna.pruners.MedianPruner,
    optuna.pruners.NopPruner,
    optuna.pruners.PercentilePruner,
    optuna.pruners.ThresholdPruner,
    optuna.pruners.WilcoxonPruner,
)
_parts: dict[str, Kind] = {}
KIND = Kind(known=PRUNERS, base=BasePruner, parts=_parts, at_least=AT_LEAST, needs=NEEDS)
_parts["wrapped_pruner"] = KIND


def make_pruner(component: Component, allow: Collection[str] = ()) -> BasePruner:
    """Return the configured pruner.

    Args:
        component: Name and arguments as configured.
        allow: Top packages that a dotted name may come from.

    Raises:
        ConfigError: unknown name or argument, a value that the class refuses or cannot use, or a
            package that is missing.
    """
    pruner: BasePruner = make_component(component, KIND, allow, KEY)
    return pruner


def compares_with_complete(pruner: BasePruner) -> bool:
    """Whether a pruner compares a trial with complete ones only, and writes nothing.

    Of one of someone else's that is not known.
    """
    if type(pruner) is PatientPruner:
        wrapped = pruner._wrapped_pruner
        return wrapped is None or compares_with_complete(wrapped)
    return type(pruner) in _ON_COMPLETE
