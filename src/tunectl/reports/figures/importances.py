"""Which parameters the values depended on most."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tunectl.reports.figures.case import FigureCase
from tunectl.reports.figures.look import BLUE, drawing, new_figure, style, tidy
from tunectl.reports.figures.names import Importance
from tunectl.reports.importances import left_out_text

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as Interactive

TITLE = "Importance of the parameters"
WORDS = {Importance.PED_ANOVA: "PED-ANOVA", Importance.FANOVA: "fANOVA"}
LONGEST_LABEL, MOST_BARS = 44, 30
NOTE_WIDTH = 84


def lack_of_importances(case: FigureCase) -> str | None:
    """Say what is missing for importances."""
    if len(case.complete) < 2:
        return "it takes at least two completed trials"
    if len(set(case.values(case.complete))) < 2:
        return "all completed trials have the same value"
    if not case.importances and case.left_out:
        return "no parameter of more than one value is in most trials"
    if not case.importances:
        return "no parameter has more than one value"
    return None


def draw_importances(case: FigureCase) -> Figure:
    """Draw each parameter's share as a bar, with Matplotlib; the shares are Optuna's."""
    names, shares = _bars(case)
    with drawing():
        note = _note(case, "\n")
        figure = new_figure(8.5, 1.4 + 0.27 * len(names) + 0.17 * len(note.splitlines()))
        axes = figure.subplots()
        bars = axes.barh(range(len(names)), shares, height=0.72, color=BLUE)
        axes.bar_label(bars, [_percent(share) for share in shares], padding=4, fontsize=9)
        labels = [_label(case, name) for name in names]
        axes.set_yticks(range(len(names)), labels)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(0, max(*shares, 0.01) * 1.12)
        axes.set_title(f"{TITLE} for {case.metric.name}: {case.name}", loc="left")
        axes.set_xlabel("\n".join(filter(None, [_axis_label(case), note])))
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        tidy(axes)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    return figure


def show_importances(case: FigureCase) -> Interactive:
    """Draw the same with Plotly."""
    from plotly import graph_objects as plotly

    names, shares = _bars(case)
    figure = plotly.Figure(
        plotly.Bar(
            x=shares,
            y=[_label(case, name) for name in names],
            text=[_percent(share) for share in shares],
            customdata=names,
            hovertemplate="%{customdata}: %{text}<extra></extra>",
            orientation="h",
            textposition="outside",
            cliponaxis=False,
            marker={"color": BLUE},
        )
    )
    title = f"{TITLE} for {case.metric.name}"
    note = _note(case, "<br>")
    below = "<br>".join(filter(None, [_axis_label(case), note]))
    height = 160 + 22 * len(names) + 20 * (note.count("<br>") + bool(note))
    style(figure, title, height=height, xaxis_title=below)
    figure.update_yaxes(autorange="reversed", automargin=True, tickmode="linear")
    figure.update_xaxes(tickformat=".0%")
    return figure


def _bars(case: FigureCase) -> tuple[list[str], list[float]]:
    """Return names and shares; of many parameters the least important together."""
    names, shares = list(case.importances), list(case.importances.values())
    if len(names) <= MOST_BARS:
        return names, shares
    rest = len(names) - MOST_BARS
    return [*names[:MOST_BARS], f"the other {rest}"], [*shares[:MOST_BARS], sum(shares[MOST_BARS:])]


def _label(case: FigureCase, name: str) -> str:
    """Return a name as it is if there is room for it."""
    return name if len(name) <= LONGEST_LABEL else case.labels[name]


def _axis_label(case: FigureCase) -> str:
    rough = "; rough, with so few" if case.is_rough else ""
    how = f"{WORDS[case.importance]}, {len(case.complete)} trials{rough}"
    return f"share of the importance ({how})"


def _note(case: FigureCase, newline: str) -> str:
    """Return which parameters are not ranked, on as many lines as it takes."""
    text = left_out_text([case.labels[name] for name in case.left_out])
    return newline.join(textwrap.wrap(text, NOTE_WIDTH))


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 or share == 0 else f"{share:.1%}"
