"""The search space: what may be tuned, over which values and under which conditions.

It turns the configuration's parameter specs into Optuna's distributions and back into plain
values. It knows nothing of studies or of what the parameters mean.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tunectl.config.search_schema import Choice, FloatRange, IntRange, ParameterSpec
from tunectl.config.section import Scalar


class Suggester(Protocol):
    """The part of an Optuna trial that a search space needs."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float: ...

    def suggest_categorical(self, name: str, choices: tuple[Scalar, ...]) -> Any: ...


@dataclass(frozen=True)
class SearchSpace:
    """Every tuned parameter by its dotted key.

    Args:
        specs: Dotted key → what values it may take.
    """

    specs: Mapping[str, ParameterSpec]

    @property
    def order(self) -> tuple[str, ...]:
        """The keys in the order in which they are suggested: parents first, else by name.

        The order does not depend on that of the file, so that sorting a file's lines does not
        change what a seeded sampler proposes.
        """
        ordered: list[str] = []
        waiting = sorted(self.specs)
        while waiting:
            ready = [key for key in waiting if not set(self._parents(key)) - set(ordered)]
            if not ready:
                raise ValueError(f"conditions go round in a circle: {', '.join(waiting)}")
            ordered += ready
            waiting = [key for key in waiting if key not in ready]
        return tuple(ordered)

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return the Optuna distribution of each parameter, in suggestion order."""
        return {key: distribution_of(self.specs[key]) for key in self.order}

    def suggest(self, trial: Suggester) -> dict[str, Scalar]:
        """Let a trial propose a value for every parameter whose condition holds.

        Args:
            trial: An Optuna trial, new or taken up again.

        Returns:
            Dotted key → value, without the parameters whose condition is false.
        """
        values: dict[str, Scalar] = {}
        for key in self.order:
            spec = self.specs[key]
            if self._is_active(spec, values):
                values[key] = _suggest_one(trial, key, spec)
        return values

    def active(self, values: Mapping[str, Scalar]) -> tuple[str, ...]:
        """Return the keys whose conditions hold, in suggestion order.

        Args:
            values: A value for every key, also for those whose condition turns out to be false.
        """
        known: dict[str, Scalar] = {}
        for key in self.order:
            if self._is_active(self.specs[key], known):
                known[key] = values[key]
        return tuple(known)

    def fingerprint(self) -> str:
        """Return a short text that two spaces share if and only if they are the same."""
        canonical = json.dumps(self.to_document(), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def size(self) -> float:
        """Return the number of different points, infinite with a continuous parameter.

        Conditions are left out of the count, so it is an upper bound.
        """
        return math.prod(_n_values(spec) for spec in self.specs.values())

    def to_document(self) -> dict[str, Any]:
        """Return the space as plain JSON values, one entry per parameter."""
        return {
            key: self.specs[key].model_dump(mode="json", exclude_none=True) for key in self.order
        }

    def _parents(self, key: str) -> tuple[str, ...]:
        return tuple(parent for parent in (self.specs[key].when or {}) if parent in self.specs)

    def _is_active(self, spec: ParameterSpec, values: Mapping[str, Scalar]) -> bool:
        return all(
            parent in values and _matches(values[parent], wanted)
            for parent, wanted in (spec.when or {}).items()
        )


def distribution_of(spec: ParameterSpec) -> BaseDistribution:
    """Return the Optuna distribution of one parameter.

    A stepped range ends at the last value that the steps reach, which is what Optuna would make
    of it after a warning.
    """
    if isinstance(spec, IntRange):
        high = spec.low + (spec.high - spec.low) // spec.step * spec.step
        return IntDistribution(spec.low, high, log=spec.log, step=spec.step)
    if isinstance(spec, FloatRange):
        return FloatDistribution(spec.low, _stepped_high(spec), log=spec.log, step=spec.step)
    return CategoricalDistribution(spec.choices)


def grid_of(spec: ParameterSpec) -> list[Scalar] | None:
    """Return every value that a parameter may take, None where there are infinitely many."""
    if isinstance(spec, Choice):
        return list(spec.choices)
    count = _n_values(spec)
    if count == math.inf:
        return None
    step = spec.step or 0
    # Rounding to the step's decimals keeps 0.1 + 2 * 0.1 from becoming 0.30000000000000004.
    return [round(spec.low + index * step, 12) for index in range(int(count))]


def describe(spec: ParameterSpec) -> str:
    """Return a spec as one short line, for example `int 32..128 step 16`."""
    if isinstance(spec, Choice):
        text = "one of " + ", ".join(_show(choice) for choice in spec.choices)
    else:
        text = f"{spec.type} {_show(spec.low)}..{_show(spec.high)}"
        if spec.step is not None and (spec.type, spec.step) != ("int", 1):
            text += f" step {_show(spec.step)}"
        if spec.log:
            text += " log"
    if spec.when:
        conditions = (f"{parent} = {_show(wanted)}" for parent, wanted in spec.when.items())
        text += " when " + " and ".join(conditions)
    return text


def _suggest_one(trial: Suggester, key: str, spec: ParameterSpec) -> Scalar:
    distribution = distribution_of(spec)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            key, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(
            key, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    assert isinstance(distribution, CategoricalDistribution)
    choice: Scalar = trial.suggest_categorical(key, distribution.choices)
    return choice


def _stepped_high(spec: FloatRange) -> float:
    if spec.step is None:
        return spec.high
    # Decimals of the written numbers, since 0.5 // 0.05 is 9 in binary floating point.
    low, high, step = (Decimal(repr(number)) for number in (spec.low, spec.high, spec.step))
    return float(low + (high - low) // step * step)


def _n_values(spec: ParameterSpec) -> float:
    if isinstance(spec, Choice):
        return len(spec.choices)
    if isinstance(spec, IntRange):
        return (spec.high - spec.low) // spec.step + 1
    if spec.low == spec.high:
        return 1
    if spec.step is None:
        return math.inf
    return round((_stepped_high(spec) - spec.low) / spec.step) + 1


def _matches(value: Scalar, wanted: Any) -> bool:
    allowed = wanted if isinstance(wanted, list | tuple) else (wanted,)
    # True == 1 in Python, but not in a YAML file.
    return any(
        value == item and isinstance(value, bool) == isinstance(item, bool) for item in allowed
    )


def _show(value: Any) -> str:
    """Return a value as it would stand in YAML, every digit of it."""
    if isinstance(value, list | tuple):
        return " or ".join(_show(item) for item in value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return json.dumps(value, ensure_ascii=False) if not _is_plain(value) else str(value)


def _is_plain(value: Any) -> bool:
    """Whether text needs no quotes to be told from a number or a truth value."""
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w./-]*", value) is not None
