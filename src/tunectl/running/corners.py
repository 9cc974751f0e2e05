"""The corners of a search space: what its parameters may be at the most and at the least."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping

from optuna.distributions import FloatDistribution, IntDistribution

from tunectl.config.search_schema import Choice, ParameterSpec
from tunectl.config.section import Scalar
from tunectl.search.space import SearchSpace, distribution_of

MOST_CORNERS = 2000


def corners(space: SearchSpace, keys: Iterable[str]) -> list[dict[str, Scalar]]:
    """Return every combination of extreme values of some parameters.

    Args:
        space: The search space.
        keys: Dotted keys; those that are not in the space are passed over. What their conditions
            depend on varies too.

    Returns:
        Dotted key → value, without the parameters whose condition is false; a single empty one
        where no key is in the space, and no more than `MOST_CORNERS`.
    """
    part = SearchSpace({key: space.specs[key] for key in _with_parents(space, keys)})
    options = [_options(part, key) for key in part.order]
    found: dict[tuple[tuple[str, Scalar, type], ...], dict[str, Scalar]] = {}
    for values in itertools.islice(itertools.product(*options), MOST_CORNERS):
        whole = dict(zip(part.order, values, strict=True))
        corner = {key: whole[key] for key in part.active(whole)}
        # The type is part of it because True == 1.
        found[tuple((key, value, type(value)) for key, value in corner.items())] = corner
    return list(found.values())


def bounds(space: SearchSpace, key: str, base: float) -> tuple[float, float]:
    """Return the least and the largest number that a value may be in any trial.

    Args:
        space: The search space.
        key: Dotted key of a number.
        base: Its value where it is not searched.
    """
    values = [corner.get(key, base) for corner in corners(space, [key])]
    numbers = [value for value in values if isinstance(value, int | float)]
    return (min(numbers), max(numbers)) if numbers else (math.nan, math.nan)


def _with_parents(space: SearchSpace, keys: Iterable[str]) -> set[str]:
    waiting, found = [key for key in keys if key in space.specs], set[str]()
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            parents: Mapping[str, object] = space.specs[key].when or {}
            waiting += [parent for parent in parents if parent in space.specs]
    return found


def _options(space: SearchSpace, key: str) -> list[Scalar]:
    """Return the extreme values of a parameter, and those that conditions ask for."""
    spec = space.specs[key]
    wanted = [(other.when or {}).get(key) for other in space.specs.values()]
    asked = [one for want in wanted for one in (want if isinstance(want, list | tuple) else [want])]
    options = _extremes(spec)
    return options + [one for one in asked if one is not None and one not in options]


def _extremes(spec: ParameterSpec) -> list[Scalar]:
    distribution = distribution_of(spec)
    if isinstance(distribution, IntDistribution | FloatDistribution):
        ends: list[Scalar] = [distribution.low, distribution.high]
        return ends[:1] if distribution.single() else ends
    assert isinstance(spec, Choice)
    choices = list(spec.choices)
    numbers = [one for one in choices if isinstance(one, int | float) and not isinstance(one, bool)]
    if len(numbers) < len(choices):
        return choices
    return list(dict.fromkeys((min(numbers), max(numbers))))
