"""`doctor`: does everything that a project keeps agree, and what can be repaired?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tunectl.cli.options import JsonOption, StorageOption, flag, option
from tunectl.cli.output import print_json, show, stderr
from tunectl.cli.session import Store, command_for, find_store, session_of
from tunectl.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunectl.reports.findings import Repair
    from tunectl.reports.inspection import Inspection


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(doctor)


def doctor(
    context: typer.Context,
    fix: Annotated[
        bool, flag("--fix", help="Repair what is safe, and look again; nothing is ever lost.")
    ] = False,
    study: Annotated[
        str | None, option("--study", metavar="NAME", help="Look at this study only.")
    ] = None,
    storage: StorageOption = None,
    json: JsonOption = False,
) -> None:
    """Check that database, trial directories, locks, links and summaries agree.

    It may be used while studies run.

    Exit code 0: nothing is wrong, or all was repaired. 1: something is wrong.

    Exit code 3: there is no such study. 7: the database cannot be read.
    """
    from rich.text import Text

    from tunectl.cli import doctor_view
    from tunectl.reports.inspection_machine import inspect_machine

    session = session_of(context)
    store = find_store(session, storage)
    inspection, repairs = _look(store, study, fix=fix, must_exist=storage is not None)
    machine = inspect_machine()  # last: it may import PyTorch
    if json:
        print_json(doctor_view.document(machine, inspection, repairs))
    else:
        show(*doctor_view.view(machine, inspection, repairs, in_full=session.verbosity > 0))
        if not (fix or session.quiet) and any(one.fix for one in inspection.findings):
            again = command_for(session, store, "doctor --fix")
            stderr().print(Text(f"what has a fix is repaired by: {again}"), soft_wrap=True)
    raise typer.Exit(_exit_code(inspection))


def _look(
    store: Store, study: str | None, *, fix: bool, must_exist: bool
) -> tuple[Inspection, Sequence[Repair]]:
    from tunectl.config.quick import read_surroundings
    from tunectl.reports.inspection import Premises, inspect
    from tunectl.reports.repair import repair

    mlflow = read_surroundings(store.project).mlflow
    premises = Premises(
        tree=store.tree,
        url=store.url,
        shown_url=store.shown_url,
        device=store.device,
        study=study,
        mlflow=mlflow if mlflow.enabled else None,
    )
    if must_exist and premises.database is not None and not premises.database.exists():
        raise StorageError(f"there is no database {store.shown_url}")
    return repair(premises) if fix else (inspect(premises), ())


def _exit_code(inspection: Inspection) -> int:
    if not inspection.is_readable:
        return StorageError.exit_code
    return 0 if inspection.is_sound else 1
