"""What a study optimises, and which of its trials are the best.

With several metrics no trial need be the best in all; then those count that no other trial beats
(the Pareto front), and the one of them that is best in the first metric stands for the study.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tunectl.config.search_schema import Direction

_T = TypeVar("_T")

STATE_NAMES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def metrics_of(study: optuna.Study) -> tuple[str, ...]:
    """Return the names of what the study optimises, made up where they were never given."""
    count = len(study.directions)
    names = study.metric_names or (
        ["value"] if count == 1 else [f"value_{i}" for i in range(count)]
    )
    return tuple(str(name) for name in names)


def directions_of(study: optuna.Study) -> tuple[Direction, ...]:
    """Return `minimize` or `maximize` for each metric."""
    return tuple(
        "maximize" if direction == StudyDirection.MAXIMIZE else "minimize"
        for direction in study.directions
    )


def one_or_list(values: Sequence[_T]) -> _T | list[_T]:
    """Return the only value as it is, several as a list: how files and JSON show them."""
    return values[0] if len(values) == 1 else list(values)


def first_value(trial: FrozenTrial) -> float | None:
    """Return a trial's value of the study's first metric, None while it has not ended."""
    # Values are read after states: of a trial that ends just then, they may be there already.
    return trial.values[0] if trial.values and trial.state.is_finished() else None


def count_states(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    """Return how many trials are in each state; every state is a key."""
    counts = dict.fromkeys(STATE_NAMES.values(), 0)
    for trial in trials:
        counts[STATE_NAMES[trial.state]] += 1
    return counts


def is_sound(trial: FrozenTrial) -> bool:
    """Whether a trial may be the best: complete, its values finite, no constraint broken."""
    return (
        trial.state == TrialState.COMPLETE
        and bool(trial.values)
        and all(math.isfinite(value) for value in trial.values)
        and all(violation <= 0 for violation in trial.constraints.values())
    )


def best_trials(
    study: optuna.Study, trials: Sequence[FrozenTrial] | None = None
) -> list[FrozenTrial]:
    """Return the completed trials that no other one beats, the best in the first metric first.

    With one metric that is the best trial alone, the earliest of equals. A trial with an infinite
    value, which Optuna would take for the best one, never is; nor is one that breaks a constraint.

    Args:
        study: The study.
        trials: Its trials as they were at one moment; None for as they are now.
    """
    if trials is None:
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sound = [trial for trial in trials if is_sound(trial)]
    if not sound:
        return []
    signs = np.array([-1.0 if one == "maximize" else 1.0 for one in directions_of(study)])
    losses = np.array([trial.values for trial in sound]) * signs
    if losses.shape[1] == 1:
        return [sound[int(np.argmin(losses[:, 0]))]]
    front = [index for index in range(len(sound)) if not _is_beaten(losses, index)]
    return [sound[index] for index in sorted(front, key=lambda index: (losses[index, 0], index))]


def best_trial(
    study: optuna.Study, trials: Sequence[FrozenTrial] | None = None
) -> FrozenTrial | None:
    """Return the trial that stands for the study, None while none is complete.

    Args: as for `best_trials`.
    """
    best = best_trials(study, trials)
    return best[0] if best else None


def _is_beaten(losses: np.ndarray, index: int) -> bool:
    """Whether another row is at least as good everywhere and better somewhere; (n, metrics)."""
    as_good = np.all(losses <= losses[index], axis=1)
    better = np.any(losses < losses[index], axis=1)
    return bool(np.any(as_good & better))
