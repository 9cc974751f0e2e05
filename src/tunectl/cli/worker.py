"""`worker`: one process that runs trials and nothing else, for whatever starts it."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from tunectl.cli.completion import complete_study
from tunectl.cli.options import (
    DeviceOption,
    NTrialsOption,
    StorageOption,
    TimeoutOption,
    UntilOption,
    option,
)
from tunectl.cli.session import open_store, session_of, with_options
from tunectl.cli.signals import STOPPING, stopping_gently


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(worker)


def worker(
    context: typer.Context,
    study: Annotated[
        str,
        option(
            "--study",
            metavar="NAME",
            autocompletion=complete_study,
            help="The study, which is stored already.",
        ),
    ],
    n_trials: NTrialsOption = None,
    until: UntilOption = None,
    timeout: TimeoutOption = None,
    device: DeviceOption = None,
    storage: StorageOption = None,
    channel: Annotated[int | None, typer.Option("--channel", hidden=True)] = None,
) -> None:
    """Run trials of a stored study in this process, next to any number of others.

    It is what a batch queue or a container starts; `tune --workers N` starts the same.

    Without --n-trials and --until it runs until the study has study.n_trials finished trials.
    """
    if channel is not None:
        _serve(channel)
        return
    from tunectl.cli.mirror import todays_mlflow
    from tunectl.cli.tune import budget_of, refuse_stored_problems, run_trials
    from tunectl.running.launch import check_machine
    from tunectl.running.opening import reopen_study
    from tunectl.running.slots import threads_beside_others
    from tunectl.studies.budget import is_met
    from tunectl.studies.storage import storage_errors

    session = session_of(context)
    store = open_store(session, storage)
    opened, settings = reopen_study(study, store.url)
    options = {
        "runtime.workers": 1,
        "runtime.max_threads": threads_beside_others(settings),
        "runtime.device": device,
    }
    settings = with_options(todays_mlflow(store, settings), options)
    refuse_stored_problems(session, settings)
    budget = budget_of(settings, n_trials, until)
    with storage_errors(store.url):
        has_all = is_met(store.storage, opened.study_name, budget)
    if not has_all:
        check_machine(settings, store.tree)
    limit_s = timeout if timeout is not None else settings.search.study.timeout
    run_trials(session, store, opened, settings, budget, limit_s)


def _serve(channel: int) -> None:
    """Do what a coordinator says; it alone decides about Ctrl-C, which reaches this process too."""
    from tunectl.running.executors.member import serve

    with stopping_gently() as told:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        done = serve(channel, told)
    if not done:
        raise typer.Exit(told.exit_code)
