"""`trial`: list, show, path, replay, release."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from tunectl.cli.completion import complete_trial
from tunectl.cli.glance import summarise_chosen
from tunectl.cli.options import JsonOption, StorageOption, StudyOption, option
from tunectl.cli.output import emit, print_json, show, stderr
from tunectl.cli.session import (
    Session,
    Store,
    directory_of_trial,
    find_trial,
    load_chosen,
    open_store,
    session_of,
)
from tunectl.reports.words import duration, number, value_text

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

NumberArgument = Annotated[
    int, typer.Argument(metavar="N", autocompletion=complete_trial, help="The trial's number.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to `trial`."""
    app.command("list")(list_trials)
    app.command("show")(show_trial)
    app.command()(path)
    app.command()(replay)
    app.command()(release)


def list_trials(
    context: typer.Context,
    study: StudyOption = None,
    storage: StorageOption = None,
    json: JsonOption = False,
) -> None:
    """List all trials of a study."""
    from tunectl.reports.summary import SCHEMA_VERSION

    _, summary = summarise_chosen(session_of(context), storage, study)
    if json:
        trials = [trial.to_document() for trial in summary.trials]
        print_json(
            {"schema_version": SCHEMA_VERSION, "study": summary.study_document(), "trials": trials}
        )
        return
    from rich.text import Text

    from tunectl.cli.render import trial_table

    if summary.trials:
        show(trial_table(summary.trials, summary))
    else:
        show(Text(f"study {summary.name} has no trials yet", style="dim"))


def show_trial(
    context: typer.Context,
    n: NumberArgument,
    study: StudyOption = None,
    storage: StorageOption = None,
    json: JsonOption = False,
) -> None:
    """Show one trial in full."""
    from rich.text import Text

    from tunectl.cli.render import fields, test_table
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
    show(*test_table(files.metrics))


def path(
    context: typer.Context,
    n: NumberArgument,
    study: StudyOption = None,
    storage: StorageOption = None,
) -> None:
    """Print a trial's directory, for example for cd "$(tunectl trial path 7)"."""
    store, frozen, name = _find(context, n, study, storage)
    emit(f"{directory_of_trial(store, frozen, name).path}\n")


def replay(
    context: typer.Context,
    n: NumberArgument,
    study: StudyOption = None,
    storage: StorageOption = None,
    device: Annotated[
        str | None,
        option("--device", metavar="NAME", help="Default: the device that the trial ran on."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Train a trial again from its own configuration, and say whether it comes out the same.

    The study is left alone. The exit code is 0 if everything is the same to the bit, else 1.
    """
    from tunectl.cli.render import replay_view
    from tunectl.reports.summary import SCHEMA_VERSION
    from tunectl.running.replay import (
        check_ended,
        read_own_config,
        refuse_foreign_trial,
        replay_trial,
        stopping_epoch,
    )

    session = session_of(context)
    store, frozen, name = _find(context, n, study, storage)
    check_ended(frozen)
    directory = directory_of_trial(store, frozen, name)
    config = read_own_config(directory)
    refuse_foreign_trial(config, directory, store.tree.outputs_root)
    wanted = device or str(directory.read_info().get("device") or config.runtime.device)
    stop_at = stopping_epoch(frozen, directory)
    with _epochs_shown(session, f"trial {n}", stop_at or config.run.epochs) as on_epoch:
        result = replay_trial(
            frozen, name, config, directory, store.project, wanted, stop_at, on_epoch
        )
    if json:
        print_json({"schema_version": SCHEMA_VERSION, **result.to_document()})
    else:
        show(*replay_view(result))
    if not result.same:
        raise typer.Exit(1)


def release(
    context: typer.Context,
    n: NumberArgument,
    study: StudyOption = None,
    storage: StorageOption = None,
) -> None:
    """Say that nobody runs a trial any more, so that the next tune takes it up.

    For a worker on a machine that is gone, whose end cannot be seen from here.

    A trial that is seen to run is left alone.
    """
    from tunectl.studies.claim_lock import claim_lock
    from tunectl.studies.recovery import release as release_trial
    from tunectl.studies.storage import storage_errors

    store, frozen, name = _find(context, n, study, storage)
    loaded = load_chosen(store, name)
    lock = claim_lock(store.url, name, store.tree.study(name))
    with storage_errors(store.url), lock():
        standing = release_trial(loaded, frozen.number, store.project)
    done = "is interrupted" if standing.is_interrupted else "is released"
    emit(f"trial {n} of study {name} {done}: whoever runs the study next takes it up\n")


@contextmanager
def _epochs_shown(
    session: Session, what: str, epochs: int | None
) -> Iterator[Callable[[int], None]]:
    """Show how many epochs are done, on a terminal only."""
    console = stderr()
    if session.quiet or not console.is_terminal or console.is_dumb_terminal:
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TextColumn("epochs"), console=console, transient=True) as progress:
        task = progress.add_task(what, total=epochs)
        yield lambda epoch: progress.update(task, completed=epoch)


def _find(
    context: typer.Context, n: int, study: str | None, storage: str | None
) -> tuple[Store, FrozenTrial, str]:
    store = open_store(session_of(context), storage)
    loaded = load_chosen(store, study)
    return store, find_trial(loaded, n), loaded.study_name
