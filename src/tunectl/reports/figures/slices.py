"""The values by each parameter, a panel for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from tunectl.reports.figures.axes import mark, marked, positions
from tunectl.reports.figures.case import FigureCase
from tunectl.reports.figures.look import (
    ORANGE,
    SCALE,
    count_from,
    drawing,
    faint,
    is_wide,
    limits,
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

TITLE = "Values by parameter"
MOST_PANELS, COLUMNS = 12, 4


def lack_of_slice(case: FigureCase) -> str | None:
    """Say what is missing for showing values by parameter."""
    if not case.complete:
        return "no trial is complete with a finite value yet"
    if not case.varied:
        return "no parameter has more than one value"
    return None


def draw_slice(case: FigureCase) -> Figure:
    """Draw the values over each parameter, the most important first, with Matplotlib.

    Optuna's own figure has all parameters in one row, alphabetically, and no pruned trials.
    """
    shown = case.ranked[:MOST_PANELS]
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    with drawing():
        width, height = (2.9 * columns, 2.6 * rows) if columns > 1 else (6.0, 3.8)
        figure = new_figure(width + 1.2, height + 0.6)
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        points: Any = None
        for axes, parameter in zip(grid.flat, shown, strict=False):
            points = _draw_panel(axes, case, parameter)
        for spare in grid.flat[len(shown) :]:
            spare.set_axis_off()
        for row in grid:
            row[0].set_ylabel(case.metric.name)
        _scale(grid[0][0], case)
        figure.suptitle(_title(case), x=0.01, ha="left", fontsize=12)
        bar = figure.colorbar(points, ax=grid, label="trial (complete)", aspect=40, pad=0.01)
        count_from(bar.ax.yaxis)
        if case.pruned:
            handles = [figure.axes[0].collections[-1]]
            figure.legend(handles, ["pruned, last value"], loc="upper right", frameon=False)
    return figure


def show_slice(case: FigureCase) -> Interactive:
    """Draw the same with Plotly."""
    from plotly.subplots import make_subplots

    shown = case.ranked[:MOST_PANELS]
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    titles = [case.labels[name] for name in shown]
    gap = 0.3 / rows if rows > 1 else 0
    figure = make_subplots(
        rows=rows, cols=columns, shared_yaxes="all", subplot_titles=titles, vertical_spacing=gap
    )
    for index, parameter in enumerate(shown):
        place = {"row": index // columns + 1, "col": index % columns + 1}
        for trace in _traces(case, parameter, is_first=index == 0):
            figure.add_trace(trace, **place)
        figure.update_xaxes(marked(case, parameter, 3), **place)
    style(figure, _title(case), height=130 + 240 * rows)
    figure.update_annotations(font_size=11)
    figure.update_yaxes(title_text=case.metric.name, col=1)
    values = _all_values(case)
    if is_wide(values):
        figure.update_yaxes(log_axis(values))
    elif (edges := limits(values, case.metric.sign)) is not None:
        figure.update_yaxes(range=list(edges))
    return figure


def _draw_panel(axes: Axes, case: FigureCase, parameter: str) -> Any:
    """Draw one panel; return the completed trials' points, for the colour bar."""
    size = marker_size(len(case.trials)) * 0.8
    points = None
    for trials, is_pruned in ((case.complete, False), (case.pruned, True)):
        having = [trial for trial in trials if parameter in trial.params]
        x, y = positions(case, parameter, having), case.values(having)
        if is_pruned:
            axes.scatter(
                x, y, s=size, marker="x", c=ORANGE, linewidths=1, alpha=faint(len(x)), zorder=2
            )
        else:
            numbers = [trial.number for trial in having]
            points = axes.scatter(
                x, y, s=size, c=numbers, cmap=SCALE, linewidths=0, zorder=3,
                vmin=0, vmax=max(len(case.trials) - 1, 1),
            )  # fmt: skip
    tidy(axes)
    mark(axes, case, parameter, "x")
    return points


def _title(case: FigureCase) -> str:
    count = len(case.ranked)
    which = f", the {MOST_PANELS} most important of {count}" if count > MOST_PANELS else ""
    return f"{TITLE}{which}: {case.name}"


def _all_values(case: FigureCase) -> list[float]:
    return case.values([*case.complete, *case.pruned])


def _scale(axes: Axes, case: FigureCase) -> None:
    values = _all_values(case)
    if is_wide(values):
        take_log(axes, y=True)
    elif (edges := limits(values, case.metric.sign)) is not None:
        axes.set_ylim(edges)


def _traces(case: FigureCase, parameter: str, *, is_first: bool) -> list[Any]:
    from plotly import graph_objects as plotly

    traces = []
    for trials, name in ((case.complete, "complete"), (case.pruned, "pruned, last value")):
        having = [trial for trial in trials if parameter in trial.params]
        numbers = [trial.number for trial in having]
        marker: dict[str, Any] = {"symbol": "x-thin", "line": {"width": 1.2, "color": ORANGE}}
        if name == "complete":
            marker = {"color": numbers, "cmin": 0, "cmax": max(len(case.trials) - 1, 1)}
            marker |= {"colorscale": SCALE, "showscale": is_first}
            marker |= {"colorbar": {"title": "trial", "thickness": 14}}
        traces.append(
            plotly.Scatter(
                x=positions(case, parameter, having),
                y=case.values(having),
                customdata=[
                    [n, case.text(t.params[parameter])]
                    for n, t in zip(numbers, having, strict=True)
                ],
                hovertemplate="trial %{customdata[0]}: %{customdata[1]}, %{y:.5g}<extra></extra>",
                mode="markers",
                name=name,
                legendgroup=name,
                showlegend=is_first,
                opacity=faint(len(having)),
                marker=marker,
            )
        )
    return traces
