"""Figures as files: which there are for a study, what they are called, and writing them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunectl.artifacts import atomic
from tunectl.errors import OutputError
from tunectl.reports.figures.case import FigureCase
from tunectl.reports.figures.kinds import KINDS, Kind
from tunectl.reports.figures.look import drawing
from tunectl.reports.figures.names import Format, KindName

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
</head>
<body>
{body}
</body>
</html>
"""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One figure that there is to draw.

    Args:
        kind: What kind.
        case: What it is drawn from, with the metric that it shows.
        stem: Its path without an ending, relative to the folder of figures.
    """

    kind: Kind
    case: FigureCase
    stem: str


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A figure that was not drawn.

    Args:
        name: What kind.
        reason: Why not, in words.
    """

    name: KindName
    reason: str


@dataclass(frozen=True, kw_only=True)
class WrittenFigure:
    """A file that was written.

    Args:
        name: What kind of figure.
        format: What kind of file.
        path: Where it is.
        metric: The metric shown, None where the figure is not of one.
        trial: The trial shown, None where the figure is of the study.
    """

    name: KindName
    format: Format
    path: Path
    metric: str | None
    trial: int | None


def concerned(case: FigureCase) -> list[KindName]:
    """Return the kinds that a study of this sort can have, in their order.

    A single metric has no front, and a trial has either targets or classes to be shown.
    """
    others = {KindName.PARETO} if len(case.metrics) == 1 else set()
    if case.record is not None and case.record.confusion is not None:
        others |= {KindName.PREDICTED, KindName.RESIDUALS}
    else:
        others.add(KindName.CONFUSION)
    return [name for name in KindName if name not in others]


def drawings_of(
    case: FigureCase, names: Sequence[KindName] = tuple(KindName)
) -> Iterator[Drawing | Missing]:
    """Yield what there is to draw, in the order of the kinds.

    Args:
        case: The study.
        names: The kinds wanted.
    """
    several = len(case.metrics) > 1
    for kind in KINDS:
        if kind.name not in names:
            continue
        for focus in range(len(case.metrics) if kind.scope == "metric" else 1):
            shown = case.on(focus)
            if (reason := kind.lack(shown)) is not None:
                of = f" ({shown.metric.name})" if several and kind.scope == "metric" else ""
                yield Missing(name=kind.name, reason=f"{reason}{of}")
                continue
            yield Drawing(kind=kind, case=shown, stem=_stem(kind, shown))


def write_drawing(drawing: Drawing, folder: Path, formats: Sequence[Format]) -> list[WrittenFigure]:
    """Write a figure in each of several formats; a file of that name is replaced.

    Args:
        drawing: The figure.
        folder: Where figures go; made if missing.
        formats: What kinds of file.

    Raises:
        OutputError: a file or the folder cannot be written.
    """
    kind, case = drawing.kind, drawing.case
    static = kind.static(case) if set(formats) - {Format.HTML} else None
    written = []
    for wanted in formats:
        path = folder / f"{drawing.stem}.{wanted}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if wanted is Format.HTML:
                atomic.write_text(
                    path, to_page(kind.interactive(case), f"{kind.title}: {case.name}")
                )
            else:
                _save(static, path, wanted)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        written.append(
            WrittenFigure(
                name=kind.name,
                format=wanted,
                path=path,
                metric=case.metric.name if kind.scope == "metric" else None,
                trial=case.record.number if kind.scope == "trial" and case.record else None,
            )
        )
    return written


def to_page(figure: Any, title: str) -> str:
    """Return a page of one figure that needs nothing from the network.

    Args:
        figure: A figure of Plotly.
        title: The page's title.
    """
    config = {"displaylogo": False, "responsive": True}
    body = figure.to_html(
        full_html=False,
        include_plotlyjs=True,
        include_mathjax=False,
        config=config,
        div_id="figure",
    )
    return PAGE.format(title=html.escape(title), body=body)


def _stem(kind: Kind, case: FigureCase) -> str:
    if kind.scope == "trial":
        assert case.record is not None
        return f"trial-{case.record.number}/{kind.name}"
    if kind.scope == "metric" and len(case.metrics) > 1:
        safe = re.sub(r"[^A-Za-z0-9_-]+", "_", case.metric.name).strip("_-")[:40]
        return f"{kind.name}-{case.focus}-{safe}" if safe else f"{kind.name}-{case.focus}"
    return str(kind.name)


def _save(figure: Any, path: Path, wanted: Format) -> None:
    # Without the time of writing, so that the same study gives the same bytes.
    undated = {Format.SVG: {"Date": None}, Format.PDF: {"CreationDate": None}, Format.PNG: None}
    with drawing(), atomic.replacing(path) as beside:
        figure.savefig(beside, format=wanted.value, metadata=undated[wanted])
