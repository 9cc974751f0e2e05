"""The figures of the report: interactive ones, drawn by the browser."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

if TYPE_CHECKING:
    from tunectl.reports.figures.files import Drawing

TOP_MARGIN = 30


@dataclass(frozen=True, kw_only=True)
class PageFigure:
    """A figure of the page.

    Args:
        identity: What it is called in the page.
        title: What it shows.
        reading: How it is read.
        figure: Data and layout as Plotly's library takes them.
    """

    identity: str
    title: str
    reading: str
    figure: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PageFigures:
    """All figures of the page.

    Args:
        study: Those of the study.
        trial: Those of its best trial.
        lacks: The names of those that could not be drawn, each with what is missing.
    """

    study: Sequence[PageFigure]
    trial: Sequence[PageFigure]
    lacks: Sequence[tuple[str, str]]

    @property
    def all(self) -> Sequence[PageFigure]:
        """Every figure, in the order of the page."""
        return [*self.trial, *self.study]


def draw_all(study: optuna.Study, project: Path) -> PageFigures:
    """Draw what there is enough for.

    Args:
        study: The study.
        project: Absolute path of the project folder.
    """
    from tunectl.reports.figures.case import open_case
    from tunectl.reports.figures.files import Missing, concerned, drawings_of

    case = open_case(study, project)
    drawn: dict[bool, list[PageFigure]] = {True: [], False: []}
    lacks: list[tuple[str, str]] = []
    for one in drawings_of(case, concerned(case)):
        if isinstance(one, Missing):
            lacks.append((one.name, one.reason))
        else:
            drawn[one.kind.scope == "trial"].append(_figure_of(one))
    return PageFigures(study=drawn[False], trial=drawn[True], lacks=lacks)


def _figure_of(drawing: Drawing) -> PageFigure:
    kind, case = drawing.kind, drawing.case
    figure = json.loads(kind.interactive(case).to_json())
    layout = figure.get("layout", {})
    layout.pop("title", None)  # the page has it as a heading, which a narrow screen can break
    margin = layout.get("margin", {})
    layout["margin"] = {**margin, "t": min(margin.get("t", TOP_MARGIN), TOP_MARGIN)}
    is_one_of_several = kind.scope == "metric" and len(case.metrics) > 1
    return PageFigure(
        identity=f"figure-{kind.name}" + (f"-{case.focus}" if is_one_of_several else ""),
        title=f"{kind.title}: {case.metric.name}" if is_one_of_several else kind.title,
        reading=kind.reading,
        figure=figure,
    )
