"""`plots`: figures of a study and of its trials, as files or in the terminal."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tunectl.cli.completion import (
    complete_formats,
    complete_kinds,
    complete_studies,
    complete_trial,
)
from tunectl.cli.options import (
    JsonOption,
    StorageOption,
    StudyOption,
    flag,
    option,
    trial_option,
)
from tunectl.cli.output import emit, print_json, stderr
from tunectl.cli.session import Store, find_trial, load_chosen, open_store, session_of
from tunectl.errors import NoCompletedTrialError, TunectlError, UsageError
from tunectl.reports.figures.names import Format, Importance, KindName

if TYPE_CHECKING:
    from tunectl.reports.figures.case import FigureCase
    from tunectl.reports.figures.files import Missing, WrittenFigure

_Name = TypeVar("_Name", bound=StrEnum)
OF_TRIAL = (
    KindName.LEARNING_CURVES,
    KindName.PREDICTED,
    KindName.RESIDUALS,
    KindName.CONFUSION,
)
IN_TERMINAL = (KindName.HISTORY, KindName.INTERMEDIATE, KindName.IMPORTANCES)


FolderOption = Annotated[
    Path | None,
    option(
        "--out",
        metavar="DIR",
        help="Where the files go.",
        show_default="plots in the study's folder",
    ),
]
FormatOption = Annotated[
    str | None,
    option(
        "--format",
        metavar="FORMAT,…",
        autocompletion=complete_formats,
        help="png, svg, pdf or html (interactive), or several.",
        show_default="png",
    ),
]
KindsOption = Annotated[
    str | None,
    option(
        "--only",
        metavar="KIND,…",
        autocompletion=complete_kinds,
        help="Only these kinds of figure, for example history,contour.",
    ),
]
OneTrialOption = Annotated[
    int | None,
    trial_option(
        complete_trial, "Only the figures of this trial, not those of the study and its best trial."
    ),
]
CompareOption = Annotated[
    str | None,
    option(
        "--compare",
        metavar="STUDY,…",
        autocompletion=complete_studies,
        help="Further studies for the distribution of values (edf).",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(plots)


def plots(
    context: typer.Context,
    study: StudyOption = None,
    storage: StorageOption = None,
    out: FolderOption = None,
    format: FormatOption = None,
    only: KindsOption = None,
    trial: OneTrialOption = None,
    compare: CompareOption = None,
    importance: Annotated[
        Importance, option("--importance", help="How importances are worked out.")
    ] = Importance.PED_ANOVA,
    terminal: Annotated[
        bool,
        flag("--terminal", help="Draw history, importances and intermediate values right here."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Draw figures of the study and of its best trial, and print the files' paths."""
    others = {"--out": out, "--format": format, "--trial": trial, "--compare": compare}
    _refuse_mixtures(terminal, others, json)
    formats = _chosen("--format", "png" if format is None else format, Format)
    names = _kinds(only, trial, terminal)
    store = open_store(session_of(context), storage)
    case = _open_case(store, study, compare, trial, importance)
    if only is None:
        names = _concerned(case, names)
    folder = store.project / out if out else store.tree.study(case.name).plots_dir
    drawn: Sequence[object]
    if terminal:
        drawn, missing = _draw_here(case, names)
    elif json:
        drawn, missing = _write_and_list(case, names, formats, folder)
    else:
        drawn, missing = _write(case, names, formats, folder, is_told=True)
    if not drawn:
        raise _nothing(case, missing)
    if not session_of(context).quiet:
        _note(missing)


def _refuse_mixtures(terminal: bool, others: Mapping[str, object], json: bool) -> None:
    given = [
        name for name, value in {**others, "--json": json or None}.items() if value is not None
    ]
    if terminal and given:
        raise UsageError(f"--terminal writes no file and has no use for {', '.join(given)}")


def _kinds(only: str | None, trial: int | None, terminal: bool) -> list[KindName]:
    """Return the kinds asked for, which `--trial` and `--terminal` can draw."""
    names = list(KindName) if only is None else _chosen("--only", only, KindName)
    if trial is not None:
        names = _among(names, OF_TRIAL, "--trial")
    return _among(names, IN_TERMINAL, "--terminal") if terminal else names


def _concerned(case: FigureCase, names: Sequence[KindName]) -> list[KindName]:
    """Return those of the kinds that such a study can have: others nobody misses."""
    from tunectl.reports.figures.files import concerned

    possible = concerned(case)
    return [name for name in names if name in possible]


def _among(names: Sequence[KindName], possible: Sequence[KindName], by: str) -> list[KindName]:
    found = [name for name in names if name in possible]
    if not found:
        raise UsageError(f"{by} draws only {', '.join(possible)}")
    return found


def _open_case(
    store: Store,
    study: str | None,
    compare: str | None,
    trial: int | None,
    importance: Importance,
) -> FigureCase:
    from tunectl.reports.figures.case import open_case
    from tunectl.studies.storage import storage_errors

    chosen = load_chosen(store, study)
    with storage_errors(store.url):
        if trial is not None:
            find_trial(chosen, trial)
        names = [name.strip() for name in compare.split(",")] if compare else []
        others = [load_chosen(store, name) for name in names if name != chosen.study_name]
        return open_case(
            chosen,
            store.project,
            others=others,
            importance=importance,
            trial=trial,
        )


def _chosen(name: str, text: str, valid: type[_Name]) -> list[_Name]:
    """Return what a list with commas names, each once.

    Raises:
        UsageError: it names something unknown, or nothing.
    """
    from tunectl.config.fields import nearest

    words = dict.fromkeys(word.strip().lower() for word in text.split(",") if word.strip())
    known = [str(one) for one in valid]
    for word in words:
        if word not in known:
            near = nearest(word, known)
            hint = f"did you mean {near}? " if near else ""
            raise UsageError(f"{name}: unknown name {word!r}; {hint}valid: {', '.join(known)}")
    if not words:
        raise UsageError(f"{name}: say at least one of {', '.join(known)}")
    return [valid(word) for word in words]


def _write(
    case: FigureCase,
    names: Sequence[KindName],
    formats: Sequence[Format],
    folder: Path,
    *,
    is_told: bool,
) -> tuple[list[WrittenFigure], list[Missing]]:
    """Write the figures; return what was and what was not drawn.

    Args:
        case: The study.
        names: The kinds wanted.
        formats: What kinds of file.
        folder: Where they go.
        is_told: Whether each file's path is printed as soon as it is there.
    """
    from tunectl.reports.figures.files import Missing, drawings_of, write_drawing

    written: list[WrittenFigure] = []
    missing: list[Missing] = []
    for one in drawings_of(case, names):
        if isinstance(one, Missing):
            missing.append(one)
            continue
        files = write_drawing(one, folder, formats)
        written += files
        if is_told:
            emit("".join(f"{file.path}\n" for file in files))
    return written, missing


def _write_and_list(
    case: FigureCase, names: Sequence[KindName], formats: Sequence[Format], folder: Path
) -> tuple[list[WrittenFigure], list[Missing]]:
    """Write the figures and print a document of them; see `_write`."""
    written, missing = _write(case, names, formats, folder, is_told=False)
    if written:
        print_json(_document(case, written, missing))
    return written, missing


def _draw_here(case: FigureCase, names: Sequence[KindName]) -> tuple[list[KindName], list[Missing]]:
    """Draw figures as text on standard output; return what was and what was not drawn."""
    from tunectl.reports.figures.files import Missing
    from tunectl.reports.figures.terminal import TEXT_LACKS, Screen, draw_as_text

    screen = Screen(
        width=shutil.get_terminal_size().columns,
        has_colours=sys.stdout.isatty() and not os.environ.get("NO_COLOR"),
        is_ascii=not _shows("┌─│…"),
    )
    drawn: list[KindName] = []
    missing: list[Missing] = []
    for name, lack in TEXT_LACKS.items():
        if name not in names:
            continue
        reason = lack(case)
        if reason is not None:
            missing.append(Missing(name=name, reason=reason))
            continue
        emit(("\n" if drawn else "") + draw_as_text(case, name, screen))
        drawn.append(name)
    return drawn, missing


def _shows(characters: str) -> bool:
    """Whether standard output's character set has these."""
    try:
        characters.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _nothing(case: FigureCase, missing: Sequence[Missing]) -> TunectlError:
    """Return the error for a call that drew nothing."""
    reasons = "; ".join(f"{one.name}: {one.reason}" for one in missing)
    if not case.front:
        return NoCompletedTrialError(
            f"study {case.name!r} has no completed trial yet, so nothing is drawn ({reasons})"
        )
    return UsageError(f"nothing that was asked for can be drawn of study {case.name!r}: {reasons}")


def _note(missing: Sequence[Missing]) -> None:
    for one in missing:
        stderr().print(f"note: no {one.name}: {one.reason}", markup=False, soft_wrap=True)


def _document(
    case: FigureCase, written: Sequence[WrittenFigure], missing: Sequence[Missing]
) -> dict[str, object]:
    from tunectl.reports.summary import SCHEMA_VERSION

    return {
        "schema_version": SCHEMA_VERSION,
        "study": case.name,
        "files": [
            {
                "kind": one.name,
                "format": one.format,
                "metric": one.metric,
                "trial": one.trial,
                "path": str(one.path),
            }
            for one in written
        ],
        "not_drawn": [{"kind": one.name, "reason": one.reason} for one in missing],
    }
