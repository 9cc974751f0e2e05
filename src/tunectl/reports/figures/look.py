"""How figures look: colours that colour-blind people tell apart, axes, legends, and both libraries.

Matplotlib's figures are made without pyplot's global state; what Optuna makes with it is taken out
of it and the rest closed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure as Interactive

DPI = 110
BLUE, ORANGE, GREY, GREEN, PURPLE, BLACK = (
    "#1f5fa8",
    "#d1661d",
    "#8a8a8a",
    "#1b8a6b",
    "#8d4f8f",
    "#222222",
)
STUDY_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#b8960c", "#56b4e9", BLACK)
STATE_COLOURS = {
    "complete": BLUE,
    "pruned": ORANGE,
    "failed": BLACK,
    "running": GREEN,
    "waiting": GREY,
}
SCALE = "viridis"
GRID, FRAME = "#e3e3e3", "#b5b5b5"
FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"
Size = tuple[float, float]
LOG_STEPS = ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 5), (1, 3), (1,))
WIDE = 30.0
"""How many times the smallest of positive values the largest is where a log axis is better."""


class PlainLog(LogFormatter):
    """Plain numbers on a log axis; those between powers of ten only where these are few."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with settings of our own, which leave the process's as they are.

    A name is the user's text: a `$` in it is no formula. Neither a character that the font lacks
    nor Optuna's word that a function is new is anything that a user could act upon.
    """
    settings: Any = {
        "text.parse_math": False,
        "axes.titlesize": 12,
        "axes.labelsize": 10,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "legend.fontsize": 9,
        "figure.constrained_layout.use": True,
        "svg.hashsalt": "tunectl",
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of so many inches, drawn without a display."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def borrow(
    plot: Callable[..., Any], *arguments: Any, size: tuple[float, float], **more: Any
) -> Figure:
    """Return a figure that one of Optuna's functions draws with pyplot, taken out of pyplot.

    Args:
        plot: One of `optuna.visualization.matplotlib`.
        arguments: What it takes.
        size: Width and height in inches.
        more: What else it takes.
    """
    from matplotlib import pyplot

    if not pyplot.get_fignums():
        matplotlib.use("agg")
    open_before = set(pyplot.get_fignums())
    try:
        axes = plot(*arguments, **more)
        figure: Figure = np.ravel(axes)[0].figure
    finally:
        for number in set(pyplot.get_fignums()) - open_before:
            pyplot.close(number)
    FigureCanvasAgg(figure)
    figure.set_size_inches(*size)
    figure.set_dpi(DPI)
    figure.set_facecolor("white")
    for one in figure.axes:
        tidy(one)
        one.title.set_fontsize(12)
        for label in (one.xaxis.label, one.yaxis.label):
            label.set_fontsize(10)
    return figure


def tidy(axes: Axes) -> None:
    """Give axes a white ground, a light grid behind the data and plain numbers on log scales."""
    axes.set_facecolor("white")
    axes.set_axisbelow(True)
    axes.grid(visible=True, which="major", color=GRID, linewidth=0.8)
    for spine in axes.spines.values():
        spine.set_color(FRAME)
    axes.tick_params(colors="#333333", which="both")
    for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
        text.set_color("#222222")
    # Numbers between the powers of ten have more room one above the other than side by side.
    for scale, axis, decades in (
        (axes.get_xscale(), axes.xaxis, 1.0),
        (axes.get_yscale(), axes.yaxis, 2.5),
    ):
        if scale == "log":
            axis.set_major_formatter(PlainLog())
            axis.set_minor_formatter(PlainLog(minor_thresholds=(decades, 0.4)))


def take_log(axes: Axes, *, x: bool = False, y: bool = False) -> None:
    """Give one or both axes a logarithmic scale with plain numbers."""
    if x:
        axes.set_xscale("log", nonpositive="mask")
    if y:
        axes.set_yscale("log", nonpositive="mask")
    tidy(axes)


def count_from(axis: Any) -> None:
    """Let an axis that counts something have whole numbers only."""
    axis.set_major_locator(MaxNLocator(integer=True))


def is_wide(values: Sequence[float]) -> bool:
    """Whether values span so much that only a logarithmic axis shows them all."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > WIDE


def limits(values: Sequence[float], sign: float) -> tuple[float, float] | None:
    """Return limits of a linear axis that a few far worse values do not flatten.

    Args:
        values: Finite values.
        sign: 1 where smaller is better, -1 where larger is.

    Returns:
        Lower and upper limit; None where all values fit well.
    """
    if len(values) < 4:
        return None
    losses = np.asarray(values) * sign
    best, middle, good = losses.min(), float(np.median(losses)), float(np.quantile(losses, 0.8))
    edge = good + 1.5 * (good - best)
    if losses.max() <= edge + 2 * (edge - best) or good == best or not math.isfinite(middle):
        return None
    room = 0.05 * (edge - best)
    low, high = sorted((sign * (best - room), sign * (edge + room)))
    return float(low), float(high)


def marker_size(count: int) -> float:
    """Return a marker's area in square points, smaller where there are many."""
    return float(np.clip(3000 / max(count, 1), 6, 36))


def faint(count: int) -> float:
    """Return an opacity, lower where there are many lines or points."""
    return float(np.clip(60 / max(count, 1), 0.25, 0.85))


def style(figure: Interactive, title: str, *, height: int = 480, **layout: Any) -> Interactive:
    """Give a figure of Plotly the look of all others.

    Args:
        figure: The figure; changed.
        title: What it shows.
        height: Pixels.
        layout: What else its layout is to have.
    """
    figure.update_layout(
        template="plotly_white",
        title={"text": title, "x": 0.01, "xanchor": "left", "font": {"size": 16}},
        font={"family": FONT, "size": 12, "color": "#222222"},
        colorway=list(STUDY_COLOURS),
        height=height,
        autosize=True,
        width=None,
        margin={"l": 70, "r": 30, "t": 60, "b": 60},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
    )
    figure.update_layout(**layout)
    figure.update_xaxes(zeroline=False)
    figure.update_yaxes(zeroline=False)
    return figure


def log_axis(values: Sequence[float], most: int = 9) -> Mapping[str, Any]:
    """Return what makes an axis of Plotly logarithmic, with plain numbers.

    Args:
        values: What stands on it; the positive and finite ones count.
        most: How many numbers at most.
    """
    positive = [value for value in values if 0 < value < math.inf]
    ticks = log_ticks(min(positive), max(positive), most) if positive else []
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return round numbers from `low` to `high` for a logarithmic axis.

    Args:
        low: Greater than 0.
        high: At least `low`.
        most: How many at most, as far as powers of ten allow it.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    found: list[float] = []
    for steps in LOG_STEPS:
        every = [step * _power_of_ten(power) for power in range(first, last + 1) for step in steps]
        found = [one for one in every if low * 0.999 <= one <= high * 1.001]
        if len(found) <= most:
            return found
    return found[:: -(-len(found) // most)]


def whole_ticks(low: float, high: float, most: int) -> list[float]:
    """Return whole numbers from `low` to `high` for a linear axis.

    Args:
        low: A whole number.
        high: At least `low`.
        most: How many at most.
    """
    found = MaxNLocator(max(most - 1, 1), integer=True).tick_values(low, high)
    return [float(one) for one in found if low <= one <= high] or [low]


def _power_of_ten(power: int) -> float:
    return 10.0 ** min(power, 307)  # the next one times 8 is no float
