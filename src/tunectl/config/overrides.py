"""Overrides from the command line, in Hydra's grammar.

This module parses; it does not know what the files say. A sweep (`choice`, `range`, `interval` or a
list with commas) becomes a parameter in the form that `params_to_tune` has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from tunectl.config.origin import Origin, problem_at
from tunectl.config.values import flaw_of
from tunectl.config.yaml_source import MAX_DEPTH
from tunectl.errors import Problem

MOST_CHOICES = 1000


@dataclass(frozen=True, kw_only=True)
class Override:
    """One override, understood.

    Args:
        text: As typed.
        kind: `set` a value, put a `sweep` into the search space, or `delete` what is written.
        key: Dotted key.
        value: The value, or the parameter of a sweep; None for `delete`.
    """

    text: str
    kind: Literal["set", "sweep", "delete"]
    key: str
    value: Any = None

    @property
    def origin(self) -> Origin:
        """Where it was written."""
        return Origin(kind="override", override=self.text)

    @property
    def parts(self) -> tuple[str, ...]:
        """The key's parts."""
        return tuple(self.key.split("."))


class _RefusedError(Exception):
    """An override that cannot be used."""


class _UnreadableError(_RefusedError):
    """An override with an error of syntax; the message shows it and points at the place."""


def parse(texts: Sequence[str]) -> tuple[list[Override], list[Problem]]:
    """Parse overrides.

    Args:
        texts: For example `training.epochs=5` or `model.hidden=range(32,129,16)`.

    Returns:
        What could be parsed, in order, and a problem for each of the others.
    """
    overrides: list[Override] = []
    problems: list[Problem] = []
    for text in texts:
        try:
            overrides.append(_parse(text))
        except _UnreadableError as error:
            problems.append(Problem(message=str(error)))
        except _RefusedError as refusal:
            origin = Origin(kind="override", override=text)
            problems.append(problem_at(origin, str(refusal)))
    return overrides, problems


def _parse(text: str) -> Override:
    flaw = flaw_of(text)
    if flaw:
        raise _RefusedError(flaw)
    parsed = _hydra(text)
    key = str(parsed.key_or_group)
    if "/" in key or parsed.package is not None:
        raise _RefusedError("'/' and '@' are for Hydra's config groups; a key has dots only")
    if not key:
        raise _RefusedError("an override is key=value, and the key is missing")
    if parsed.is_delete():
        if parsed.value_type is not None:
            raise _RefusedError("'~' goes without a value: ~key")
        return Override(text=text, kind="delete", key=key)
    if parsed.is_sweep_override():
        return Override(text=text, kind="sweep", key=key, value=_parameter(parsed.value()))
    value = parsed.value()
    if _is_deep(value, MAX_DEPTH - key.count(".")):
        raise _RefusedError("is nested too deeply")
    return Override(text=text, kind="set", key=key, value=value)


def _is_deep(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    items = value.values() if isinstance(value, dict) else value
    return depth < 1 or any(_is_deep(item, depth - 1) for item in items)


def _hydra(text: str) -> Any:
    # Hydra's parser takes 0.2 s to import; without overrides nobody has to wait for it.
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise _syntax_error(text, error) from error
    except (ValueError, TypeError, ArithmeticError) as error:
        raise _RefusedError("cannot be read as an override") from error
    except RecursionError as error:
        raise _RefusedError("is nested too deeply") from error


def _syntax_error(text: str, error: Exception) -> _RefusedError:
    """Return Hydra's message with a line that points at the place, where Hydra knows it."""
    if "=" not in text:
        return _RefusedError("an override is key=value, +key=value or ~key")
    message = f"cannot be read as an override: {error}"
    cause = error.__cause__
    column = getattr(cause, "startIndex", None)
    if column is None:
        column = getattr(getattr(cause, "offendingToken", None), "start", None)
    if not isinstance(column, int) or not text.isprintable():
        return _RefusedError(message)
    pointer = " " * min(column, len(text)) + "^"
    return _UnreadableError(f"{message}\n    {text}\n    {pointer}")


def _parameter(sweep: Any) -> dict[str, Any]:
    """Return a sweep as a parameter of `params_to_tune`."""
    tags: set[Any] = getattr(sweep, "tags", set())
    strange = sorted(str(tag) for tag in tags if tag != "log")
    if strange:
        raise _RefusedError(f"unknown tag {strange[0]!r}; valid: log")
    kind = type(sweep).__name__
    if kind == "ChoiceSweep":
        if tags:
            raise _RefusedError("log is for interval and range, not for choices")
        return {"type": "categorical", "choices": [_choice(item) for item in sweep.list]}
    if kind == "IntervalSweep":
        spec = _bounds(sweep.start, sweep.end)
    elif kind == "RangeSweep":
        spec = _stepped(sweep.start, sweep.stop, sweep.step)
        if sweep.shuffle:  # as in Hydra's own sweeper: values without an order
            return {"type": "categorical", "choices": _members(spec)}
    else:
        raise _RefusedError("only choice, range, interval and lists with commas are sweeps here")
    return {**spec, "log": True} if tags else spec


def _members(spec: Mapping[str, Any]) -> list[Any]:
    count = round((spec["high"] - spec["low"]) / spec["step"]) + 1
    if count > MOST_CHOICES:
        raise _RefusedError(f"{count} choices are too many; at most {MOST_CHOICES}")
    return [round(spec["low"] + index * spec["step"], 12) for index in range(count)]


def _choice(item: Any) -> Any:
    return getattr(item, "text", item)  # Hydra wraps text that was in quotes


def _bounds(low: Any, high: Any) -> dict[str, Any]:
    whole = isinstance(low, int) and isinstance(high, int)
    return {"type": "int" if whole else "float", "low": low, "high": high}


def _stepped(start: Any, stop: Any, step: Any) -> dict[str, Any]:
    """Return the parameter with the values of Hydra's `range`, whose `stop` is left out."""
    numbers = (start, stop, step)
    if not all(flaw_of(number) is None and math.isfinite(number) for number in numbers):
        raise _RefusedError("range takes finite numbers of 64 bits at most")
    if step == 0:
        raise _RefusedError("the step of a range cannot be 0")
    # Decimal of the text, so that 0.1 is a tenth and the last value is not lost to rounding.
    first, end, by = (Decimal(str(number)) for number in numbers)
    count = math.ceil((end - first) / by)
    if count < 1:
        raise _RefusedError(f"range({start}, {stop}, {step}) has no values")
    last = first + (count - 1) * by
    whole = all(isinstance(number, int) for number in numbers)
    low, high, width = min(first, last), max(first, last), abs(by)
    if whole:
        return {"type": "int", "low": int(low), "high": int(high), "step": int(width)}
    return {"type": "float", "low": float(low), "high": float(high), "step": float(width)}
