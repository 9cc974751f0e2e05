"""`init`, `demo`, `check`: what comes before a study."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunectl.cli.completion import complete_objective
from tunectl.cli.options import (
    ConfigOption,
    JsonOption,
    OptunaParamsOption,
    OverridesArgument,
    ParamsOption,
    flag,
    option,
)
from tunectl.cli.output import emit, print_json, show, stderr
from tunectl.cli.session import load_settings, session_of
from tunectl.config.passwords import hide_passwords
from tunectl.errors import DeviceError, Problem, ProblemsError, StorageError, UsageError

if TYPE_CHECKING:
    from tunectl.config.load import Loaded
    from tunectl.running.plan import Plan


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
    objective: Annotated[
        str | None,
        option(
            "--objective",
            metavar="NAME",
            autocompletion=complete_objective,
            help="What a trial runs: flow_cnn (default), signal_regressor, mlp, image_classifier.",
        ),
    ] = None,
    force: Annotated[bool, flag("--force", help="Replace files that are there.")] = False,
) -> None:
    """Write config.yaml, params.yaml and optuna_params.yaml, with comments."""
    from rich.text import Text

    from tunectl.artifacts.atomic import write_text
    from tunectl.config.fields import nearest
    from tunectl.config.json_schema import FOLDER
    from tunectl.config.runs import DEFAULT_OBJECTIVE
    from tunectl.config.seed_spaces import SEED_SPACES
    from tunectl.config.templates import render

    chosen = objective or DEFAULT_OBJECTIVE
    if chosen not in SEED_SPACES:
        valid = ", ".join(SEED_SPACES)
        near = nearest(chosen, SEED_SPACES)
        hint = f"did you mean {near}? " if near else ""
        raise UsageError(f"--objective {chosen}: init has no files for it; {hint}valid: {valid}")
    folder = context.obj.project / (directory or ".")
    texts = render(chosen)
    there = [name for name in texts if (folder / name).exists()]
    if there and not force:
        raise UsageError(f"{', '.join(there)} there already; --force replaces")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_text(folder / name, text)
            emit(f"{folder / name}\n")
        _write_schemas(folder / FOLDER, chosen)
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror}") from error
    if not context.obj.quiet:
        is_here = directory is None or folder.resolve() == context.obj.project.resolve()
        elsewhere = "" if is_here else f"cd {shlex.quote(str(directory))}, then "
        stderr().print(Text(f"next: {elsewhere}tunectl check, then tunectl tune"), soft_wrap=True)


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


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a check found.

    Args:
        problems: What is wrong, in order.
        warnings: What works but is probably not meant.
        loaded: The configuration; None where it is not valid.
        plan: What a `tune` would do; None where that was not asked or cannot be said.
        replaced: What is named in texts of the user's and gives way to a value in every trial.
    """

    problems: Sequence[Problem]
    warnings: Sequence[Problem] = ()
    loaded: Loaded | None = None
    plan: Plan | None = None
    replaced: Sequence[str] = ()


def check(
    context: typer.Context,
    overrides: OverridesArgument = None,
    json: JsonOption = False,
    plan: Annotated[
        bool, flag("--plan", help="Also show what a tune would do, without a trial.")
    ] = False,
    schema: Annotated[
        Path | None,
        option(
            "--schema",
            metavar="DIR",
            help="Write JSON Schemas of the three files there, for editors, and do nothing else.",
        ),
    ] = None,
    params: ParamsOption = None,
    config: ConfigOption = None,
    optuna_params: OptunaParamsOption = None,
) -> None:
    """Look at the three files and the data; report every error at once."""
    session = session_of(context)
    if schema is not None:
        file = session.project / (params or "params.yaml")
        _export_schemas(session.project / schema, _objective_in(file), json=json)
        return
    try:
        loaded = load_settings(
            session,
            overrides=overrides or (),
            config=config,
            params=params,
            optuna_params=optuna_params,
        )
        checked = _examine(loaded, session.project, plan=plan)
    except ProblemsError as error:
        checked = Checked(problems=error.problems)
    if json:
        print_json(_document(checked, plan=plan))
    else:
        _report(checked, with_origins=session.verbosity > 0 and not plan)
    raise typer.Exit(2 if checked.problems else 0)


def _examine(loaded: Loaded, project: Path, *, plan: bool) -> Checked:
    from tunectl.running.launch import examine

    findings = examine(loaded.settings, project)
    problems = [loaded.place(one) for one in (*findings.config, *findings.data)]
    warnings = list(findings.warnings)
    planned = None
    if plan and not problems:
        from tunectl.running.plan import make_plan

        try:
            planned = make_plan(loaded.settings, project)
            warnings += planned.warnings
        except DeviceError as error:
            problems = [loaded.place(Problem(key="runtime.device", message=str(error)))]
    return Checked(
        problems=problems,
        warnings=[loaded.place(one) for one in dict.fromkeys(warnings)],
        loaded=loaded,
        plan=planned,
        replaced=findings.replaced,
    )


def _report(checked: Checked, *, with_origins: bool) -> None:
    """Say what was found to a person."""
    from rich.text import Text

    for warning in checked.warnings:
        stderr().print(Text(hide_passwords(f"warning: {warning}"), style="yellow"), soft_wrap=True)
    for problem in checked.problems:
        stderr().print(Text(hide_passwords(f"error: {problem}"), style="red"), soft_wrap=True)
    if checked.problems or checked.loaded is None:
        return
    emit("configuration and data are valid\n")
    if checked.replaced:
        names = ", ".join(f"{{{name}}}" for name in checked.replaced)
        emit(f"replaced in the command: {names}\n")
    if checked.plan is not None:
        from tunectl.cli.plan_view import plan_view

        show(*plan_view(checked.loaded, checked.plan))
    elif with_origins:
        for key, origin in checked.loaded.origins.items():
            emit(hide_passwords(f"{key}  ({origin})\n"))


def _document(checked: Checked, *, plan: bool) -> dict[str, Any]:
    def plain(one: Problem) -> dict[str, Any]:
        message = hide_passwords(one.message)
        return {"file": one.file, "line": one.line, "key": one.key, "message": message}

    document: dict[str, Any] = {
        "schema_version": 1,
        "valid": not checked.problems,
        "problems": [plain(one) for one in checked.problems],
        "warnings": [plain(one) for one in checked.warnings],
        "replaced": list(checked.replaced),
    }
    if checked.loaded is not None and checked.plan is not None:
        from tunectl.cli import plan_view

        document.update(plan_view.document(checked.loaded, checked.plan))
    elif plan:
        parts = ("configuration", "space", "samples", "rehearsal", "estimate")
        document.update(dict.fromkeys(parts))
    return document


def _export_schemas(folder: Path, objective: object, *, json: bool) -> None:
    try:
        written = _write_schemas(folder, objective)
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror}") from error
    if json:
        print_json({"schema_version": 1, "files": [str(path) for path in written]})
    else:
        emit("".join(f"{path}\n" for path in written))


def _objective_in(file: Path) -> object:
    """Return what a `params.yaml` says under `objective`, the default where it says nothing."""
    import yaml

    from tunectl.config.runs import DEFAULT_OBJECTIVE

    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return DEFAULT_OBJECTIVE
    found = values.get("objective") if isinstance(values, dict) else None
    return found or DEFAULT_OBJECTIVE


def _write_schemas(folder: Path, objective: object) -> list[Path]:
    """Write the schemas of the three files for an objective; return their paths."""
    from tunectl.artifacts.atomic import write_json
    from tunectl.config.json_schema import render_schemas
    from tunectl.config.layout import layout_of
    from tunectl.objectives.registry import OBJECTIVES
    from tunectl.search.pruners import PRUNERS
    from tunectl.search.samplers import SAMPLERS

    names: dict[str, Collection[str]] = {
        "study.sampler.name": SAMPLERS,
        "study.pruner.name": PRUNERS,
        "objective": OBJECTIVES,
    }
    folder.mkdir(parents=True, exist_ok=True)
    schemas = render_schemas(names, layout_of(objective))
    for name, schema in schemas.items():
        write_json(folder / name, schema)
    return [folder / name for name in schemas]
