"""The commands by name and by line of help, without the modules that do what they do.

A shell that completes a line and `--help` need no more. A command's module is imported when the
command is chosen, its parameters, help and all.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info, get_command_name

from tunectl.cli.plain_values import take_plain_values
from tunectl.cli.rich_help import prepare_help

# Command → the module that registers it, and the first paragraph of its help.
COMMANDS = {
    "init": ("upkeep", "Write config.yaml, params.yaml and optuna_params.yaml, with comments."),
    "demo": ("upkeep", "Write the demonstration data set: a simulated three-phase flow rig."),
    "check": ("upkeep", "Look at the three files and the data; report every error at once."),
    "tune": ("tune", "Run a study: create it if there is none, else continue it."),
    "worker": (
        "worker",
        "Run trials of a stored study in this process, next to any number of others.",
    ),
    "summary": (
        "results",
        "Show the study at a glance: its best trial, the last ones, and what it has taught so far.",
    ),
    "best": (
        "results",
        "Show the best trial; --export writes its model, scaling, parameters and figures.",
    ),
    "report": (
        "pages",
        "Write the study as one HTML file with everything in it, and print the path.",
    ),
    "dashboard": (
        "pages",
        "Show optuna-dashboard's web page of the studies, also while they run, until Ctrl-C.",
    ),
    "doctor": (
        "doctor",
        "Check that database, trial directories, locks, links and summaries agree.",
    ),
    "predict": (
        "predict",
        "Predict the targets of new signals, in their own units, with a trained network.",
    ),
    "plots": (
        "plots",
        "Draw figures of the study and of its best trial, and print the files' paths.",
    ),
}
STUDY_COMMANDS = {
    "create": ("study", "Create a study in the database, without running a trial."),
    "resume": (
        "study",
        "Take up an existing study from its stored configuration; no YAML file is needed.",
    ),
    "delete": ("study", "Delete a study from the database."),
    "list": ("study", "List all studies."),
    "show": ("study", "Show one study in full: budget, states, configuration, search space."),
    "diff": (
        "study_changes",
        "Compare a stored study with the files of today; exit 6 if it does not go on as it is.",
    ),
    "migrate": (
        "study_changes",
        "Make a new study with today's search space and every old trial that fits it.",
    ),
    "enqueue": (
        "study_files",
        "Queue known points, so that the next trials run them; all of them are checked first.",
    ),
    "export": (
        "study_files",
        "Write a study as one portable file of JSON lines, and print its path.",
    ),
    "import": ("study_files", "Make a study of an exported one, all of it or nothing."),
}
TRIAL_COMMANDS = {
    "list": ("trial", "List all trials of a study."),
    "show": ("trial", "Show one trial in full."),
    "path": ("trial", 'Print a trial\'s directory, for example for cd "$(tunectl trial path 7)".'),
    "replay": (
        "trial",
        "Train a trial again from its own configuration, and say whether it comes out the same.",
    ),
    "ask": ("drive", "Get the next trial for a script: its number, parameters and directory."),
    "report": ("drive", "Say what a step of a trial has reached that a script runs."),
    "should-prune": (
        "drive",
        "Say whether a trial is to be given up: exit code 0 if so, 10 if it goes on.",
    ),
    "tell": ("drive", "Say how a trial has ended that a script has run."),
    "release": (
        "trial",
        "Say that nobody runs a trial any more, so that the next tune takes it up.",
    ),
}
MLFLOW_COMMANDS = {
    "sync": (
        "mirror",
        "Bring MLflow up to date with a study, also an old one; a second time changes nothing.",
    ),
    "link": ("mirror", "Print the web addresses of a study's run and its best trial's."),
    "ui": ("mirror", "Show MLflow's web page of this project's studies, until Ctrl-C."),
}
GROUPS = {
    "study": ("Create, resume, compare, copy, list, show and delete studies.", STUDY_COMMANDS),
    "trial": ("List, show and repeat trials, and run them from a script.", TRIAL_COMMANDS),
    "mlflow": ("Look at studies in MLflow, and bring it up to date.", MLFLOW_COMMANDS),
}

Table = Mapping[str, tuple[str, str]]


class Command(TyperCommand):
    """A command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return its options and arguments."""
        return take_plain_values(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print its help."""
        prepare_help()
        super().format_help(ctx, formatter)


class Listed(TyperCommand):
    """A command of which nothing but name and line of help is known yet.

    Args:
        name: Its name.
        module: The module of `tunectl.cli` that registers it.
        line: The first paragraph of its help.
    """

    def __init__(self, name: str, module: str, line: str) -> None:
        super().__init__(name, help=line, rich_markup_mode="rich")
        self._module = module

    def load(self) -> Any:
        """Import the command's module; return the command whole."""
        registry = typer.Typer()
        import_module(f"tunectl.cli.{self._module}").register(registry)
        for info in registry.registered_commands:
            assert info.callback is not None
            if (info.name or get_command_name(info.callback.__name__)) == self.name:
                info.cls = Command
                return get_command_from_info(
                    info, pretty_exceptions_short=True, rich_markup_mode="rich"
                )
        raise LookupError(f"tunectl.cli.{self._module} registers no command {self.name}")


class Group(TyperGroup):
    """Commands that are imported when they are chosen."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return its options."""
        return take_plain_values(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that a line names, whole."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, Listed) else command, rest

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, of the commands their first paragraph."""
        prepare_help()
        super().format_help(ctx, formatter)


def list_all() -> dict[str, Any]:
    """Return all commands by name, in the order in which they are shown."""
    groups = {
        name: Group(
            name=name,
            help=line,
            commands=_listed(table),
            no_args_is_help=True,
            rich_markup_mode="rich",
        )
        for name, (line, table) in GROUPS.items()
    }
    return {**_listed(COMMANDS), **groups}


def _listed(table: Table) -> dict[str, Any]:
    return {name: Listed(name, module, line) for name, (module, line) in table.items()}
