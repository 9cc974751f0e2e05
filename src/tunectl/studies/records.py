"""A study as summaries need it, however it was read: no intermediate values, no distributions.

It imports no Optuna, so that a summary need not.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from tunectl.config.search_schema import Direction

STATE_NAMES = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}
"""Optuna's name of a state → ours."""

ABOUT_ATTR = "tunectl:about"
"""User attribute of a study: when and by which version of ours it was made."""

FINISHED = ("complete", "pruned", "failed")


class Told(Protocol):
    """What both Optuna's trials and ours tell of where and when a trial ran."""

    @property
    def number(self) -> int:
        """Its number."""

    @property
    def user_attrs(self) -> Mapping[str, Any]:
        """Its user attributes."""

    @property
    def datetime_start(self) -> dt.datetime | None:
        """When it began: an aware time, or a naive local one."""

    @property
    def datetime_complete(self) -> dt.datetime | None:
        """When it ended."""


class Ranked(Protocol):
    """What says how good a trial is."""

    @property
    def values(self) -> Sequence[float]:
        """One for each metric."""


_R = TypeVar("_R", bound=Ranked)
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """A trial.

    Args:
        number: Its number.
        state: `complete`, `pruned`, `failed`, `running` or `waiting`.
        values: One for each metric, empty while it has none.
        params: Dotted key → value, in the order in which they were suggested.
        user_attrs: Its user attributes, at least those that are shown.
        violations: Its constraints; one above zero is broken.
        datetime_start: When it began, None while it waits.
        datetime_complete: When it ended.
        n_steps: How many epochs it has reported.
    """

    number: int
    state: str
    values: Sequence[float]
    params: Mapping[str, Any]
    user_attrs: Mapping[str, Any]
    violations: Sequence[float]
    datetime_start: dt.datetime | None
    datetime_complete: dt.datetime | None
    n_steps: int

    @property
    def is_sound(self) -> bool:
        """Whether it may be the best: complete, its values finite, no constraint broken."""
        return (
            self.state == "complete"
            and bool(self.values)
            and all(map(math.isfinite, self.values))
            and all(violation <= 0 for violation in self.violations)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyRecord:
    """A study.

    Args:
        name: Its name.
        directions: `minimize` or `maximize` for each metric.
        metrics: What is optimised.
        user_attrs: Its user attributes, at least those that are shown.
        trials: By number.
    """

    name: str
    directions: Sequence[Direction]
    metrics: Sequence[str]
    user_attrs: Mapping[str, Any]
    trials: Sequence[TrialRecord]

    @property
    def created_at(self) -> dt.datetime | None:
        """When it was made (UTC), None for one that another program made."""
        return created_at(self.user_attrs)

    def count_states(self) -> dict[str, int]:
        """Return how many trials are in each state; every state is a key."""
        counts = dict.fromkeys(STATE_NAMES.values(), 0)
        for trial in self.trials:
            counts[trial.state] += 1
        return counts

    def best_trials(self) -> list[TrialRecord]:
        """Return the trials that no other one beats. See `front`."""
        return front([trial for trial in self.trials if trial.is_sound], self.directions)


@dataclass(frozen=True, kw_only=True)
class StudyOverview:
    """One line of `study list`.

    Args:
        name: The study's name.
        direction: `minimize` or `maximize`, a list for several metrics.
        metric: What is optimised, a list for several.
        states: State → how many trials are in it.
        n_trials: How many there are.
        best_value: The best trial's value of the first metric, None while there is none.
        created_at: None for a study that another program made.
    """

    name: str
    direction: Direction | list[Direction]
    metric: str | list[str]
    states: Mapping[str, int]
    n_trials: int
    best_value: float | None
    created_at: dt.datetime | None


def overview_of(study: StudyRecord) -> StudyOverview:
    """Return a study in a line."""
    best = study.best_trials()
    return StudyOverview(
        name=study.name,
        direction=one_or_list(study.directions),
        metric=one_or_list(study.metrics),
        states=study.count_states(),
        n_trials=len(study.trials),
        best_value=best[0].values[0] if best else None,
        created_at=study.created_at,
    )


def created_at(user_attrs: Mapping[str, Any]) -> dt.datetime | None:
    """Return when a study was made (UTC), None for one that another program made.

    Args:
        user_attrs: Its user attributes.
    """
    written = user_attrs.get(ABOUT_ATTR, {}).get("created_at")
    return dt.datetime.fromisoformat(written) if written else None


def metric_names(names: Iterable[object] | None, count: int) -> tuple[str, ...]:
    """Return the names of what a study optimises, made up where they were never given."""
    if names:
        return tuple(str(name) for name in names)
    return ("value",) if count == 1 else tuple(f"value_{index}" for index in range(count))


def one_or_list(values: Sequence[_T]) -> _T | list[_T]:
    """Return the only value as it is, several as a list: how files and JSON show them."""
    return values[0] if len(values) == 1 else list(values)


def front(sound: Sequence[_R], directions: Sequence[Direction]) -> list[_R]:
    """Return the trials that no other one beats, the best in the first metric first.

    With one metric that is the best trial alone, the earliest of equals.

    Args:
        sound: Those that may be the best, by number; their values are finite.
        directions: `minimize` or `maximize` for each metric.
    """
    if not sound:
        return []
    signs = [-1.0 if one == "maximize" else 1.0 for one in directions]
    if len(signs) == 1:
        return [min(sound, key=lambda one: signs[0] * one.values[0])]
    import numpy as np  # a study of one metric does without

    losses = np.array([one.values for one in sound]) * np.array(signs)

    def is_beaten(index: int) -> bool:
        as_good = np.all(losses <= losses[index], axis=1)
        return bool(np.any(as_good & np.any(losses < losses[index], axis=1)))

    kept = [index for index in range(len(sound)) if not is_beaten(index)]
    return [sound[index] for index in sorted(kept, key=lambda index: (losses[index, 0], index))]
