"""Each completed trial as a line through its parameters.

Optuna's own figure colours by value, so that one bad trial leaves all others the same colour, has
every parameter on it however many there are, and in a browser a drawing of its own for each trial.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tunectl.reports.figures.case import FigureCase, shorten
from tunectl.reports.figures.look import (
    FRAME,
    SCALE,
    drawing,
    faint,
    is_wide,
    limits,
    log_ticks,
    new_figure,
    style,
    whole_ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure as Interactive

TITLE = "Completed trials, parameter by parameter"
MOST_PARAMETERS = 8
MOST_LINES, MOST_INTERACTIVE_LINES = 1000, 150
MISSING, MISSING_TEXT = -0.1, "not used"
MOST_CHOICES, LONGEST_TICK, LONGEST_LINE = 8, 12, 16


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One of the upright axes.

    Args:
        label: What it shows.
        positions: Where each trial crosses it, 0 to 1 from bottom to top; below for a trial that
            has no value.
        ticks: Place and text of each tick.
        texts: Each trial's value.
    """

    label: str
    positions: Sequence[float]
    ticks: Sequence[tuple[float, str]]
    texts: Sequence[str]


def draw_parallel(case: FigureCase) -> Figure:
    """Draw it with Matplotlib; needs what `lack_of_slice` asks for."""
    trials = _chosen(case, MOST_LINES)
    axes_of = _axes(case, trials)
    shades = _shades(len(trials))
    with drawing():
        figure = new_figure(1.6 + 1.45 * len(axes_of), 5.2)
        axes = figure.subplots()
        points = [
            list(enumerate(places)) for places in zip(*(a.positions for a in axes_of), strict=True)
        ]
        lines = LineCollection(points, cmap=SCALE, alpha=faint(len(trials)), linewidths=1.1)
        lines.set_array(np.asarray(shades))
        lines.set_clim(0, 1)
        axes.add_collection(lines)
        axes.plot(range(len(axes_of)), [a.positions[-1] for a in axes_of], color="black", lw=2.2)
        _draw_ticks(axes, axes_of)
        axes.set_title(_title(case, trials), loc="left", pad=14)
        bar = figure.colorbar(lines, ax=axes, pad=0.02, aspect=30, label="rank; best in black")
        if bar.solids is not None:
            bar.solids.set_alpha(1)
        bar.set_ticks([0, 0.5, 1], labels=["best", "middle", "worst"])
        bar.ax.invert_yaxis()
    return figure


def show_parallel(case: FigureCase) -> Interactive:
    """Draw the same with Plotly."""
    from plotly import graph_objects as plotly

    trials = _chosen(case, MOST_INTERACTIVE_LINES)
    axes_of = _axes(case, trials)
    colours = matplotlib.colormaps[SCALE](_shades(len(trials)))
    figure = plotly.Figure()
    for index, (trial, colour) in enumerate(zip(trials, colours, strict=True)):
        is_best = index == len(trials) - 1
        shade = "black" if is_best else matplotlib.colors.to_hex(colour)
        figure.add_trace(
            plotly.Scatter(
                x=list(range(len(axes_of))),
                y=[round(axis.positions[index], 4) for axis in axes_of],
                text=[axis.texts[index] for axis in axes_of],
                mode="lines",
                line={"color": shade, "width": 2.5 if is_best else 1.2},
                opacity=1 if is_best else max(faint(len(trials)), 0.4),
                hovertemplate=f"trial {trial.number}: %{{text}}<extra></extra>",
                showlegend=False,
            )
        )
    style(figure, f"{_title(case, trials)}<br><sup>dark: good, yellow: bad, black: the best</sup>")
    labels = [_broken(axis.label, "<br>") for axis in axes_of]
    figure.update_xaxes(tickvals=list(range(len(axes_of))), ticktext=labels, showgrid=False)
    figure.update_xaxes(range=[-0.3, len(axes_of) - 0.7], zeroline=False, tickangle=0)
    figure.update_yaxes(visible=False, range=[MISSING - 0.05, 1.05])
    figure.update_layout(margin={"t": 90, "b": 90})
    for index, axis in enumerate(axes_of):
        figure.add_vline(index, line={"color": FRAME, "width": 1}, layer="below")
        for place, text in axis.ticks:
            figure.add_annotation(
                x=index, y=place, text=text, showarrow=False, xanchor="left", xshift=3,
                font={"size": 10}, bgcolor="rgba(255,255,255,0.7)", borderpad=1,
            )  # fmt: skip
    return figure


def _chosen(case: FigureCase, most: int) -> list[FrozenTrial]:
    """Return the best trials, at most so many, the best one last so that it lies on top."""
    sign = case.metric.sign
    ranked = sorted(case.complete, key=lambda t: (sign * (case.value(t) or 0.0), t.number))
    return ranked[:most][::-1]


def _shades(count: int) -> list[float]:
    """Return the rank of each of the trials shown, 1 for the worst, which is the first, to 0."""
    return [float(one) for one in np.linspace(1, 0, count)] if count > 1 else [0.0]


def _title(case: FigureCase, trials: Sequence[FrozenTrial]) -> str:
    n_complete, n_parameters = len(case.complete), len(case.ranked)
    cuts = []
    if n_complete > len(trials):
        cuts.append(f"the {len(trials)} best trials of {n_complete}")
    if n_parameters > MOST_PARAMETERS:
        cuts.append(f"the {MOST_PARAMETERS} most important parameters of {n_parameters}")
    return f"{case.name}: {', '.join(cuts)}" if cuts else f"{TITLE}: {case.name}"


def _axes(case: FigureCase, trials: Sequence[FrozenTrial]) -> list[Axis]:
    values = case.values(trials)
    edges = limits(values, case.metric.sign)
    is_log = is_wide(values)
    ends = edges if edges is not None and not is_log else (min(values), max(values))
    first = _numeric_axis(case.metric.name, list(values), is_log=is_log, ends=ends)
    return [first, *(_axis(case, name, trials) for name in case.ranked[:MOST_PARAMETERS])]


def _axis(case: FigureCase, parameter: str, trials: Sequence[FrozenTrial]) -> Axis:
    label = case.labels[parameter]
    if case.is_numeric(parameter):
        numbers = [trial.params.get(parameter) for trial in trials]
        is_log, is_whole = case.is_log(parameter), case.is_whole(parameter)
        return _numeric_axis(label, numbers, is_log=is_log, is_whole=is_whole)
    choices = case.choices(parameter)
    last = max(len(choices) - 1, 1)
    place = {choice: index / last for index, choice in enumerate(choices)}
    texts = [case.text(t.params[parameter]) if parameter in t.params else None for t in trials]
    stride = -(-len(choices) // MOST_CHOICES)
    ticks = [(place[one], shorten(one, LONGEST_TICK)) for one in choices[::stride]]
    return _with_missing(label, [place[one] if one is not None else None for one in texts], ticks,
                         [one or MISSING_TEXT for one in texts])  # fmt: skip


def _numeric_axis(
    label: str,
    values: Sequence[float | None],
    *,
    is_log: bool,
    is_whole: bool = False,
    ends: tuple[float, float] | None = None,
) -> Axis:
    known = [value for value in values if value is not None]
    low, high = ends or ((min(known), max(known)) if known else (0.0, 1.0))
    numbers = whole_ticks(low, high, 6) if is_whole else _ticks(low, high, is_log)
    ticks = [
        (_place(one, low, high, is_log), f"{one:.0f}" if is_whole else f"{one:.4g}")
        for one in numbers
    ]
    places = [None if value is None else _place(value, low, high, is_log) for value in values]
    texts = [MISSING_TEXT if value is None else f"{value:.5g}" for value in values]
    return _with_missing(label, places, ticks, texts)


def _with_missing(
    label: str,
    places: Sequence[float | None],
    ticks: list[tuple[float, str]],
    texts: Sequence[str],
) -> Axis:
    if None in places:
        ticks = [(MISSING, MISSING_TEXT), *ticks]
    positions = [MISSING if place is None else place for place in places]
    return Axis(label=label, positions=positions, ticks=ticks, texts=texts)


def _place(value: float, low: float, high: float, is_log: bool) -> float:
    if is_log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.5


def _ticks(low: float, high: float, is_log: bool) -> list[float]:
    if low == high:
        return [low]
    found = log_ticks(low, high, 6) if is_log else MaxNLocator(5).tick_values(low, high)
    inside = [float(one) for one in found if low <= one <= high]
    return inside if len(inside) > 1 else [low, high]


def _draw_ticks(axes: Axes, axes_of: Sequence[Axis]) -> None:
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
    for index, axis in enumerate(axes_of):
        axes.axvline(index, color=FRAME, linewidth=1, zorder=0.5)
        for place, text in axis.ticks:
            axes.text(index + 0.03, place, text, fontsize=8.5, va="center", bbox=box, zorder=5)
    axes.set_xticks(range(len(axes_of)), [_broken(axis.label, "\n") for axis in axes_of])
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.set_xlim(-0.15, len(axes_of) - 0.55)
    axes.set_ylim(MISSING - 0.05, 1.05)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _broken(label: str, newline: str) -> str:
    """Return a label on several lines, none much longer than an axis has room for."""
    lines: list[str] = []
    for part in re.findall(r"[^._ ]*[._ ]?", label):
        if lines and len(lines[-1]) + len(part) <= LONGEST_LINE:
            lines[-1] += part
        elif part:
            lines.append(part)
    return newline.join(lines)
