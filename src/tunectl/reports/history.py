"""How a study's best value came down, or up, trial by trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from tunectl.studies.ranking import is_sound


@dataclass(frozen=True, kw_only=True)
class HistoryPoint:
    """One completed trial.

    Args:
        number: Its number.
        value: Its value of the metric.
        best: The best value of it and of those before it.
    """

    number: int
    value: float
    best: float


def history_of(
    trials: Sequence[FrozenTrial], direction: str, metric: int = 0
) -> tuple[HistoryPoint, ...]:
    """Return the completed trials by number, each with the best value so far.

    Args:
        trials: A study's trials. Those that cannot be the best one, with a value that is not finite
            or with a broken constraint, are left out.
        direction: `minimize` or `maximize`.
        metric: Which of the study's metrics, counted from 0.
    """
    better = max if direction == "maximize" else min
    points: list[HistoryPoint] = []
    for trial in sorted(trials, key=lambda one: one.number):
        if not is_sound(trial):
            continue
        value = trial.values[metric]
        best = better(value, points[-1].best) if points else value
        points.append(HistoryPoint(number=trial.number, value=value, best=best))
    return tuple(points)
