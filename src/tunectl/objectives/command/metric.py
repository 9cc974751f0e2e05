"""Where a program leaves its metric: a JSON file, its output, or the last line of all."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunectl.config.run import MetricSource
from tunectl.errors import DivergedError, ObjectiveError
from tunectl.objectives.base import TAKEN

LARGEST = 64 * 1024 * 1024
"""Bytes of a JSON file that are read."""
MOST_METRICS = 200
MOST = sys.float_info.max

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?)\b"
_NO_MORE = r"(?!\w|\.\d)"
_ANY_NUMBER = re.compile(rf"(?<![\w.])(?:{_NUMBER}){_NO_MORE}", re.IGNORECASE)


def pattern_for(source: MetricSource, metric: str) -> re.Pattern[str]:
    """Return what a metric is looked for with; the first group is the value.

    Args:
        source: Where it is looked for; `{metric}` in its own pattern stands for the name.
        metric: Its name.

    Raises:
        re.error: the pattern is none.
    """
    name = re.escape(metric)
    if source.pattern is not None:
        return re.compile(source.pattern.replace("{metric}", name))
    found = rf"(?<![\w.]){name}[\"']?\s*[=:\s]\s*({_NUMBER}){_NO_MORE}"
    return re.compile(found, re.IGNORECASE)


class Listener:
    """Hears the metrics in a program's output.

    What comes on standard output counts more than what comes on standard error.

    Args:
        source: Where they are looked for.
        metrics: Their names, in the study's order.
    """

    def __init__(self, source: MetricSource, metrics: Sequence[str]) -> None:
        self._source = source
        self._patterns = {metric: pattern_for(source, metric) for metric in metrics}
        self._heard: dict[bool, dict[str, str]] = {True: {}, False: {}}
        self._last: dict[bool, str] = {}

    def hear(self, line: str, *, is_error: bool) -> None:
        """Take in a line."""
        self._last[is_error] = line
        if self._source.source == "output":
            self._heard[is_error].update(self._found(line))

    def metrics(self, directory: Path) -> dict[str, float]:
        """Return what the program left, each a finite number, when it has ended.

        Args:
            directory: The trial's folder.

        Raises:
            ObjectiveError: a metric is missing, or is no number.
            DivergedError: it is a number that is not finite.
        """
        if self._source.source == "json":
            return self._from_file(directory / self._source.path)
        said = self._last.get(False)
        line = self._last.get(True, "") if said is None else said
        if self._source.source == "output":
            found = {**self._heard[True], **self._heard[False]}
        else:
            found = self._found(line) or (self._alone(line) if said is not None else {})
        for metric in self._patterns:
            if metric not in found:
                raise ObjectiveError(self._absent(metric, line))
        return {metric: as_number(metric, found[metric]) for metric in self._patterns}

    def _absent(self, metric: str, last_line: str) -> str:
        own = self._source.pattern
        wanted = f"{metric}=0.12 or the like" if own is None else own
        if self._source.source == "output":
            return f"no line of its output has {metric}; looked for: {wanted}"
        if not last_line:
            return f"it printed nothing, and so no {metric}"
        line = last_line[:200]
        return f"the last line of its output has no {metric}: {line!r}; looked for: {wanted}"

    def _found(self, line: str) -> dict[str, str]:
        found = {}
        for metric, pattern in self._patterns.items():
            matches = list(pattern.finditer(line))
            if matches:
                found[metric] = _value_of(matches[-1])
        return found

    def _alone(self, line: str) -> dict[str, str]:
        """Return the number that is a line's only one, for a study with one metric."""
        numbers = _ANY_NUMBER.findall(line)
        is_clear = len(numbers) == len(self._patterns) == 1 and self._source.pattern is None
        return dict(zip(self._patterns, numbers, strict=True)) if is_clear else {}

    def _from_file(self, file: Path) -> dict[str, float]:
        document, metrics = _read(file, self._source.path), list(self._patterns)
        key = self._source.key
        if len(metrics) == 1:
            wanted = key or metrics[0]
            value = document if key is None and _is_number(document) else _at(document, wanted)
            if value is None:
                raise ObjectiveError(_missing(self._source.path, wanted, document))
            around = _around(document, wanted)
            return {**_finite_numbers(around), metrics[0]: as_number(wanted, value)}
        holder = document if key is None else _at(document, key)
        values = {metric: _at(holder, metric) for metric in metrics}
        for metric, value in values.items():
            if value is None:
                raise ObjectiveError(_missing(self._source.path, metric, holder))
        named = {metric: as_number(metric, value) for metric, value in values.items()}
        return {**_finite_numbers(holder), **named}


def as_number(name: str, value: Any) -> float:
    """Return what a program gave as a metric.

    Raises:
        ObjectiveError: it is no number.
        DivergedError: it is not finite.
    """
    try:
        number = float(value) if not isinstance(value, bool) else None
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None:
        raise ObjectiveError(f"{name} is {str(value)[:80]!r}, which is no number")
    if not math.isfinite(number):
        raise DivergedError(f"{name} is {number} at the end")
    return number


def _value_of(match: re.Match[str]) -> str:
    if match.re.groups:
        return match[1] or ""
    number = _ANY_NUMBER.search(match[0])
    return number[0] if number else match[0]


def _read(file: Path, name: str) -> Any:
    try:
        if file.stat().st_size > LARGEST:
            raise ObjectiveError(f"{name} is larger than {LARGEST // 1024**2} MiB")
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ObjectiveError(
            f"it left no {name} in the trial's directory, where its metric is looked for"
        ) from None
    except OSError as error:
        raise ObjectiveError(f"{name} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ObjectiveError(f"{name} is no JSON: {error}") from error


def _at(document: Any, key: str) -> Any:
    """Return the value of a key, whole or dotted; None where there is none."""
    if isinstance(document, Mapping) and key in document:
        return document[key]
    here = document
    for part in key.split("."):
        if isinstance(here, Mapping):
            here = here.get(part)
        elif isinstance(here, list) and part.lstrip("-").isdecimal():
            index = int(part)
            here = here[index] if -len(here) <= index < len(here) else None
        else:
            return None
    return here


def _around(document: Any, key: str) -> Any:
    """Return the mapping that a key's value stands in."""
    if isinstance(document, Mapping) and key in document:
        return document
    return _at(document, key.rpartition(".")[0]) if "." in key else document


def _finite_numbers(values: Any) -> dict[str, float]:
    """Return the other numbers of a mapping, which are kept as metrics of the trial too."""
    if not isinstance(values, Mapping):
        return {}
    numbers = {name: value for name, value in values.items() if _is_number(value)}
    kept = [
        (str(name), float(value))
        for name, value in numbers.items()
        if name not in TAKEN and abs(value) < MOST
    ]
    return dict(kept[:MOST_METRICS])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _missing(name: str, key: str, document: Any) -> str:
    if not isinstance(document, Mapping):
        return f"{name} has no {key}: it holds a {type(document).__name__}"
    there = ", ".join(map(str, list(document)[:20])) or "nothing"
    return f"{name} has no {key}; there is: {there}"
