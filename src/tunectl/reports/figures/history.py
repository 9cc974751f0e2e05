"""How a study got better: the values by trial, and the distribution of values over studies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tunectl.reports.figures.case import FigureCase
from tunectl.reports.figures.look import (
    BLACK,
    BLUE,
    ORANGE,
    STUDY_COLOURS,
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
    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure as Interactive

TITLE = "Optimisation history"
EDF_TITLE = "Distribution of values"


def lack_of_history(case: FigureCase) -> str | None:
    """Say what is missing for a history."""
    if case.complete or case.pruned:
        return None
    return "no trial has a finite value yet"


def draw_history(case: FigureCase) -> Figure:
    """Draw each trial's value and the best one so far, with Matplotlib.

    Optuna's own figure leaves out the pruned trials.
    """
    with drawing():
        figure = new_figure(9, 4.8)
        axes = figure.subplots()
        count = len(case.trials)
        size, see_through = marker_size(count), 0.5 + 0.5 * faint(count)
        numbers, values = _points(case, case.complete)
        axes.scatter(numbers, values, s=size, c=BLUE, linewidths=0, label="complete", zorder=3)
        numbers, values = _points(case, case.pruned)
        if numbers:
            crosses = axes.scatter(numbers, values, s=size, marker="x", c=ORANGE, linewidths=1.1)
            crosses.set(label="pruned, last value", alpha=see_through, zorder=2)
        numbers, values = best_so_far(case)
        axes.step(numbers, values, where="post", color=BLACK, linewidth=1.5, label="best so far")
        axes.set_title(f"{TITLE} of {case.name}", loc="left")
        axes.set_xlabel("trial")
        axes.set_ylabel(case.metric.label)
        tidy(axes)
        count_from(axes.xaxis)
        _scale(axes, case)
        figure.legend(loc="outside lower right", ncols=3, frameon=False)
    return figure


def show_history(case: FigureCase) -> Interactive:
    """Draw the same with Plotly."""
    from optuna.visualization import plot_optimization_history
    from plotly import graph_objects as plotly

    with drawing():
        figure = plot_optimization_history(case.study, target_name=case.metric.name)
    figure.update_traces(marker={"color": BLUE}, name="complete", selector={"mode": "markers"})
    figure.update_traces(
        line={"color": BLACK, "shape": "hv"}, name="best so far", selector={"mode": "lines"}
    )
    numbers, values = _points(case, case.pruned)
    if numbers:
        figure.add_trace(
            plotly.Scatter(
                x=numbers,
                y=values,
                mode="markers",
                name="pruned, last value",
                marker={"symbol": "x-thin", "line": {"width": 1.5, "color": ORANGE}},
            )
        )
    style(figure, TITLE, xaxis_title="trial", yaxis_title=case.metric.label)
    _scale_interactive(figure, case)
    return figure


def best_so_far(case: FigureCase) -> tuple[list[int], list[float]]:
    """Return trial numbers and the best value of the completed trials up to each, as steps."""
    numbers: list[int] = []
    values: list[float] = []
    sign = case.metric.sign
    for trial in case.complete:
        if any(excess > 0 for excess in trial.constraints.values()):
            continue
        value = case.value(trial)
        assert value is not None
        if not values or sign * value < sign * values[-1]:
            numbers.append(trial.number)
            values.append(value)
    if numbers and numbers[-1] < len(case.trials) - 1:
        numbers.append(len(case.trials) - 1)
        values.append(values[-1])
    return numbers, values


def lack_of_edf(case: FigureCase) -> str | None:
    """Say what is missing for a distribution of values."""
    if len(set(case.values(case.complete))) < 2:
        return "it takes completed trials of at least two different values"
    return None


def draw_edf(case: FigureCase) -> Figure:
    """Draw which share of the completed trials is as good as a value, with Matplotlib.

    Steps at each trial's value; Optuna's figure reads the share off at a hundred evenly spaced
    values, which shows nothing of the good ones where a few are far worse.
    """
    with drawing():
        figure = new_figure(8, 4.8)
        axes = figure.subplots()
        for one, colour in zip(_compared(case), STUDY_COLOURS, strict=False):
            values, shares = _shares(one)
            label = f"{one.name} ({len(one.complete)} trials)"
            axes.step(values, shares, where="post", linewidth=1.8, color=colour, label=label)
        axes.set_title(f"{EDF_TITLE}: {case.name}", loc="left")
        axes.set_xlabel(case.metric.label)
        axes.set_ylabel(_share_label(case))
        axes.set_ylim(0, 1.02)
        tidy(axes)
        if is_wide(_all_values(case)):
            take_log(axes, x=True)
        axes.legend(loc="lower right" if case.metric.sign > 0 else "upper right")
    return figure


def show_edf(case: FigureCase) -> Interactive:
    """Draw the same with Plotly."""
    from plotly import graph_objects as plotly

    figure = plotly.Figure()
    for one in _compared(case)[: len(STUDY_COLOURS)]:
        values, shares = _shares(one)
        name = f"{one.name} ({len(one.complete)} trials)"
        figure.add_trace(
            plotly.Scatter(x=values, y=shares, mode="lines", line={"shape": "hv"}, name=name)
        )
    style(figure, EDF_TITLE, xaxis_title=case.metric.label, yaxis_title=_share_label(case))
    figure.update_layout(showlegend=True)
    values = _all_values(case)
    if is_wide(values):
        figure.update_xaxes(log_axis(values))
    return figure


def _points(case: FigureCase, trials: Sequence[FrozenTrial]) -> tuple[list[int], list[float]]:
    return [trial.number for trial in trials], case.values(trials)


def _shown_values(case: FigureCase) -> list[float]:
    return case.values([*case.complete, *case.pruned])


def _scale(axes: Axes, case: FigureCase) -> None:
    """Let values that span much, or a few that are far worse, not hide the others."""
    values = _shown_values(case)
    if is_wide(values):
        take_log(axes, y=True)
    elif (edges := limits(values, case.metric.sign)) is not None:
        axes.set_ylim(edges)
        n_beyond = sum(not edges[0] <= value <= edges[1] for value in values)
        axes.set_ylabel(f"{case.metric.label}\n({n_beyond} far worse not shown)")


def _scale_interactive(figure: Interactive, case: FigureCase) -> None:
    values = _shown_values(case)
    if is_wide(values):
        figure.update_yaxes(log_axis(values))
    elif (edges := limits(values, case.metric.sign)) is not None:
        figure.update_yaxes(range=list(edges))


def _compared(case: FigureCase) -> list[FigureCase]:
    return [one for one in (case, *case.others) if one.complete]


def _all_values(case: FigureCase) -> list[float]:
    return [value for one in _compared(case) for value in one.values(one.complete)]


def _share_label(case: FigureCase) -> str:
    return f"share of trials {'below' if case.metric.sign > 0 else 'above'} that value"


def _shares(case: FigureCase) -> tuple[list[float], list[float]]:
    """Return the values in ascending order, each with the share of trials that are as good."""
    values = sorted(case.values(case.complete))
    count = len(values)
    if case.metric.sign > 0:
        return [values[0], *values], [rank / count for rank in range(count + 1)]
    return [*values, values[-1]], [1 - rank / count for rank in range(count + 1)]
