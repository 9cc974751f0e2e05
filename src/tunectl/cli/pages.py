"""`dashboard` and `report`: a study in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunectl.cli.options import StorageOption, StudyOption, option
from tunectl.cli.output import emit, stderr
from tunectl.cli.session import load_chosen, open_store, session_of
from tunectl.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(report)
    app.command()(dashboard)


def report(
    context: typer.Context,
    study: StudyOption = None,
    storage: StorageOption = None,
    out: Annotated[
        Path | None,
        option(
            "--out",
            metavar="FILE",
            help="Where to write it.",
            show_default="optuna/studies/<study>/report.html",
        ),
    ] = None,
) -> None:
    """Write the study as one HTML file with everything in it, and print the path."""
    from tunectl.reports.page.write import write_report
    from tunectl.studies.storage import storage_errors

    session = session_of(context)
    if out is not None and not (session.project / out).parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {(session.project / out).parent}")
    store = open_store(session, storage)
    chosen = load_chosen(store, study)
    target = store.tree.study(chosen.study_name).report_file if out is None else out
    with storage_errors(store.url):
        written = write_report(chosen, store.shown_url, store.project, store.project / target)
    if written.n_lost and not session.quiet:
        whose = "directory of 1 trial is"
        if written.n_lost > 1:
            whose = f"directories of {written.n_lost} trials are"
        note = f"note: the {whose} not here, so the report lacks what they hold"
        stderr().print(note, markup=False, soft_wrap=True)
    emit(f"{written.path}\n")


def dashboard(
    context: typer.Context,
    study: StudyOption = None,
    storage: StorageOption = None,
    port: Annotated[
        int, option("--port", metavar="PORT", min=1, max=65535, help="Of the page on 127.0.0.1.")
    ] = 8080,
) -> None:
    """Show optuna-dashboard's web page of the studies, also while they run, until Ctrl-C."""
    from rich.text import Text

    from tunectl.reports.dashboard import Dashboard, check_installed
    from tunectl.studies.storage import storage_errors

    check_installed()
    session = session_of(context)
    store = open_store(session, storage)
    chosen = load_chosen(store, study)
    assert store.storage is not None
    with storage_errors(store.url):
        page = Dashboard(store.storage, chosen, store.project, port)
    if not session.quiet:
        stderr().print(Text(f"the studies: {page.address} (Ctrl-C ends it)"), soft_wrap=True)
    code = page.serve()
    if code:
        raise typer.Exit(code)
