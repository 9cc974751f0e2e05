"""What a benchmark says: rows of a table, each with its target, and the way to run one alone.

A benchmark is a module with a function `measure(*, quick)` that yields rows as it gets them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

Measure = Callable[..., Iterator["Row"]]

DIGITS = 3


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the results.

    Args:
        what: What was measured.
        ours: What `tunectl` takes, with its unit.
        theirs: What the yardstick takes.
        result: The number that counts: a ratio, or what the unit says. None where nothing could
            be measured.
        spread: Its lowest and highest value over the pairs.
        unit: Of the result; `×` for a ratio.
        at_least: The target, if the result is to be so high.
        at_most: The target, if it is to be so low.
        note: What else there is to know.
    """

    what: str
    ours: str = "–"
    theirs: str = "–"
    result: float | None = None
    spread: tuple[float, float] | None = None
    unit: str = "×"
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or a dash where there is no target or no result."""
        if self.result is None or (self.at_least is None and self.at_most is None):
            return "–"
        is_high = self.at_least is None or self.result >= self.at_least
        is_low = self.at_most is None or self.result <= self.at_most
        return "met" if is_high and is_low else "missed"

    @property
    def target(self) -> str:
        """The target in words."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g} {self.unit}"
        return "–" if self.at_most is None else f"≤ {self.at_most:g} {self.unit}"

    def cells(self) -> tuple[str, ...]:
        """Return the row as it stands in the table, in the order of `COLUMNS`."""
        result = "–" if self.result is None else f"{number(self.result)} {self.unit}"
        spread = "–" if self.spread is None else "–".join(map(number, self.spread))
        return (
            self.what,
            self.ours,
            self.theirs,
            result,
            spread,
            self.target,
            self.verdict,
            self.note,
        )


COLUMNS = ("what", "ours", "yardstick", "result", "spread", "target", "", "note")


def number(value: float) -> str:
    """Return a number with three digits that mean something, without an exponent."""
    if value == 0 or abs(value) >= 10 ** (DIGITS - 1):
        return f"{value:,.0f}"
    digits = DIGITS - 1
    scale = abs(value)
    while scale < 1 and digits < 6:
        scale, digits = scale * 10, digits + 1
    while scale >= 10:
        scale, digits = scale / 10, digits - 1
    return f"{value:.{digits}f}"


def seconds(value_s: float) -> str:
    """Return a duration in the unit that suits it."""
    return f"{number(value_s * 1e3)} ms" if value_s < 1 else f"{number(value_s)} s"


def count(number_of: int, what: str) -> str:
    """Return `1 pair`, `2 pairs`."""
    return f"{number_of} {what}" + ("s" if number_of != 1 else "")


def megabytes(value_bytes: float) -> str:
    """Return so much memory."""
    return f"{value_bytes / 1e6:,.0f} MB"


def run_alone(measure: Measure) -> None:
    """Run one benchmark as a program: its rows on standard output.

    Args:
        measure: That of the module.
    """
    parser = argparse.ArgumentParser(
        description=(sys.modules["__main__"].__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="few rounds: does it run at all?")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    forget_environment()
    start = time.perf_counter()
    for row in measure(quick=arguments.quick):
        took_s = time.perf_counter() - start
        print(json.dumps(asdict(row)) if arguments.json else shown(row, took_s), flush=True)
        start = time.perf_counter()


def forget_environment() -> None:
    """Let what is started from now on not know of threads and settings that the caller chose."""
    for name in list(os.environ):
        if name.startswith(("TUNECTL_", "OPTUNA_")) or name.endswith("_NUM_THREADS"):
            del os.environ[name]


def shown(row: Row, took_s: float) -> str:
    """Return a row as lines for a terminal.

    Args:
        row: The row.
        took_s: Seconds that it took to measure.
    """
    what, ours, theirs, result, spread, target, verdict, note = row.cells()
    lines = [
        f"{what}",
        f"    {ours} against {theirs}: {result} ({spread}), target {target}: {verdict}"
        f"  [{took_s:.0f} s]",
    ]
    return "\n".join([*lines, f"    {note}"] if note else lines)
