"""The trials of a study of several metrics that no other one beats.

Each two metrics have a panel: Optuna's own figure of three is a drawing in space, which paper does
not show, and it has none of four.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from optuna.trial import FrozenTrial

from tunectl.reports.figures.case import FigureCase
from tunectl.reports.figures.look import (
    BLUE,
    GREY,
    drawing,
    faint,
    is_wide,
    log_axis,
    marker_size,
    new_figure,
    style,
    take_log,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure as Interactive

TITLE = "Pareto front"
MOST_PANELS, COLUMNS = 6, 3
MOST_NUMBERED = 12


def lack_of_front(case: FigureCase) -> str | None:
    """Say what is missing for a Pareto front."""
    if len(case.metrics) < 2:
        return "the study has a single metric"
    if not case.front:
        return "no trial is complete with finite values yet"
    return None


def draw_front(case: FigureCase) -> Figure:
    """Draw the front over each two metrics, with Matplotlib."""
    pairs = _pairs(case)
    columns = min(COLUMNS, len(pairs))
    rows = -(-len(pairs) // columns)
    with drawing():
        figure = new_figure(5.2 * columns + (1.5 if columns == 1 else 0), 4.4 * rows + 0.5)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, (x, y) in zip(grid.flat, pairs, strict=False):
            _draw_panel(axes, case, x, y)
        for spare in grid.flat[len(pairs) :]:
            spare.set_axis_off()
        figure.suptitle(f"{TITLE}: {case.name}", x=0.01, ha="left", fontsize=12)
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower right", ncols=2, frameon=False)
    return figure


def show_front(case: FigureCase) -> Interactive:
    """Draw the same with Plotly."""
    from plotly.subplots import make_subplots

    pairs = _pairs(case)
    columns = min(COLUMNS, len(pairs))
    rows = -(-len(pairs) // columns)
    figure = make_subplots(rows=rows, cols=columns)
    for index, (x, y) in enumerate(pairs):
        place = {"row": index // columns + 1, "col": index % columns + 1}
        for trace in _traces(case, x, y, is_first=index == 0):
            figure.add_trace(trace, **place)
        for axis, update in ((x, figure.update_xaxes), (y, figure.update_yaxes)):
            values = _values(_shown(case), axis)
            scale = log_axis(values) if is_wide(values) else {}
            update({"title": {"text": _label(case, axis)}, **scale}, **place)
    return style(figure, TITLE, height=130 + 400 * rows)


def _pairs(case: FigureCase) -> list[tuple[int, int]]:
    return list(combinations(range(len(case.metrics)), 2))[:MOST_PANELS]


def _shown(case: FigureCase) -> list[FrozenTrial]:
    return [
        trial
        for trial in case.complete
        if len(trial.values or ()) == len(case.metrics) and np.isfinite(trial.values).all()
    ]


def _values(trials: list[FrozenTrial], metric: int) -> list[float]:
    return [float(trial.values[metric]) for trial in trials]


def _label(case: FigureCase, metric: int) -> str:
    way = "small" if case.metrics[metric].sign > 0 else "large"
    return f"{case.metrics[metric].label}, {way} is good"


def _split(case: FigureCase) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
    """Return the beaten trials and those of the front."""
    front = set(case.front)
    shown = _shown(case)
    return [t for t in shown if t.number not in front], [t for t in shown if t.number in front]


def _draw_panel(axes: Axes, case: FigureCase, x: int, y: int) -> None:
    beaten, front = _split(case)
    size = marker_size(len(beaten))
    axes.scatter(
        _values(beaten, x), _values(beaten, y), s=size, c=GREY, linewidths=0,
        alpha=faint(len(beaten)), label="beaten by another",
    )  # fmt: skip
    front.sort(key=lambda trial: trial.values[x])
    if len(case.metrics) == 2:
        axes.plot(_values(front, x), _values(front, y), color=BLUE, linewidth=1, alpha=0.6)
    axes.scatter(
        _values(front, x), _values(front, y), s=42, marker="D", c=BLUE, linewidths=0,
        label="beaten by none",
    )  # fmt: skip
    if len(front) <= MOST_NUMBERED:
        for trial in front:
            place = (trial.values[x], trial.values[y])
            axes.annotate(
                str(trial.number), place, xytext=(6, 5), textcoords="offset points", fontsize=8.5
            )
    axes.set_xlabel(_label(case, x))
    axes.set_ylabel(_label(case, y))
    tidy(axes)
    shown = [*beaten, *front]
    take_log(axes, x=is_wide(_values(shown, x)), y=is_wide(_values(shown, y)))


def _traces(case: FigureCase, x: int, y: int, *, is_first: bool) -> list[Any]:
    from plotly import graph_objects as plotly

    beaten, front = _split(case)
    front.sort(key=lambda trial: trial.values[x])
    looks: tuple[tuple[str, list[FrozenTrial], dict[str, Any]], ...] = (
        ("beaten", beaten, {"color": GREY, "opacity": faint(len(beaten))}),
        ("beaten by none", front, {"color": BLUE, "size": 9, "symbol": "diamond"}),
    )
    return [
        plotly.Scatter(
            x=_values(trials, x),
            y=_values(trials, y),
            customdata=[trial.number for trial in trials],
            hovertemplate="trial %{customdata}: %{x:.5g}, %{y:.5g}<extra></extra>",
            mode="markers",
            name=name,
            legendgroup=name,
            showlegend=is_first,
            marker=marker,
        )
        for name, trials, marker in looks
    ]
