"""Figures made of characters, for a terminal without windows.

It returns text; what the terminal can show, its width and whether it has colours is said to it.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.ticker import LogLocator, MaxNLocator

from tunectl.reports.figures.case import FigureCase, shorten
from tunectl.reports.figures.history import best_so_far, lack_of_history
from tunectl.reports.figures.importances import lack_of_importances
from tunectl.reports.figures.look import is_wide, limits, whole_ticks
from tunectl.reports.figures.names import KindName
from tunectl.reports.figures.progress import curves_by_state, lack_of_progress
from tunectl.reports.importances import left_out_text

NARROWEST, WIDEST = 40, 160
HEIGHT = 18
MOST_BARS, MOST_CURVES = 15, 40
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_PLAIN = str.maketrans({"─": "-", "│": "|", "…": "~", "–": "-", **dict.fromkeys("┌┐└┘├┤┬┴┼", "+")})
MARKERS = {"complete": ("o", 12), "pruned": ("x", 208), "failed": ("!", 9), "running": (">", 10)}
BEST, LINE = ("*", 15), ("-", 7)


@dataclass(frozen=True, kw_only=True)
class Screen:
    """What a terminal can show.

    Args:
        width: Its columns.
        has_colours: Whether it shows colours.
        is_ascii: Whether it shows nothing but ASCII.
    """

    width: int = 80
    has_colours: bool = False
    is_ascii: bool = False


@dataclass(frozen=True, kw_only=True)
class _Points:
    """Points of one look: their places, their character and colour, and whether lines join them."""

    x: Sequence[float]
    y: Sequence[float]
    look: tuple[str, int]
    is_joined: bool = False


def draw_as_text(case: FigureCase, name: KindName, screen: Screen) -> str:
    """Draw a figure with plotext.

    Args:
        case: What is drawn; nothing may be missing for this kind, see `TEXT_LACKS`.
        name: One of `TEXT_LACKS`.
        screen: What the terminal can show.

    Returns:
        Lines that end in a newline.
    """
    width = min(max(screen.width, NARROWEST), WIDEST)
    text = _DRAWN[name](case, width)
    if not screen.has_colours:
        text = _ESCAPE.sub("", text)
    if screen.is_ascii:
        text = text.translate(_PLAIN).encode("ascii", "replace").decode()
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _history(case: FigureCase, width: int) -> str:
    groups = [
        _Points(x=[t.number for t in trials], y=case.values(trials), look=MARKERS[state])
        for state, trials in (("pruned", case.pruned), ("complete", case.complete))
    ]
    numbers, values = best_so_far(case)
    steps = [(number, value) for number, value in zip(numbers, values, strict=True)]
    corners = [
        corner
        for (start, value), (end, _) in pairwise(steps)
        for corner in ((start, value), (end, value))
    ]
    x, y = [float(n) for n, _ in corners], [v for _, v in corners]
    line = _Points(x=x, y=y, look=LINE, is_joined=True)
    title = f"{case.metric.name} by trial: o complete, x pruned (last value), - best so far"
    return _plot([line, *groups], title, "trial", width, case.metric.sign)


def _progress(case: FigureCase, width: int) -> str:
    groups = [
        _Points(
            x=curve.steps,
            y=curve.values,
            look=BEST if group.is_best else MARKERS[group.name],
            is_joined=True,
        )
        for group in curves_by_state(case, most=MOST_CURVES)
        for curve in group.curves
    ]
    shown, count = len(groups), sum(bool(t.intermediate_values) for t in case.trials)
    which = f", {shown} of {count} trials" if shown < count else ""
    title = f"{case.metric.name} by step{which}: o complete, x pruned, * best"
    return _plot(groups, title, "step (epoch)", width, case.metric.sign)


def _importances(case: FigureCase, width: int) -> str:
    """Draw bars by hand: plotext leaves no control over how long names share a line with them."""
    shown = list(case.importances.items())[:MOST_BARS]
    names = [shorten(name, max(width // 2 - 8, 12)) for name, _ in shown]
    room = max(map(len, names))
    full = max(width - room - 8, 8)
    top = max(share for _, share in shown) or 1.0
    rough = " (rough, with so few)" if case.is_rough else ""
    lines = [f"importance for {case.metric.name}, {len(case.complete)} trials{rough}"]
    for name, (_, share) in zip(names, shown, strict=True):
        bar = "#" * round(full * share / top)
        lines.append(f"{name:>{room}} \x1b[38;5;12m{bar}\x1b[0m {share:.1%}")
    rest = len(case.importances) - len(shown)
    if rest:
        lines.append(f"and {rest} more")
    return "\n".join([*lines, *textwrap.wrap(left_out_text(case.left_out), width)])


def _plot(groups: Sequence[_Points], title: str, x_label: str, width: int, sign: float) -> str:
    """Return a plot; the values' axis is logarithmic where that shows more."""
    import plotext

    values = [value for group in groups for value in group.y]
    is_log = is_wide(values)
    low, high = min(values), max(values)
    if not is_log and (edges := limits(values, sign)) is not None:
        low, high = max(low, edges[0]), min(high, edges[1])
    x_low = min(min(group.x) for group in groups if group.x)
    x_high = max(max(group.x) for group in groups if group.x)
    figure: Any = plotext.figure
    figure.clear()
    figure.plot_size(width, HEIGHT)
    figure.theme("simple")
    figure.label(x_label, "x")
    place = math.log10 if is_log else float
    for group in groups:
        inside = [(x, place(y)) for x, y in zip(group.x, group.y, strict=True) if low <= y <= high]
        if inside:
            xs, ys = zip(*inside, strict=True)
            character, colour = group.look
            marker = plotext.marker(character, plotext.pixel(colour))
            signal = figure.signal(list(xs), list(ys), marker=marker)
            signal.lines(group.is_joined)
            figure.draw(signal)
    _mark(figure.ruler("x", "lower"), x_low, x_high, whole_ticks(x_low, x_high, 7), float)
    _mark(figure.ruler("y", "left"), low, high, _ticks(low, high, is_log), place)
    return f"{title}\n{figure.build()}"


def _mark(
    ruler: Any, low: float, high: float, ticks: Sequence[float], place: Callable[[float], float]
) -> None:
    room = 0.0 if high > low else (abs(low) * 0.05 or 0.5)
    ruler.lim(place(low) - room, place(high) + room)
    ruler.ticks([place(tick) for tick in ticks], [f"{tick:.4g}" for tick in ticks])


def _ticks(low: float, high: float, is_log: bool) -> list[float]:
    locator = LogLocator(subs=(1, 3), numticks=9) if is_log else MaxNLocator(5)
    found = [float(one) for one in locator.tick_values(low, high) if low <= one <= high]
    return found if len(found) > 1 else sorted({low, high})


_DRAWN: Mapping[KindName, Callable[[FigureCase, int], str]] = {
    KindName.HISTORY: _history,
    KindName.INTERMEDIATE: _progress,
    KindName.IMPORTANCES: _importances,
}
TEXT_LACKS: Mapping[KindName, Callable[[FigureCase], str | None]] = {
    KindName.HISTORY: lack_of_history,
    KindName.INTERMEDIATE: lack_of_progress,
    KindName.IMPORTANCES: lack_of_importances,
}
"""The kinds that can be drawn as text, in order, each with what says what is missing for it."""
