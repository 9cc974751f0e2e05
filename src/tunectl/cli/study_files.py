"""`study enqueue`, `study export`, `study import`: studies and points that stand in files."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from tunectl.cli.options import JsonOption, StorageOption, StoredStudyArgument, StudyArgument, flag
from tunectl.cli.output import emit, print_json, stderr
from tunectl.cli.session import load_chosen, open_store, session_of
from tunectl.errors import StorageError, UsageError

SCHEMA_VERSION = 1


def register(app: typer.Typer) -> None:
    """Add the commands to the `study` commands."""
    app.command()(enqueue)
    app.command("export")(export_study)
    app.command("import")(import_study)


def enqueue(
    context: typer.Context,
    name: StudyArgument = None,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="Points: a .json, .yaml or .csv file. Needed, also where NAME is left out.",
        ),
    ] = None,
    skip_existing: Annotated[
        bool, flag("--skip-existing", help="Leave out points that the study has already.")
    ] = False,
    storage: StorageOption = None,
    json: JsonOption = False,
) -> None:
    """Queue known points, so that the next trials run them; all of them are checked first."""
    from rich.text import Text

    from tunectl.studies.points_file import read_points
    from tunectl.studies.queue import check_points, enqueue_points
    from tunectl.studies.storage import storage_errors

    if file is None:  # one argument is the file
        name, file = None, Path(name) if name is not None else None
    if file is None:
        raise UsageError("which file? Say: tunectl study enqueue [NAME] FILE")
    session = session_of(context)
    found = read_points(session.project / file, name=str(file))
    store = open_store(session, storage)
    study = load_chosen(store, name)
    with storage_errors(store.url):
        checked = check_points(found, study)
        for warning in () if session.quiet else checked.warnings:
            stderr().print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)
        queued = enqueue_points(study, checked.points, skip_existing=skip_existing)
    skipped = len(checked.points) - queued
    if json:
        _print(study=study.study_name, queued=queued, skipped=skipped)
        return
    more = f"; {skipped} there already" if skipped else ""
    emit(f"queued {_count(queued, 'point')} in study {study.study_name}{more}\n")
    if queued and not session.quiet:
        command = f"tunectl study resume {shlex.quote(study.study_name)} --n-trials {queued}"
        stderr().print(Text(f"run them with: {command}"), soft_wrap=True)


def export_study(
    context: typer.Context,
    name: StoredStudyArgument,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to; an earlier file is replaced.")
    ],
    storage: StorageOption = None,
    json: JsonOption = False,
) -> None:
    """Write a study as one portable file of JSON lines, and print its path."""
    from tunectl.studies.portable import write_study
    from tunectl.studies.transfer import pack_study

    session = session_of(context)
    target = session.project / file
    if target.exists() and not target.is_file():
        raise UsageError(f"{file} is {'a folder' if target.is_dir() else 'no file'}; name a file")
    store = open_store(session, storage)
    study = load_chosen(store, name)
    assert store.storage is not None
    packed = pack_study(store.storage, study)
    try:
        write_study(packed, target)
    except OSError as error:
        raise StorageError(f"cannot write {file}: {error.strerror or error}") from error
    if json:
        _print(study=packed.name, file=str(target), n_trials=len(packed.trials))
    else:
        emit(f"{target}\n")


def import_study(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What tunectl study export has written.")
    ],
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="The new study's name. Default: that in the file."),
    ] = None,
    storage: StorageOption = None,
    json: JsonOption = False,
) -> None:
    """Make a study of an exported one, all of it or nothing."""
    from tunectl.studies.portable_source import read_study
    from tunectl.studies.storage import open_storage, storage_errors
    from tunectl.studies.transfer import name_for, unpack_study

    session = session_of(context)
    portable = read_study(session.project / file, name=str(file))
    name_for(portable, name)  # before a database is made for it
    store = open_store(session, storage)
    with storage_errors(store.url):
        database = open_storage(store.url, create=True)
        assert database is not None
        made = unpack_study(database, portable, name)
    if json:
        _print(study=made, n_trials=len(portable.trials))
    else:
        emit(f"imported study {made} with {_count(len(portable.trials), 'trial')}\n")


def _print(**document: Any) -> None:
    print_json({"schema_version": SCHEMA_VERSION, **document})


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
