"""What a study has cost in time, and what its pruner has saved."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from tunectl.config.schema import Settings
from tunectl.studies import attributes
from tunectl.studies.times import duration_s

EPOCHS_KEY = "training.epochs"


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What a study has cost.

    Args:
        used_s: Sum of the durations of all trials that have ended, in seconds.
        n_ended: How many those are.
        saved_s: Estimate of what the pruned trials would have taken besides, in seconds: the epochs
            that they did not train, each at the trial's own pace. Since reading data and starting
            up count in a short trial as if they came with each epoch, the pace is no slower than
            that of the slowest completed trial.
        epochs_saved: Those epochs.
        n_pruned: The trials that the pruner has ended, without those that diverged, ran out of time
            or broke a constraint.
    """

    used_s: float
    n_ended: int
    saved_s: float
    epochs_saved: int
    n_pruned: int

    @property
    def saved_share(self) -> float:
        """What share of the time without pruning was saved, from 0 to 1."""
        total_s = self.used_s + self.saved_s
        return self.saved_s / total_s if total_s > 0 else 0.0


def effort_of(trials: Sequence[FrozenTrial], settings: Settings | None = None) -> Effort:
    """Return what a study has cost and what its pruner has saved.

    Args:
        trials: The study's trials.
        settings: The configuration stored with it, which says how many epochs a trial was to train
            where that is not searched. Without one it is the most that a completed trial had.
    """
    ended = [trial for trial in trials if trial.state.is_finished()]
    pruned = [trial for trial in ended if _was_pruned(trial)]
    planned = planned_epochs(ended, settings)
    paces_s = [_pace_s(trial) for trial in ended if trial.state == TrialState.COMPLETE]
    slowest_s = max(filter(None, paces_s), default=math.inf)
    saved_s, epochs_saved = 0.0, 0
    for trial in pruned:
        trained = attributes.epochs_of(trial)
        left = max(0, (planned(trial) or 0) - trained)
        if trained and left:
            saved_s += min(_pace_s(trial), slowest_s) * left
            epochs_saved += left
    return Effort(
        used_s=sum(duration_s(trial) or 0.0 for trial in ended),
        n_ended=len(ended),
        saved_s=saved_s,
        epochs_saved=epochs_saved,
        n_pruned=len(pruned),
    )


def planned_epochs(
    trials: Sequence[FrozenTrial], settings: Settings | None
) -> Callable[[FrozenTrial], int | None]:
    """Return what tells how many epochs a trial was, or is, to train; None where nothing tells.

    Args:
        trials: The study's trials.
        settings: See `effort_of`.
    """
    complete = (attributes.epochs_of(one) for one in trials if one.state == TrialState.COMPLETE)
    longest = max(complete, default=0)
    usual = (settings.run.epochs or longest) if settings is not None else longest

    def planned(trial: FrozenTrial) -> int | None:
        own = trial.params.get(EPOCHS_KEY, usual)
        return int(own) if isinstance(own, int | float) and own > 0 else None

    return planned


def _pace_s(trial: FrozenTrial) -> float:
    """Return the seconds that a trial took per epoch, 0 for one without epochs."""
    trained = attributes.epochs_of(trial)
    return (duration_s(trial) or 0.0) / trained if trained else 0.0


def _was_pruned(trial: FrozenTrial) -> bool:
    """Whether the pruner ended it: what else ends a trial as pruned says so."""
    return trial.state == TrialState.PRUNED and attributes.ERROR not in trial.user_attrs
