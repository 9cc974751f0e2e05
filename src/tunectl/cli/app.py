"""The program: its root, its signals, and the one map from errors to exit codes."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunectl import __version__
from tunectl.cli.catalogue import Group, list_all
from tunectl.cli.logs import set_up_logging, shows_details
from tunectl.cli.options import flag, option
from tunectl.cli.session import Session
from tunectl.cli.signals import Terminated, set_up_signals
from tunectl.cli.streams import set_up_streams
from tunectl.config.passwords import hide_passwords
from tunectl.errors import ProblemsError, StorageError, TunectlError

if TYPE_CHECKING:
    from rich.traceback import Traceback


class Root(Group):
    """The program's commands. What they refuse is repeated to the user without passwords."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.commands.update(list_all())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the global options, wherever they stand, also while a shell completes a line."""
        return super().parse_args(ctx, hoist_globals(args))

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        """Parse the global options."""
        with _without_passwords():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: Any) -> Any:
        """Parse and run a command."""
        with _without_passwords():
            return super().invoke(ctx)


@contextmanager
def _without_passwords() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        message = getattr(error, "message", None)
        if isinstance(message, str):
            with suppress(AttributeError):  # another library's, which cannot be changed
                error.message = hide_passwords(message)  # type: ignore[attr-defined]
        raise


app = typer.Typer(
    name="tunectl",
    cls=Root,
    help="Run hyperparameter studies that nothing can spoil.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tunectl {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    project: Annotated[
        Path,
        option("-C", "--project", metavar="DIR", help="The project folder.", show_default="."),
    ] = Path(),
    verbose: Annotated[
        int,
        option(
            "-v",
            "--verbose",
            count=True,
            metavar="",
            show_default=False,
            help="Say more; -vv also shows tracebacks.",
        ),
    ] = 0,
    quiet: Annotated[bool, flag("-q", "--quiet", help="Print only results and errors.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            metavar="",
            help="Print the version.",
        ),
    ] = False,
) -> None:
    """Run hyperparameter studies that nothing can spoil."""
    context.obj = Session(project=project.absolute(), verbosity=verbose, quiet=quiet)
    set_up_logging(verbosity=verbose, quiet=quiet)


def run() -> int:
    """Run the program; return its exit code."""
    # In every process, whatever it imports: no usage reports of MLflow's.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Nor a search through all installed packages for plugins of pydantic's.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    set_up_signals()
    set_up_streams()
    code = _ended(lambda: app(args=sys.argv[1:]))
    return _ended(sys.stdout.flush) or code


def _ended(do: Callable[[], object]) -> int:
    """Do something; report what it raises, and return the exit code that this means."""
    try:
        do()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Terminated as end:
        return end.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        translated = _translated(error)
        _report(translated)
        return translated.exit_code if isinstance(translated, TunectlError) else 1
    return 0


def _translated(error: Exception) -> Exception:
    """Return a database's error that no one below has translated as one of ours."""
    if type(error).__module__.partition(".")[0] not in ("optuna", "sqlalchemy", "sqlite3"):
        return error
    from tunectl.studies.storage import reason_of

    translated = StorageError(f"the database: {reason_of(error)}")
    translated.__cause__ = error
    return translated


def hoist_globals(arguments: list[str]) -> list[str]:
    """Return the arguments with the global options first, so that they may stand anywhere.

    Args:
        arguments: As typed; what follows `--` is left alone.
    """
    first: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument in ("-C", "--project"):
            first += [argument, *itertools.islice(waiting, 1)]
        elif re.fullmatch(r"-v+|-q|-C.+|--verbose|--quiet|--project=.*", argument):
            first.append(argument)
        else:
            rest.append(argument)
    return [*first, *rest]


def _report(error: Exception) -> None:
    """Say what went wrong in the user's words; a traceback only with -vv."""
    from tunectl.cli.output import stderr

    console = stderr()
    if shows_details():
        console.print(_traceback_of(error))
    known = isinstance(error, TunectlError)
    text = str(error) if known else f"{type(error).__name__}: {error}"
    lines = [str(one) for one in error.problems] if isinstance(error, ProblemsError) else [text]
    for line in lines:
        console.print("error: ", style="bold red", end="", soft_wrap=True)
        console.print(hide_passwords(line), markup=False, soft_wrap=True)
    if not known:
        console.print("this is a fault of tunectl; -vv shows where", style="dim")


def _traceback_of(error: Exception) -> Traceback:
    """Return where an error came from, with no password in what it and its causes say."""
    from rich.traceback import Traceback

    trace = Traceback.extract(type(error), error, error.__traceback__)
    for stack in trace.stacks:
        stack.exc_value = hide_passwords(stack.exc_value)
    return Traceback(trace)
