"""From a study to the one file: template, style, script and figures put together.

All that is the user's (names, values, errors) goes through the template's escaping, or into the
page as data that the script writes as text.
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import optuna

from tunectl.artifacts import atomic
from tunectl.config.passwords import hide_passwords
from tunectl.errors import OutputError, UsageError
from tunectl.reports.page.best import TARGET_METRICS
from tunectl.reports.page.drawings import PageFigures, draw_all
from tunectl.reports.page.facts import ReportFacts, gather
from tunectl.reports.page.trials import MOST_REASONS, table_of
from tunectl.reports.words import duration, number, value_text

MOST_IMPORTANCES = 6


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report that was written.

    Args:
        path: Absolute path of the file.
        n_lost: How many trials' directories could not be seen from here.
    """

    path: Path
    n_lost: int


def write_report(study: optuna.Study, storage: str, project: Path, target: Path) -> Report:
    """Write the report of a study.

    Args:
        study: The study.
        storage: Its database's URL as it may be shown.
        project: Absolute path of the project folder.
        target: The file; one that is there is replaced, its folder is made.

    Raises:
        UsageError: it is a folder.
        OutputError: the file cannot be written.
    """
    if target.is_dir():
        raise UsageError(f"{target} is a folder; name a file for the report")
    facts = gather(study, storage, project)
    text = page_of(facts, draw_all(study, project))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(target, text)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    return Report(path=target, n_lost=facts.n_lost)


def page_of(facts: ReportFacts, drawings: PageFigures) -> str:
    """Return the text of the page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tunectl.reports.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_without_passwords,
    )
    environment.filters |= {
        "number": number,
        "duration": duration,
        "value": value_text,
        "breakable": _breakable,
    }
    return environment.get_template("page.html").render(
        facts=facts,
        summary=facts.summary,
        best=facts.best,
        drawings=drawings,
        style=_own("page.css"),
        script=_own("page.js"),
        library=_library(),
        figures=_packed(_figures(drawings)),
        table=_packed(_json(table_of(facts.summary))),
        target_metrics=TARGET_METRICS,
        most_importances=MOST_IMPORTANCES,
        most_reasons=MOST_REASONS,
    )


def _without_passwords(value: Any) -> Any:
    # What is safe already is our own, and some of it is long.
    return hide_passwords(value) if type(value) is str else value


def _breakable(name: str) -> Any:
    """Return a dotted key that a narrow screen may break between its words."""
    from markupsafe import Markup, escape

    words = escape(name)
    for mark in "._":
        words = words.replace(mark, Markup(f"{mark}<wbr>"))
    return words


def _own(name: str) -> Any:
    """Return a file of ours, to stand in the page as it is."""
    from markupsafe import Markup

    return Markup((resources("tunectl.reports.page") / name).read_text(encoding="utf-8"))


@functools.cache
def _library() -> str:
    """Return Plotly's library, packed."""
    file = resources("plotly") / "package_data" / "plotly.min.js"
    return _packed(file.read_text(encoding="utf-8"))


def _figures(drawings: PageFigures) -> str:
    return _json([{"id": one.identity, **one.figure} for one in drawings.all])


def _json(document: Mapping[str, Any] | list[Any]) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _packed(text: str) -> str:
    """Return a text as the page's script unpacks it: gzip, in letters that HTML leaves alone."""
    # Without a time in it, so that the same study gives the same bytes.
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode("ascii")
