"""`init`, `demo`, `check`: what comes before a study."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from tunectl.cli.options import (
    ConfigOption,
    JsonOption,
    OptunaParamsOption,
    OverridesArgument,
    ParamsOption,
    flag,
    option,
)
from tunectl.cli.render import emit, print_json, stderr
from tunectl.cli.session import load_settings, session_of
from tunectl.errors import Problem, ProblemsError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunectl.config.load import Loaded


class Layout(StrEnum):
    """Shape of the demonstration signals."""

    one = "1d"
    two = "2d"


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(init)
    app.command()(demo)
    app.command()(check)


def init(
    context: typer.Context,
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Where. Default: the project folder.")
    ] = None,
    force: Annotated[bool, flag("--force", help="Replace files that are there.")] = False,
) -> None:
    """Write config.yaml, params.yaml and optuna_params.yaml, with comments."""
    from tunectl.artifacts.atomic import write_text
    from tunectl.config.templates import render

    folder = context.obj.project / (directory or ".")
    texts = render()
    there = [name for name in texts if (folder / name).exists()]
    if there and not force:
        raise UsageError(f"{', '.join(there)} there already; --force replaces")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_text(folder / name, text)
            emit(f"{folder / name}\n")
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror}") from error
    if not context.obj.quiet:
        stderr().print(Text("next: tunectl check, then tunectl tune"))


def demo(
    context: typer.Context,
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Where. Default: data/demo.")
    ] = None,
    layout: Annotated[
        Layout, option("--layout", help="1d: (N, 4, pulses); 2d: (N, 4, pulses, time).")
    ] = Layout.one,
    samples: Annotated[
        int | None, option("--samples", metavar="N", min=1, help="How many recordings.")
    ] = None,
    seed: Annotated[int, option("--seed", metavar="N", min=0, help="Same seed, same bytes.")] = 42,
) -> None:
    """Write the demonstration data set: a simulated three-phase flow rig."""
    from tunectl.demo.dataset import DEFAULT_SAMPLES, write_dataset

    folder = session_of(context).project / (directory or "data/demo")
    count = samples if samples is not None else DEFAULT_SAMPLES
    for file in write_dataset(folder, layout.value, count, seed):
        emit(f"{file}\n")


def check(
    context: typer.Context,
    overrides: OverridesArgument = None,
    json: JsonOption = False,
    params: ParamsOption = None,
    config: ConfigOption = None,
    optuna_params: OptunaParamsOption = None,
) -> None:
    """Look at the three files and the data; report every error at once."""
    session = session_of(context)
    problems: Sequence[Problem] = ()
    warnings: Sequence[Problem] = ()
    try:
        loaded = load_settings(
            session,
            overrides=overrides or (),
            config=config,
            params=params,
            optuna_params=optuna_params,
        )
        problems, warnings = _examine(loaded, session.project)
    except ProblemsError as error:
        problems = error.problems
    if json:
        print_json(_document(problems, warnings))
    else:
        for warning in warnings:
            stderr().print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)
        for problem in problems:
            stderr().print(Text(f"error: {problem}", style="red"), soft_wrap=True)
        if not problems:
            emit("configuration and data are valid\n")
    if not json and not problems and session.verbosity:
        for key, origin in loaded.origins.items():
            emit(f"{key}  ({origin})\n")
    raise typer.Exit(2 if problems else 0)


def _examine(loaded: Loaded, project: Path) -> tuple[list[Problem], list[Problem]]:
    from tunectl.running.launch import examine

    findings = examine(loaded.settings, project)
    problems = [loaded.place(one) for one in (*findings.config, *findings.data)]
    return problems, [loaded.place(one) for one in findings.warnings]


def _document(problems: Sequence[Problem], warnings: Sequence[Problem]) -> dict[str, Any]:
    def plain(one: Problem) -> dict[str, Any]:
        return {"file": one.file, "line": one.line, "key": one.key, "message": one.message}

    return {
        "schema_version": 1,
        "valid": not problems,
        "problems": [plain(one) for one in problems],
        "warnings": [plain(one) for one in warnings],
    }
