"""Parameters whose best values press against the end of their range, so that it may be too narrow.

Distance is measured on the parameter's own scale: in its logarithm where it is searched in that,
and from the last value that the steps reach.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from tunectl.config.layout import Layout, layout_for
from tunectl.config.schema import Settings

NEAR = 0.05
"""Within so much of its range a value is near the end of it."""
LEADERS = 10
"""So many of the best trials are looked at."""
_FEWEST_LEADERS = 5
_FEWEST_VALUES = 3

Side = Literal["low", "high"]


@dataclass(frozen=True, kw_only=True)
class NearBound:
    """A parameter whose best values are near the end of its range.

    Args:
        name: Its dotted key.
        side: `low` or `high`: what is to be changed in `params_to_tune`.
        bound: The end of the range that the values are near.
        log: Whether it is searched in its logarithm.
        best: The best trial's value if that is near the bound, else None.
        near: How many of the best trials are near the bound.
        of: How many of the best trials have the parameter.
    """

    name: str
    side: Side
    bound: float
    log: bool
    best: float | None
    near: int
    of: int


def near_bounds(
    leaders: Sequence[FrozenTrial],
    *,
    has_best: bool = True,
    widest: bool = True,
    layout: Layout | None = None,
) -> tuple[NearBound, ...]:
    """Return the parameters whose best values are within 5 % of an end of their range, by name.

    That is so where the best trial's value is, or more than half of the best trials' values, of at
    least five. Choices have no bounds, nor has a parameter of fewer than three values.

    Args:
        leaders: The best trials, best first; for several metrics the Pareto front.
        has_best: Whether the first of them is the best one: not so on a Pareto front.
        widest: Whether to leave out a bound beyond which the configuration allows nothing, such as
            a dropout rate of 0.
        layout: What the configuration allows; None where that is not known.
    """
    names = sorted({name for trial in leaders for name in trial.params})
    found = (one for name in names for one in _look_at(name, leaders, has_best=has_best))
    return tuple(one for one in found if not widest or _can_be_widened(one, layout))


def layout_in(settings: Settings | None) -> Layout | None:
    """Return what the configuration of a study allows."""
    return layout_for(type(settings.run)) if settings is not None else None


def _look_at(name: str, leaders: Sequence[FrozenTrial], *, has_best: bool) -> Iterator[NearBound]:
    """Yield a parameter's ends that the best values are near: none, one or both."""
    having = [trial for trial in leaders if name in trial.params]
    # What counts is today's range: trials that were added with another one are left out.
    distribution = having[0].distributions[name]
    values = [trial.params[name] for trial in having if trial.distributions[name] == distribution]
    best = values[0] if has_best and having[0] is leaders[0] else None
    sides: tuple[Side, Side] = ("low", "high")
    for side in sides:
        near = [near_side(distribution, value) == side for value in values]
        is_best_near = best is not None and near[0]
        are_most_near = len(near) >= _FEWEST_LEADERS and sum(near) > len(near) / 2
        if is_best_near or are_most_near:
            assert isinstance(distribution, IntDistribution | FloatDistribution)
            yield NearBound(
                name=name,
                side=side,
                bound=distribution.low if side == "low" else distribution.high,
                log=distribution.log,
                best=best if is_best_near else None,
                near=sum(near),
                of=len(near),
            )


def near_side(distribution: BaseDistribution, value: float) -> Side | None:
    """Return which end of its range a value is near, None for neither or where there is none.

    Args:
        distribution: What values the parameter may have.
        value: One of them.
    """
    if not isinstance(distribution, IntDistribution | FloatDistribution):
        return None
    low, high = float(distribution.low), float(distribution.high)
    if high <= low or _count(distribution) < _FEWEST_VALUES:
        return None
    number = min(max(float(value), low), high)
    if distribution.log:
        low, high, number = math.log(low), math.log(high), math.log(number)
    place = (number - low) / (high - low)
    # What has steps is near an end on its last value at least; a hair of rounding is no distance.
    if place <= NEAR + 1e-9:
        return "low"
    return "high" if place >= 1 - NEAR - 1e-9 else None


def _count(distribution: IntDistribution | FloatDistribution) -> float:
    """Return how many values there are."""
    if distribution.step is None:
        return math.inf
    return round((distribution.high - distribution.low) / distribution.step) + 1


def _can_be_widened(found: NearBound, layout: Layout | None) -> bool:
    """Whether the configuration allows values beyond a bound."""
    if layout is None:
        return True
    least, most = layout.limits_of(found.name)
    return found.bound > least if found.side == "low" else found.bound < most
