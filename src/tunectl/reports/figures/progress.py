"""What trials reported while they ran, epoch by epoch.

Optuna's own figure has a colour for each trial, none for pruned ones, and in a browser a drawing of
its own for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from optuna.trial import FrozenTrial, TrialState

from tunectl.reports.figures.case import FigureCase
from tunectl.reports.figures.look import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    count_from,
    drawing,
    faint,
    is_wide,
    limits,
    log_axis,
    new_figure,
    style,
    take_log,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure as Interactive

TITLE = "Intermediate values"
MOST_CURVES = 300
STEP = "step (epoch)"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What one trial reported.

    Args:
        number: The trial's number.
        steps: The steps at which it reported a finite value.
        values: What it reported.
    """

    number: int
    steps: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Group:
    """The curves of all trials of one state.

    Args:
        name: What they are.
        colour: Their colour.
        curves: The curves.
    """

    name: str
    colour: str
    curves: Sequence[Curve]

    @property
    def is_best(self) -> bool:
        """Whether it is the best trial's curve alone."""
        return self.name.startswith("best")


def lack_of_progress(case: FigureCase) -> str | None:
    """Say what is missing for intermediate values."""
    if any(len(curve.steps) > 1 for group in curves_by_state(case) for curve in group.curves):
        return None
    return "no trial has reported a value at two steps or more"


def draw_progress(case: FigureCase) -> Figure:
    """Draw the curves with Matplotlib: complete, pruned and the best one."""
    groups = curves_by_state(case)
    count = sum(len(group.curves) for group in groups)
    with drawing():
        figure = new_figure(9, 4.8)
        axes = figure.subplots()
        handles = []
        for group in groups:
            see_through = 1 if group.is_best else faint(count)
            lines = [list(zip(one.steps, one.values, strict=True)) for one in group.curves]
            width = 2 if group.is_best else 1
            axes.add_collection(
                LineCollection(lines, colors=group.colour, linewidths=width, alpha=see_through)
            )
            steps = [one.steps[-1] for one in group.curves]
            values = [one.values[-1] for one in group.curves]
            marker = "x" if group.name == "pruned" else "."
            ends = axes.scatter(steps, values, s=18, c=group.colour, marker=marker, linewidths=1)
            ends.set_alpha(see_through)
            handles.append(Line2D([], [], color=group.colour, marker=marker, label=group.name))
        axes.autoscale_view()
        axes.set_title(_title(case, count), loc="left")
        axes.set_xlabel(STEP)
        axes.set_ylabel(case.metric.label)
        tidy(axes)
        count_from(axes.xaxis)
        _scale(axes, _values(groups), case.metric.sign)
        figure.legend(handles=handles, loc="outside lower right", ncols=5, frameon=False)
    return figure


def show_progress(case: FigureCase) -> Interactive:
    """Draw the same with Plotly, all curves of a state as one line with gaps."""
    from plotly import graph_objects as plotly

    groups = curves_by_state(case)
    count = sum(len(group.curves) for group in groups)
    figure = plotly.Figure()
    for group in groups:
        steps: list[int | None] = []
        values: list[float | None] = []
        numbers: list[int | None] = []
        for one in group.curves:
            steps += [*one.steps, None]
            values += [*(float(f"{value:.6g}") for value in one.values), None]
            numbers += [one.number] * len(one.steps) + [None]
        figure.add_trace(
            plotly.Scatter(
                x=steps,
                y=values,
                customdata=numbers,
                hovertemplate="trial %{customdata}, step %{x}: %{y:.5g}<extra></extra>",
                mode="lines",
                name=group.name,
                line={"color": group.colour, "width": 2.5 if group.is_best else 1},
                opacity=1 if group.is_best else max(faint(count), 0.35),
            )
        )
    style(figure, _title(case, count), xaxis_title=STEP, yaxis_title=case.metric.label)
    figure.update_layout(showlegend=True)
    values_shown = _values(groups)
    if is_wide(values_shown):
        figure.update_yaxes(log_axis(values_shown))
    elif (edges := limits(values_shown, case.metric.sign)) is not None:
        figure.update_yaxes(range=list(edges))
    return figure


def _scale(axes: Axes, values: Sequence[float], sign: float) -> None:
    if is_wide(values):
        take_log(axes, y=True)
    elif (edges := limits(values, sign)) is not None:
        axes.set_ylim(edges)
        axes.set_ylabel(f"{axes.get_ylabel()}\n(far worse values not shown)")


def curves_by_state(case: FigureCase, *, most: int = MOST_CURVES) -> list[Group]:
    """Return the curves by state, those that hide the others last, and only states that occur.

    Args:
        case: The study.
        most: How many curves at most, evenly spread over the study, with the best one.
    """
    reported = [one for one in case.trials if one.intermediate_values]
    shown = _thinned(reported, case.best, most)
    states = (
        ("failed", GREY, TrialState.FAIL),
        ("pruned", ORANGE, TrialState.PRUNED),
        ("complete", BLUE, TrialState.COMPLETE),
        ("running", GREEN, TrialState.RUNNING),
    )
    groups = [
        Group(name=name, colour=colour, curves=_curves(shown, state, but=case.best))
        for name, colour, state in states
    ]
    best = [curve for t in shown if t.number == case.best for curve in _curve(t)]
    groups.append(Group(name=f"best: trial {case.best}", colour=BLACK, curves=best))
    return [group for group in groups if group.curves]


def _curves(trials: Sequence[FrozenTrial], state: TrialState, *, but: int | None) -> list[Curve]:
    chosen = (trial for trial in trials if trial.state is state and trial.number != but)
    return [curve for trial in chosen for curve in _curve(trial)]


def _curve(trial: FrozenTrial) -> list[Curve]:
    pairs = [(s, v) for s, v in sorted(trial.intermediate_values.items()) if np.isfinite(v)]
    if not pairs:
        return []
    steps, values = zip(*pairs, strict=True)
    return [Curve(number=trial.number, steps=steps, values=values)]


def _thinned(trials: Sequence[FrozenTrial], best: int | None, most: int) -> list[FrozenTrial]:
    """Return at most so many trials, evenly spread over the study, with the best one."""
    if len(trials) <= most:
        return list(trials)
    places = np.unique(np.linspace(0, len(trials) - 1, most - 1).round().astype(int))
    kept = {int(place) for place in places}
    return [t for i, t in enumerate(trials) if i in kept or t.number == best]


def _values(groups: Sequence[Group]) -> list[float]:
    return [value for group in groups for curve in group.curves for value in curve.values]


def _title(case: FigureCase, shown: int) -> str:
    count = sum(bool(trial.intermediate_values) for trial in case.trials)
    which = f", {shown} of {count} trials" if shown < count else ""
    return f"{TITLE}{which}: {case.name}"
