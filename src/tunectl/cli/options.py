"""Options that several commands share. Each may also come from `TUNECTL_<OPTION>`."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tunectl.cli.completion import complete_study

BUDGET_PANEL = "Budget"
FILES_PANEL = "Files"


def flag(*names: str, help: str, also: tuple[str, ...] = ()) -> Any:
    """Return a Typer option that takes no value; see `option`."""
    return option(*names, help=help, also=also, metavar="", show_default=False)


def option(*names: str, help: str, also: tuple[str, ...] = (), **more: Any) -> Any:
    """Return a Typer option with its environment variable.

    Args:
        names: `--long` and, if any, `-s`.
        help: One sentence for `--help`.
        also: Further environment variables that give it.
        more: What else `typer.Option` takes.
    """
    long = next(name for name in names if name.startswith("--")).split("/")[0]
    variable = "TUNECTL_" + long.removeprefix("--").replace("-", "_").upper()
    return typer.Option(*names, help=help, envvar=[variable, *also], show_envvar=False, **more)


def trial_option(complete: Callable[..., list[str]], help: str) -> Any:
    """Return `--trial`, which each command means in its own way.

    Args:
        complete: What a shell completes it with.
        help: One sentence for `--help`.
    """
    return option("--trial", metavar="N", min=0, autocompletion=complete, help=help)


def workers_of(text: str | None) -> int | str | None:
    """Return what `--workers` says; whether it is valid is the schema's to say."""
    return int(text) if text is not None and text.strip().isdecimal() else text


class Mismatch(StrEnum):
    """What to do when the stored search space differs from today's."""

    ask = "ask"
    refuse = "refuse"
    accept = "accept"
    migrate = "migrate"
    new = "new"


StudyOption = Annotated[
    str | None,
    option(
        "--study",
        metavar="NAME",
        autocompletion=complete_study,
        help="The study. Default: that of optuna_params.yaml.",
    ),
]
StudyArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        autocompletion=complete_study,
        help="The study. Default: that of optuna_params.yaml.",
    ),
]
StoredStudyArgument = Annotated[
    str, typer.Argument(metavar="NAME", autocompletion=complete_study, help="The study.")
]
StorageOption = Annotated[
    str | None,
    option(
        "--storage",
        metavar="URL",
        also=("OPTUNA_STORAGE",),
        help="The database, for example sqlite:///optuna/study.db.",
    ),
]
JsonOption = Annotated[bool, flag("--json", help="Print one JSON document.")]
NTrialsOption = Annotated[
    int | None,
    option(
        "--n-trials",
        metavar="N",
        min=0,
        rich_help_panel=BUDGET_PANEL,
        help="Bring so many trials to an end in this call, interrupted ones first.",
    ),
]
UntilOption = Annotated[
    int | None,
    option(
        "--until",
        metavar="N",
        min=0,
        rich_help_panel=BUDGET_PANEL,
        help="Run until the study has so many finished trials; at once done if it has.",
    ),
]
TimeoutOption = Annotated[
    float | None,
    option(
        "--timeout",
        metavar="SECONDS",
        min=0.0,
        rich_help_panel=BUDGET_PANEL,
        help="After this time the running trial leaves a checkpoint and the call ends.",
    ),
]
WorkersOption = Annotated[
    str | None,
    option(
        "--workers",
        metavar="N|auto",
        help="Processes that run trials, instead of runtime.workers; auto tries out how many.",
    ),
]
DeviceOption = Annotated[
    str | None,
    option(
        "--device",
        metavar="NAME",
        help="cpu, cuda, cuda:INDEX, mps or auto, instead of runtime.device.",
    ),
]
ConfigOption = Annotated[
    Path | None,
    option("--config", metavar="FILE", rich_help_panel=FILES_PANEL, help="Instead of config.yaml."),
]
ParamsOption = Annotated[
    Path | None,
    option("--params", metavar="FILE", rich_help_panel=FILES_PANEL, help="Instead of params.yaml."),
]
OptunaParamsOption = Annotated[
    Path | None,
    option(
        "--optuna-params",
        metavar="FILE",
        rich_help_panel=FILES_PANEL,
        help="Instead of optuna_params.yaml.",
    ),
]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="OVERRIDES",
        help="Values for this call, for example training.epochs=5.",
        show_default=False,
    ),
]
OnMismatchOption = Annotated[
    Mismatch,
    option(
        "--on-mismatch",
        help="When the stored search space differs: ask (refuse without a terminal), refuse, "
        "accept what Optuna can, migrate the trials that fit into a new study, or begin a new one.",
    ),
]
