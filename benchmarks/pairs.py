"""Measuring in pairs: A, B, B, A … so that a machine that slows down does it to both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

Side = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """What two sides took, round by round.

    Args:
        ours: Seconds of each round.
        theirs: Seconds of the same rounds.
    """

    ours: Sequence[float]
    theirs: Sequence[float]

    @property
    def ours_s(self) -> float:
        """Median of our side."""
        return statistics.median(self.ours)

    @property
    def theirs_s(self) -> float:
        """Median of the other side."""
        return statistics.median(self.theirs)

    def times_faster(self) -> tuple[float, tuple[float, float]]:
        """Return how many times as long the other side takes: the median of pairs, and its ends."""
        return _median(b / a for a, b in zip(self.ours, self.theirs, strict=True))

    def times_slower(self) -> tuple[float, tuple[float, float]]:
        """Return how many times as long we take: the median of pairs, and its ends."""
        return _median(a / b for a, b in zip(self.ours, self.theirs, strict=True))


def in_turn(sides: Mapping[str, Side], rounds: int) -> dict[str, list[float]]:
    """Measure every side once a round, forwards and backwards in turn.

    Args:
        sides: Name → what does it once and returns its seconds.
        rounds: How often.

    Returns:
        Name → seconds of each round.
    """
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds):
        names = list(sides)
        for name in names if turn % 2 == 0 else reversed(names):
            taken[name].append(sides[name]())
    return taken


def timed(action: Callable[[], object]) -> Side:
    """Return a side that does something and returns the seconds that it took."""

    def side() -> float:
        start = time.perf_counter()
        action()
        return time.perf_counter() - start

    return side


def _median(values: Iterable[float]) -> tuple[float, tuple[float, float]]:
    ordered = sorted(values)
    return statistics.median(ordered), (ordered[0], ordered[-1])
