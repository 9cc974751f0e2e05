"""A look at summary files and links: are they what they would be if they were written now?"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tunectl.artifacts import atomic
from tunectl.artifacts.study_dir import ProjectTree
from tunectl.reports.findings import Finding, Severity, shown_path
from tunectl.reports.projections import (
    Place,
    best_directory,
    best_document,
    place_of,
    place_of_last,
)
from tunectl.reports.summary import StudySummary

WRITE = "write it from the database"
LINK = "make the link anew"
UNLINK = "remove the link, and nothing that it leads to"


@dataclass(frozen=True, kw_only=True)
class ProjectionCase:
    """A study whose projections are looked at.

    Args:
        summary: The study as it is stored.
        tree: Where things stand.
        is_last: Whether it is the study last tuned.
        is_settled: Whether nothing of it is running or waiting, so that they are up to date.
    """

    summary: StudySummary
    tree: ProjectTree
    is_last: bool
    is_settled: bool

    def finding(
        self, code: str, severity: Severity, message: str, path: Path, fix: str | None
    ) -> Finding:
        """Return a finding about one of the study's projections."""
        return Finding(
            code=code,
            severity=severity,
            message=message,
            study=self.summary.name,
            path=shown_path(path, self.tree.project),
            fix=fix,
        )


def inspect_projections(case: ProjectionCase) -> Iterator[Finding]:
    """Yield what is wrong with the summary files and links of a study."""
    for place in places_of(case):
        if leads_away(place, case.tree):
            what = f"a link leads away to {place.folder.resolve()}, so it is left alone"
            yield case.finding("folder-leads-away", Severity.ERROR, what, place.folder, None)
            continue
        if not any(file.is_file() for file in place.summaries):
            if case.summary.trials:
                what = "there is no summary; the next tunectl tune writes it"
                file = place.summaries[0]
                yield case.finding("summary-missing", Severity.NOTICE, what, file, WRITE)
            continue
        yield from _file_findings(case, place)
        yield from _link_findings(case, place)


def places_of(case: ProjectionCase) -> list[Place]:
    """Return where the projections of a study stand."""
    places = [place_of(case.tree, case.summary.name)]
    return [*places, place_of_last(case.tree)] if case.is_last else places


def leads_away(place: Place, tree: ProjectTree) -> bool:
    """Whether what is written in a place would end up outside of the project's own folders."""
    return not place.folder.resolve().is_relative_to(tree.optuna_dir.resolve())


def _file_findings(case: ProjectionCase, place: Place) -> Iterator[Finding]:
    wanted = json.loads(atomic.to_json(case.summary.to_file_document()))
    for file in place.summaries:
        yield from _compare(case, file, wanted, json.loads)
    document = best_document(case.summary)
    if document is not None:
        plain = yaml.safe_load(atomic.to_yaml(document))
        yield from _compare(case, place.best_info, plain, yaml.safe_load)
    elif place.best_info.is_file():
        yield _stale(case, place.best_info)


def _compare(
    case: ProjectionCase, file: Path, wanted: Any, parse: Callable[[str], Any]
) -> Iterator[Finding]:
    if not file.is_file():
        severity = Severity.WARNING if case.is_settled else Severity.NOTICE
        yield case.finding("summary-missing", severity, "it is not there", file, WRITE)
        return
    try:
        written = parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        yield case.finding("summary-unreadable", Severity.WARNING, "cannot be read", file, WRITE)
        return
    if written != wanted:
        yield _stale(case, file)


def _stale(case: ProjectionCase, file: Path) -> Finding:
    severity = Severity.WARNING if case.is_settled else Severity.NOTICE
    what = "it is out of date" if case.is_settled else "it is behind; the study's next trial is due"
    return case.finding("summary-stale", severity, what, file, WRITE)


def _link_findings(case: ProjectionCase, place: Place) -> Iterator[Finding]:
    link, wanted = place.best_link, best_directory(case.summary, case.tree)
    if link.exists() and not link.is_symlink():
        kind = "folder" if link.is_dir() else "file"
        what = f"a {kind} stands where the link to the best trial belongs; move it away yourself"
        yield case.finding("link-replaced", Severity.WARNING, what, link, None)
    elif not link.is_symlink():
        if wanted is not None:
            what = "the link to the best trial is not there"
            yield case.finding("link-missing", Severity.WARNING, what, link, LINK)
    elif wanted is None or _target(link) != wanted.resolve():
        yield _wrong_link(case, link, wanted)


def _wrong_link(case: ProjectionCase, link: Path, wanted: Path | None) -> Finding:
    target, fix = _target(link), LINK if wanted is not None else UNLINK
    roots = (case.tree.project.resolve(), case.tree.outputs_root.resolve())
    if not any(target.is_relative_to(root) for root in roots):
        what = f"it leads out of the project, to {target}"
        return case.finding("link-outside", Severity.WARNING, what, link, fix)
    severity = Severity.WARNING if case.is_settled else Severity.NOTICE
    shown = shown_path(target, case.tree.project.resolve())
    if not target.exists():
        what = f"it leads to {shown}, which is not there"
        return case.finding("link-dangling", Severity.WARNING, what, link, fix)
    what = f"it leads to {shown}, which is not the best trial's directory"
    return case.finding("link-elsewhere", severity, what, link, fix)


def _target(link: Path) -> Path:
    return Path(os.path.realpath(link))  # unlike `resolve` it bears links in a circle
