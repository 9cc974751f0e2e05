"""The points of a finite search space: how many there are, which, and which of them a trial took.

Conditions count: parameters that do not exist at a point are not part of it, so a space in which
half of the parameters depend on a switch has far fewer points than the product of its ranges.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from tunectl.config.section import Scalar
from tunectl.search.space import SearchSpace, grid_of

Point = tuple[tuple[str, Scalar], ...]
POINT_ATTR = "tunectl:point"


class Points:
    """Every point of a search space that has finitely many, conditions counted.

    Args:
        space: A space in which every parameter has a grid.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._parents = {parent for spec in space.specs.values() for parent in spec.when or {}}
        self._taken: dict[tuple[int, Any], Point | None] = {}

    def count(self, most: float = math.inf) -> int:
        """Return how many points there are; counting ends as soon as there are more than `most`."""
        total = 0
        for _, free in self._branches({}):
            total += math.prod(self._size(key) for key in free)
            if total > most:
                break
        return total

    def __iter__(self) -> Iterator[Point]:
        for fixed, free in self._branches({}):
            for values in itertools.product(
                *(grid_of(self._space.specs[key]) or [] for key in free)
            ):
                point = {**fixed, **dict(zip(free, values, strict=True))}
                yield tuple((key, point[key]) for key in self._space.order if key in point)

    def point_of(self, parameters: Mapping[str, Scalar]) -> Point | None:
        """Return the point that a trial's parameters are, None where they are no point."""
        point = complete_parameters(self._space, parameters)
        if point is None or len(point) < len(parameters):
            return None
        return tuple(point.items())

    def taken(self, study: optuna.Study, besides: int | None = None) -> set[Point]:
        """Return the points that trials have visited or are visiting.

        Args:
            study: The one study that this object is ever asked about.
            besides: Number of a trial to leave out.
        """
        points = (
            self._point(trial)
            for trial in every_trial(study)
            if trial.state != TrialState.WAITING and trial.number != besides
        )
        return {point for point in points if point is not None}

    def exhausted(self, study: optuna.Study) -> bool:
        """Whether no trial that was not asked for by name could visit a new point."""
        trials = every_trial(study)
        if any(trial.state == TrialState.WAITING for trial in trials):
            return False
        # Identifying points takes time, and fewer trials than points cannot have visited all.
        points = self.count(most=len(trials))
        return points <= len(trials) and points <= len(self.taken(study))

    def _point(self, trial: FrozenTrial) -> Point | None:
        key = (trial.number, trial.datetime_start)
        if key in self._taken:
            return self._taken[key]
        point = self.point_of(trial.params)
        if trial.state.is_finished():
            self._taken[key] = point
        elif point is None and POINT_ATTR in trial.system_attrs:
            point = self.point_of(trial.system_attrs[POINT_ATTR])
        return point

    def _branches(
        self, fixed: Mapping[str, Scalar]
    ) -> Iterator[tuple[dict[str, Scalar], Sequence[str]]]:
        """Yield each combination of the parents' values, and the other parameters that it has."""
        probe = _Probe(fixed, self._parents)
        present = self._space.suggest(probe)
        if probe.open is None:
            yield dict(fixed), [key for key in present if key not in self._parents]
            return
        for value in grid_of(self._space.specs[probe.open]) or []:
            yield from self._branches({**fixed, probe.open: value})

    def _size(self, key: str) -> int:
        return int(SearchSpace({key: self._space.specs[key]}).size())


def every_trial(study: optuna.Study) -> list[FrozenTrial]:
    """Return all trials of a study.

    Under `HyperbandPruner` a sampler is given a study whose `get_trials` shows one bracket only.
    """
    return study._storage.get_all_trials(study._study_id, deepcopy=False)


def complete_parameters(
    space: SearchSpace, parameters: Mapping[str, Scalar]
) -> dict[str, Scalar] | None:
    """Return what the space takes of a trial's parameters, None where it misses or excludes one."""
    try:
        return space.suggest(_Stored(parameters))
    except LookupError:
        return None


class _Probe:
    """Takes fixed values, any value for the rest, and notes the first parent that has none."""

    def __init__(self, fixed: Mapping[str, Scalar], parents: set[str]) -> None:
        self._fixed = fixed
        self._parents = parents
        self.open: str | None = None

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> Any:
        return self._value(name, low)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> Any:
        return self._value(name, low)

    def suggest_categorical(self, name: str, choices: tuple[Scalar, ...]) -> Any:
        return self._value(name, choices[0])

    def _value(self, name: str, default: Scalar) -> Scalar:
        if name in self._fixed:
            return self._fixed[name]
        if name in self._parents and self.open is None:
            self.open = name
        return default


class _Stored:
    """Takes a trial's values; raises `LookupError` for one that is missing or out of range."""

    def __init__(self, parameters: Mapping[str, Scalar]) -> None:
        self._parameters = parameters

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> Any:
        value = self._number(name)
        if not low <= value <= high or (value - low) % step:
            raise LookupError(name)
        return int(value)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> Any:
        value = self._number(name)
        # On a grid as `grid_of` rounds it, so that both are the same point.
        near = round(low + round((value - low) / step) * step, 12) if step else value
        if not low - 1e-12 <= near <= high + 1e-12 or abs(value - near) > 1e-6 * (step or 1.0):
            raise LookupError(name)
        return near

    def suggest_categorical(self, name: str, choices: tuple[Scalar, ...]) -> Any:
        value = self._parameters[name]
        for choice in choices:
            if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                return choice
        raise LookupError(name)

    def _number(self, name: str) -> float:
        value = self._parameters[name]
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise LookupError(name)
        return value
