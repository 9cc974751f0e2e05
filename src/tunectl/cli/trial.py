"""`trial`: list, show, path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from tunectl.cli.completion import complete_trial
from tunectl.cli.options import JsonOption, StorageOption, StudyOption
from tunectl.cli.render import (
    duration,
    emit,
    fields,
    number,
    print_json,
    show,
    target_table,
    trial_table,
    value_text,
)
from tunectl.cli.session import Store, find_trial, load_chosen, open_store, session_of
from tunectl.errors import TrialNotFoundError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

app = typer.Typer(help="List and show trials.", no_args_is_help=True)

NumberArgument = Annotated[
    int, typer.Argument(metavar="N", autocompletion=complete_trial, help="The trial's number.")
]


@app.command("list")
def list_trials(
    context: typer.Context,
    study: StudyOption = None,
    storage: StorageOption = None,
    json: JsonOption = False,
) -> None:
    """List all trials of a study."""
    from tunectl.reports.summary import SCHEMA_VERSION, summarise

    store = open_store(session_of(context), storage)
    summary = summarise(load_chosen(store, study), store.shown_url, store.project)
    if json:
        trials = [trial.to_document() for trial in summary.trials]
        print_json(
            {"schema_version": SCHEMA_VERSION, "study": summary.study_document(), "trials": trials}
        )
    elif summary.trials:
        show(trial_table(summary.trials, summary))
    else:
        show(Text(f"study {summary.name} has no trials yet", style="dim"))


@app.command("show")
def show_trial(
    context: typer.Context,
    n: NumberArgument,
    study: StudyOption = None,
    storage: StorageOption = None,
    json: JsonOption = False,
) -> None:
    """Show one trial in full."""
    from tunectl.reports.summary import SCHEMA_VERSION, read_trial_files, summarise_trial
    from tunectl.studies.directories import Places

    store, frozen, name = _find(context, n, study, storage)
    trial = summarise_trial(frozen, Places(store.project))
    files = read_trial_files(trial, store.project)
    if json:
        document = {
            "schema_version": SCHEMA_VERSION,
            "study": name,
            **trial.to_document(),
            "best_epoch": trial.best_epoch,
            "metrics": files.metrics or dict(trial.metrics) or None,
            "config": files.config,
        }
        print_json(document)
        return
    show(
        fields(
            {
                "trial": f"{n} of study {name}",
                "state": trial.state,
                "value": number(trial.value),
                "epochs": f"{trial.epochs}, best {trial.best_epoch or '–'}",
                "started": trial.started_at or "–",
                "time": duration(trial.duration_s),
                "directory": trial.output_dir or "none",
                **({"error": trial.error} if trial.error else {}),
            }
        ),
        Text("\nparameters", style="bold"),
        fields({f"  {key}": value_text(value) for key, value in sorted(trial.params.items())}),
    )
    if files.metrics.get("per_target"):
        show(Text(""), target_table(files.metrics["per_target"]))


@app.command()
def path(
    context: typer.Context,
    n: NumberArgument,
    study: StudyOption = None,
    storage: StorageOption = None,
) -> None:
    """Print a trial's directory, for example for cd "$(tunectl trial path 7)"."""
    from tunectl.studies.directories import directory_of

    store, frozen, name = _find(context, n, study, storage)
    directory = directory_of(frozen, store.project)
    if directory is None:
        raise TrialNotFoundError(f"trial {n} of study {name!r} has no directory any more")
    emit(f"{directory.path}\n")


def _find(
    context: typer.Context, n: int, study: str | None, storage: str | None
) -> tuple[Store, FrozenTrial, str]:
    store = open_store(session_of(context), storage)
    loaded = load_chosen(store, study)
    return store, find_trial(loaded, n), loaded.study_name
