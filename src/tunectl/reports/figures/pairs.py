"""Pairs of parameters: the landscape over the two most important, and ranks over the three."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from matplotlib.figure import Figure

from tunectl.reports.figures.axes import mark, marked, positions
from tunectl.reports.figures.case import FigureCase
from tunectl.reports.figures.look import (
    ORANGE,
    SCALE,
    borrow,
    count_from,
    drawing,
    faint,
    limits,
    marker_size,
    new_figure,
    style,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure as Interactive

CONTOUR_TITLE = "The two most important parameters"
RANK_TITLE = "Ranks over pairs of parameters"
MOST_RANKED = 3
RANKS: dict[str, Any] = {"tickvals": [0, 0.5, 1], "ticktext": ["best", "middle", "worst"]}


def lack_of_pairs(case: FigureCase) -> str | None:
    """Say what is missing for showing pairs of parameters."""
    if len(case.complete) < 3:
        return "it takes at least three completed trials"
    if len(case.common) < 2:
        return "it takes two parameters of more than one value that most trials have"
    return None


def lack_of_contour(case: FigureCase) -> str | None:
    """Say what is missing for a contour."""
    if (lack := lack_of_pairs(case)) is not None:
        return lack
    if len(set(case.values(case.complete))) < 2:
        return "all completed trials have the same value"
    if not all(_n_together(case, name) for name in combinations(case.common[:2], 2)):
        return "no trial has both of the two most important parameters"
    return None


def draw_contour(case: FigureCase) -> Figure:
    """Draw Optuna's contour of the two most important parameters, with Matplotlib.

    Values that are far worse than most are cut off: they would leave the rest in one colour.
    """
    from optuna.visualization.matplotlib import plot_contour

    study, name = _cut(case)
    with drawing():
        figure = borrow(plot_contour, study, params=_pair(case), target_name=name, size=(8.5, 5.6))
        axes = figure.axes[0]
        axes.set_title("")
        axes.set_title(f"{CONTOUR_TITLE}: {case.name}", loc="left", fontsize=12)
        axes.grid(visible=False)
        for parameter, axis in zip(_sorted_pair(case), (axes.xaxis, axes.yaxis), strict=True):
            if case.is_whole(parameter):
                count_from(axis)
        size = marker_size(len(case.complete)) * 0.6
        for points in axes.collections[2:]:
            points.set(sizes=[size], linewidths=0.5, edgecolors="white")
    return figure


def show_contour(case: FigureCase) -> Interactive:
    """Draw the same with Plotly."""
    from optuna.visualization import plot_contour

    study, name = _cut(case)
    with drawing():
        figure = plot_contour(study, params=_pair(case), target_name=name)
    figure.update_traces(
        marker={"size": math.sqrt(marker_size(len(case.complete))), "line": {"width": 0.5}},
        selector={"type": "scatter"},
    )
    for parameter, update in zip(
        _sorted_pair(case), (figure.update_xaxes, figure.update_yaxes), strict=True
    ):
        # Axes of choices have no numbers to be marked.
        if case.is_numeric(parameter):
            update(marked(case, parameter))
    return style(figure, CONTOUR_TITLE, height=560)


def draw_rank(case: FigureCase) -> Figure:
    """Draw the trials' ranks over each two of the three most important parameters.

    Optuna's own figure has each pair twice and each parameter over itself, and no pruned trials.
    """
    pairs = _pairs(case)
    with drawing():
        figure = new_figure(3.9 * len(pairs) + 1.3, 4.2)
        grid = figure.subplots(1, len(pairs), squeeze=False)[0]
        points: Any = None
        for axes, (x, y) in zip(grid, pairs, strict=True):
            points = _draw_ranks(axes, case, x, y)
        figure.suptitle(f"{RANK_TITLE}: {case.name}", x=0.01, ha="left", fontsize=12)
        bar = figure.colorbar(points, ax=grid, label=f"rank by {case.metric.name}", pad=0.01)
        bar.set_ticks(RANKS["tickvals"], labels=RANKS["ticktext"])
        bar.ax.invert_yaxis()
        if case.pruned:
            handles = [grid[0].collections[0]]
            figure.legend(handles, ["pruned"], loc="upper right", frameon=False)
    return figure


def show_rank(case: FigureCase) -> Interactive:
    """Draw the same with Plotly."""
    from plotly.subplots import make_subplots

    pairs = _pairs(case)
    figure = make_subplots(rows=1, cols=len(pairs), horizontal_spacing=0.09)
    for column, (x, y) in enumerate(pairs, start=1):
        for trace in _rank_traces(case, x, y, is_first=column == 1):
            figure.add_trace(trace, row=1, col=column)
        figure.update_xaxes(marked(case, x, 4), title_text=case.labels[x], row=1, col=column)
        figure.update_yaxes(
            marked(case, y), title_text=case.labels[y], title_standoff=2, row=1, col=column
        )
    return style(figure, RANK_TITLE, height=420)


def _pairs(case: FigureCase) -> list[tuple[str, str]]:
    return list(combinations(case.common[:MOST_RANKED], 2))


def _pair(case: FigureCase) -> list[str]:
    return [case.labels[name] for name in case.common[:2]]


def _sorted_pair(case: FigureCase) -> list[str]:
    """Return the two that a contour is over as Optuna sorts them, that on the x axis first."""
    return sorted(case.common[:2], key=lambda name: case.labels[name])


def _n_together(case: FigureCase, names: tuple[str, ...]) -> int:
    return len(_having(case.complete, *names))


def _having(trials: Any, *names: str) -> list[FrozenTrial]:
    return [trial for trial in trials if all(name in trial.params for name in names)]


def _cut(case: FigureCase) -> tuple[optuna.Study, str]:
    """Return the study without far worse values, and the name of its values."""
    edges = limits(case.values(case.complete), case.metric.sign)
    if edges is None:
        return case.study, case.metric.name
    low, high = edges
    if case.metric.sign > 0:
        return case.study_within(-math.inf, high), f"{case.metric.name}, cut off at {high:.3g}"
    return case.study_within(low, math.inf), f"{case.metric.name}, cut off at {low:.3g}"


def _ranks(case: FigureCase) -> dict[int, float]:
    """Return each completed trial's rank by number, 0 for the best and 1 for the worst."""
    losses = np.asarray(case.values(case.complete)) * case.metric.sign
    places = np.searchsorted(np.sort(losses), losses) / max(len(losses) - 1, 1)
    return {t.number: float(rank) for t, rank in zip(case.complete, places, strict=True)}


def _draw_ranks(axes: Axes, case: FigureCase, x: str, y: str) -> Any:
    size = marker_size(len(case.trials)) * 1.2
    pruned = _having(case.pruned, x, y)
    axes.scatter(
        positions(case, x, pruned), positions(case, y, pruned),
        s=size, marker="x", c=ORANGE, linewidths=0.8, alpha=faint(len(pruned)),
    )  # fmt: skip
    shown, ranks = _having(case.complete, x, y), _ranks(case)
    shown.sort(key=lambda trial: -ranks[trial.number])  # the best on top
    points = axes.scatter(
        positions(case, x, shown), positions(case, y, shown),
        c=[ranks[trial.number] for trial in shown], cmap=SCALE, vmin=0, vmax=1, s=size,
        linewidths=0,
    )  # fmt: skip
    tidy(axes)
    mark(axes, case, x, "x")
    mark(axes, case, y, "y")
    return points


def _rank_traces(case: FigureCase, x: str, y: str, *, is_first: bool) -> list[Any]:
    from plotly import graph_objects as plotly

    ranks = _ranks(case)
    traces = []
    for trials, name in ((case.pruned, "pruned"), (case.complete, "complete")):
        shown = _having(trials, x, y)
        shown.sort(key=lambda trial: -ranks.get(trial.number, 1))
        marker: dict[str, Any] = {"symbol": "x-thin", "line": {"width": 1, "color": ORANGE}}
        if name == "complete":
            marker = {"color": [ranks[t.number] for t in shown], "colorscale": SCALE}
            marker |= {"cmin": 0, "cmax": 1, "showscale": is_first}
            marker |= {"colorbar": {"title": "rank", "thickness": 14, **RANKS}}
        traces.append(
            plotly.Scatter(
                x=positions(case, x, shown),
                y=positions(case, y, shown),
                customdata=[[trial.number, case.value(trial)] for trial in shown],
                hovertemplate="trial %{customdata[0]}: %{customdata[1]:.5g}<extra></extra>",
                mode="markers",
                name=name,
                legendgroup=name,
                showlegend=is_first,
                opacity=max(faint(len(shown)), 0.5),
                marker=marker,
            )
        )
    return traces
