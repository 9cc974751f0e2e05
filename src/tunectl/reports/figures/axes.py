"""A parameter as an axis: where trials stand on it, and how it is marked."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from tunectl.reports.figures.case import FigureCase, shorten
from tunectl.reports.figures.look import count_from, log_axis, take_log, whole_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from optuna.trial import FrozenTrial

LONGEST_CHOICE, MOST_CHOICES = 14, 10
FEW_CHOICES = 5


def positions(case: FigureCase, parameter: str, trials: Sequence[FrozenTrial]) -> list[float]:
    """Return where trials stand on a parameter's axis; those of one choice are spread a little."""
    if case.is_numeric(parameter):
        return [float(trial.params[parameter]) for trial in trials]
    index = {choice: position for position, choice in enumerate(case.choices(parameter))}
    return [index[case.text(t.params[parameter])] + _spread(t.number) for t in trials]


def mark(axes: Axes, case: FigureCase, parameter: str, side: Literal["x", "y"]) -> None:
    """Give one of Matplotlib's axes a parameter's name, its scale and its choices."""
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_label_text(case.labels[parameter])
    if case.is_numeric(parameter):
        if case.is_log(parameter):
            take_log(axes, x=side == "x", y=side == "y")
        elif case.is_whole(parameter):
            count_from(axis)
        return
    choices = case.choices(parameter)
    stride = -(-len(choices) // MOST_CHOICES)
    places = range(0, len(choices), stride)
    axis.set_ticks(places, [shorten(choices[place], LONGEST_CHOICE) for place in places])
    if side == "x" and len(places) > FEW_CHOICES:
        axis.set_tick_params(rotation=30)
        for label in axis.get_ticklabels():
            label.set_horizontalalignment("right")
    set_limits = axes.set_xlim if side == "x" else axes.set_ylim
    set_limits(-0.5, len(choices) - 0.5)


def marked(case: FigureCase, parameter: str, most: int = 9) -> Mapping[str, Any]:
    """Return what gives one of Plotly's axes a parameter's scale and its choices.

    Args:
        case: The study.
        parameter: The parameter.
        most: How many numbers at most on a logarithmic axis or one of whole numbers.
    """
    if case.is_numeric(parameter):
        values = [trial.params[parameter] for trial in case.complete if parameter in trial.params]
        if case.is_log(parameter):
            return log_axis(values, most)
        if case.is_whole(parameter) and values:
            return {"tickvals": whole_ticks(min(values), max(values), most)}
        return {}
    choices = case.choices(parameter)
    return {
        "tickvals": list(range(len(choices))),
        "ticktext": [shorten(choice, LONGEST_CHOICE) for choice in choices],
    }


def _spread(number: int) -> float:
    """Return a shift that looks random and is the same each time."""
    return (zlib.crc32(str(number).encode()) % 1000 / 1000 - 0.5) * 0.5
