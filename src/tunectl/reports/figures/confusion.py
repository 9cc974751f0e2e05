"""One trial that tells classes apart: which of them it takes for which, on the test split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tunectl.objectives import figures
from tunectl.reports.figures.case import FigureCase
from tunectl.reports.figures.look import drawing, style
from tunectl.reports.figures.of_trial import NO_TRIAL, title_of
from tunectl.reports.figures.record import Counts

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as Interactive

TITLE = "Confusion matrix"


def lack_of_confusion(case: FigureCase) -> str | None:
    """Say what is missing for a confusion matrix."""
    if case.record is None:
        return NO_TRIAL
    if not case.record.has_directory:
        return f"the directory of trial {case.record.number} is gone"
    if case.record.confusion is None:
        return (
            f"trial {case.record.number} has left none, as every complete trial does that tells "
            "classes apart"
        )
    return None


def draw_confusion(case: FigureCase) -> Figure:
    """Draw how often each class was taken for each, with Matplotlib."""
    matrix, names = _matrix(case)
    with drawing():
        return figures.confusion_matrix(matrix, names, title=title_of(case, TITLE))


def show_confusion(case: FigureCase) -> Interactive:
    """Draw the same with Plotly."""
    from plotly import graph_objects as plotly

    matrix, names = _matrix(case)
    is_numbered = len(names) <= figures.MOST_NUMBERED
    # By place and not by name, which two classes may share once it is cut.
    places = list(range(len(names)))
    labels = [figures.shortened(name) for name in names]
    figure = plotly.Figure(
        plotly.Heatmap(
            x=places,
            y=places,
            z=figures.shares_of(matrix).round(4).tolist(),
            zmin=0,
            zmax=1,
            colorscale="Blues",
            showscale=False,
            text=[[str(count) if count else "" for count in row] for row in matrix.tolist()],
            texttemplate="%{text}" if is_numbered else None,
            customdata=[
                [[count, true, taken] for taken, count in zip(labels, row, strict=True)]
                for true, row in zip(labels, matrix.tolist(), strict=True)
            ],
            hovertemplate="%{customdata[0]} of %{customdata[1]} taken for %{customdata[2]} "
            "(%{z:.1%})<extra></extra>",
        )
    )
    axis = {"tickvals": places, "ticktext": labels, "showgrid": False}
    hits = figures.hits_of(matrix)
    style(figure, title_of(case, TITLE), height=min(900, 220 + 32 * len(names)))
    figure.update_xaxes(title_text=f"predicted ({hits})", **axis)
    figure.update_yaxes(title_text="true", autorange="reversed", **axis)
    return figure


def _matrix(case: FigureCase) -> tuple[Counts, list[str]]:
    assert case.record is not None
    assert case.record.confusion is not None
    return case.record.confusion, list(case.record.classes)
