"""What a program may say to tunectl on its standard output: `tunectl:report step=3 val=0.12`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

PREFIX = "tunectl:report"
_NAME = re.compile(r"[^\s=]+")
_STEP = re.compile(r"\d{1,9}")


class MalformedReport(Exception):  # noqa: N818 - no error: the line counts as plain output
    """A line begins like a report and is none."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a program says that a step has reached.

    Args:
        step: The step, from 0 or 1 on, as the program counts.
        metrics: Name → value, the study's metric among them; not finite where it says so.
    """

    step: int
    metrics: Mapping[str, float]


def parse_report(line: str, metric: str, after: int | None = None) -> Report | None:
    """Return what a line reports, None for any other line.

    Args:
        line: A line of output.
        metric: The study's metric. The value counts for it where the line has only one.
        after: The last step, which the line's must be larger than.

    Raises:
        MalformedReport: the line begins like a report and is none.
    """
    first, _, rest = line.strip().partition(" ")
    if first != PREFIX:
        return None
    pairs = dict(_pair(word) for word in rest.split())
    step = pairs.pop("step", "")
    if not _STEP.fullmatch(step):
        raise MalformedReport("step must be a whole number, as in step=3")
    if after is not None and int(step) <= after:
        raise MalformedReport(f"step {step} came after step {after}")
    metrics = {name: _number(name, text) for name, text in pairs.items()}
    if not metrics:
        raise MalformedReport("it has no value, as in val=0.12")
    if metric not in metrics:
        if len(metrics) > 1:
            raise MalformedReport(f"{metric} is not among its values, {', '.join(metrics)}")
        metrics = {metric: next(iter(metrics.values()))}
    return Report(step=int(step), metrics=metrics)


def _pair(word: str) -> tuple[str, str]:
    name, equals, text = word.partition("=")
    if not equals:
        name, text = "value", word
    if not _NAME.fullmatch(name):
        raise MalformedReport(f"{word!r} is no name=value")
    return name, text


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise MalformedReport(f"{name} is {text!r}, which is no number") from None
