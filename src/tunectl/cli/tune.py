"""`tune`, and what `study resume` shares with it: run trials, show them, say how it ended."""

from __future__ import annotations

import math
import shlex
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunectl.cli.mirror import mirror_view, mirroring, say_how_far
from tunectl.cli.mismatch import open_or_ask
from tunectl.cli.options import (
    ConfigOption,
    DeviceOption,
    Mismatch,
    NTrialsOption,
    OnMismatchOption,
    OptunaParamsOption,
    OverridesArgument,
    ParamsOption,
    StorageOption,
    TimeoutOption,
    UntilOption,
    WorkersOption,
    flag,
    option,
    workers_of,
)
from tunectl.cli.output import show, stderr
from tunectl.cli.session import (
    Session,
    Store,
    command_for,
    load_settings,
    open_store,
    session_of,
)
from tunectl.cli.signals import StopRequest, Terminated, stopping_gently
from tunectl.errors import ConfigError, DataError, Problem, TunectlError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    import optuna
    from rich.console import Console

    from tunectl.config.load import Loaded
    from tunectl.config.schema import Settings
    from tunectl.reports.summary import StudySummary
    from tunectl.running.coordinator import RunReport
    from tunectl.running.events import Observer
    from tunectl.running.executors.base import Executor
    from tunectl.running.launch import Findings
    from tunectl.running.mirroring import MirrorEnd, MirrorProcess
    from tunectl.studies.budget import Budget


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(tune)


def tune(
    context: typer.Context,
    overrides: OverridesArgument = None,
    n_trials: NTrialsOption = None,
    until: UntilOption = None,
    timeout: TimeoutOption = None,
    study: Annotated[
        str | None, option("--study", metavar="NAME", help="The study, instead of study.name.")
    ] = None,
    storage: StorageOption = None,
    workers: WorkersOption = None,
    seed: Annotated[
        int | None,
        option("--seed", metavar="N", min=0, help="The sampler's seed, instead of study.seed."),
    ] = None,
    device: DeviceOption = None,
    fresh: Annotated[
        bool,
        flag(
            "--fresh",
            also=("OPTUNA_DELETE_STUDY",),
            help="Delete the stored study first; trial directories stay.",
        ),
    ] = False,
    on_mismatch: OnMismatchOption = Mismatch.ask,
    params: ParamsOption = None,
    config: ConfigOption = None,
    optuna_params: OptunaParamsOption = None,
) -> None:
    """Run a study: create it if there is none, else continue it.

    Without --n-trials and --until it runs until the study has study.n_trials finished trials.
    """
    from tunectl.running.launch import check_machine
    from tunectl.running.opening import remove_old_study
    from tunectl.studies.budget import is_met
    from tunectl.studies.storage import storage_errors

    session = session_of(context)
    loaded = load_settings(
        session,
        overrides=overrides or (),
        config=config,
        params=params,
        optuna_params=optuna_params,
        options={
            "study.name": study,
            "study.seed": seed,
            "storage.url": storage,
            "runtime.device": device,
            "runtime.workers": workers_of(workers),
        },
    )
    budget = budget_of(loaded.settings, n_trials, until)
    refuse_problems(session, loaded)
    store = open_store(session, None, loaded.settings)
    wanted = loaded.settings.search.study.name
    with storage_errors(store.url):
        has_all = not fresh and is_met(store.storage, wanted, budget)
    if not has_all:  # a call that runs nothing, as cron makes them, needs no PyTorch
        check_machine(loaded.settings, store.tree)
    if fresh:
        remove_old_study(loaded.settings, store.url, store.tree)
    opened, settings = open_or_ask(loaded.settings, store.url, on_mismatch)
    limit_s = timeout if timeout is not None else settings.search.study.timeout
    run_and_report(session, store, opened, settings, budget, limit_s)


def budget_of(settings: Settings, n_trials: int | None, until: int | None) -> Budget:
    """Return the budget that the options mean; without any, the study's own.

    Raises:
        UsageError: both were given.
    """
    from tunectl.studies.budget import Budget

    if n_trials is not None and until is not None:
        raise UsageError("--n-trials and --until exclude each other")
    if n_trials is not None:
        return Budget(n_trials=n_trials)
    return Budget(until=until if until is not None else settings.search.study.n_trials)


def refuse_problems(session: Session, loaded: Loaded) -> None:
    """Make sure that configuration and data are good before anything is stored.

    Raises:
        ConfigError, DataError: with every problem, each with its file and line.
    """
    from rich.text import Text

    from tunectl.running.launch import examine

    findings = examine(loaded.settings, session.project)
    for warning in () if session.quiet else findings.warnings:
        stderr().print(Text(f"warning: {loaded.place(warning)}", style="yellow"), soft_wrap=True)
    _refuse(findings, loaded.place)


def refuse_stored_problems(session: Session, settings: Settings) -> None:
    """Make sure that what is stored with a study still is good, before a trial is asked for.

    Raises:
        ConfigError, DataError: with every problem.
    """
    from tunectl.running.launch import examine

    _refuse(examine(settings, session.project), lambda problem: problem)


def _refuse(findings: Findings, place: Callable[[Problem], Problem]) -> None:
    if findings.config:
        raise ConfigError([place(one) for one in (*findings.config, *findings.data)])
    if findings.data:
        raise DataError([place(one) for one in findings.data])


def run_and_report(
    session: Session,
    store: Store,
    study: optuna.Study,
    settings: Settings,
    budget: Budget,
    timeout_s: float | None,
) -> None:
    """Run trials, keep summaries and links up to date, and say how it ended.

    Raises: as `run_trials`.
    """
    summary, mirrored = run_trials(session, store, study, settings, budget, timeout_s)
    _show_end(session, store, summary, mirrored)


def run_trials(
    session: Session,
    store: Store,
    study: optuna.Study,
    settings: Settings,
    budget: Budget,
    timeout_s: float | None,
) -> tuple[StudySummary, MirrorEnd | None]:
    """Run trials and keep summaries, links and MLflow up to date.

    Returns:
        The study at a glance, and how far MLflow got; None where it is not wanted.

    Raises:
        typer.Exit: 130 or 143 when told to stop.
        NoTrialSucceededError: every trial failed.
    """
    from tunectl.cli.progress import follow
    from tunectl.reports.projections import refresh
    from tunectl.running.coordinator import run_study
    from tunectl.running.launch import furnish
    from tunectl.running.outlook import Outlook
    from tunectl.studies.storage import storage_errors

    if timeout_s is not None and not timeout_s >= 0:
        raise UsageError(f"--timeout takes seconds, not {timeout_s}")
    outlook = Outlook(study, budget, store.url)
    console = stderr()
    display, shown = follow(
        console,
        outlook,
        quiet=session.quiet,
        command=partial(command_for, session, store),
        verbosity=session.verbosity,
    )
    deadline_s = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
    observers: list[Observer] = [outlook, shown, _on_disk(store, study)]
    with mirroring(store, settings) as mirror:
        observers += [mirror] if mirror else []
        try:
            with stopping_gently(partial(_say_it_stops, session, console)) as told, display:
                is_over = partial(_is_over, told, deadline_s)
                executor, settings = _staff(store, study, settings, budget, is_over)
                place = furnish(study, settings, store.tree, store.url, observers, told)
                report = run_study(place, budget, deadline_s - time.monotonic(), executor)
        except BaseException as end:
            _end_early(session, store, study, mirror, end)
            raise
        with storage_errors(store.url):
            summary = refresh(study, store.tree, store.shown_url)
        mirrored = mirror.finish(in_a_hurry=told()) if mirror else None
    summary = _with_runs(store, summary, mirrored)
    say_how_far(session, store, mirrored, study.study_name)
    if told():
        _say_how_to_go_on(session, store, study.study_name)
        raise typer.Exit(told.exit_code)
    _say_why_it_ended(session, report)
    return summary, mirrored


def _staff(
    store: Store,
    study: optuna.Study,
    settings: Settings,
    budget: Budget,
    is_over: Callable[[], bool],
) -> tuple[Executor, Settings]:
    """Return what runs the trials, as `running.staffing.staff` does; see there.

    A call that runs none, such as cron makes many, needs no PyTorch to see how many workers pay.
    """
    from tunectl.running.executors.inline import Inline
    from tunectl.running.launch import check_device
    from tunectl.running.staffing import staff
    from tunectl.studies.budget import planned_trials
    from tunectl.studies.storage import storage_errors

    with storage_errors(store.url):
        planned = planned_trials(study, budget)
    if not planned:
        return Inline(), settings
    check_device(settings)
    return staff(settings, store.tree, is_over)


def _is_over(told: StopRequest, deadline_s: float) -> bool:
    return told() or time.monotonic() >= deadline_s


def _say_it_stops(session: Session, console: Console) -> None:
    if not session.quiet:
        text = "stopping after the batch or step under way; Ctrl-C once more ends at once"
        console.print(text, markup=False, soft_wrap=True)


def _on_disk(store: Store, study: optuna.Study) -> Observer:
    """Return an observer that keeps the summary files and links true."""
    from tunectl.reports.projections import Keeper
    from tunectl.running.events import Event, TrialEnded

    keeper = Keeper(study, store.tree, store.shown_url)

    def observe(event: Event) -> None:
        if isinstance(event, TrialEnded):
            keeper.note_change()
        keeper.catch_up()

    return observe


def _end_early(
    session: Session,
    store: Store,
    study: optuna.Study,
    mirror: MirrorProcess | None,
    end: BaseException,
) -> None:
    """Leave everything true after an error or a second signal.

    Raises:
        typer.Exit: it was a signal, so there is nothing more to say.
    """
    from tunectl.reports.projections import refresh

    with suppress(Exception):  # what ended it is what the user must read
        refresh(study, store.tree, store.shown_url)
    if isinstance(end, KeyboardInterrupt | Terminated):
        _say_how_to_go_on(session, store, study.study_name)
        raise typer.Exit(end.exit_code if isinstance(end, Terminated) else 130) from None
    if mirror and isinstance(end, TunectlError):
        say_how_far(session, store, mirror.finish(in_a_hurry=True), study.study_name)


def _with_runs(store: Store, summary: StudySummary, mirrored: MirrorEnd | None) -> StudySummary:
    """Write the summaries once more if the best trial's run became known after its end."""
    from tunectl.reports.projections import refresh
    from tunectl.studies.lifecycle import load_study
    from tunectl.studies.storage import open_storage

    known = mirrored.report.best_run_id if mirrored and mirrored.report else None
    if known is None or summary.best is None or summary.best.mlflow_run_id == known:
        return summary
    read_anew = load_study(open_storage(store.url, create=False), summary.name)
    return refresh(read_anew, store.tree, store.shown_url)


def _say_why_it_ended(session: Session, report: RunReport) -> None:
    """Name an end that is not the budget's."""
    from rich.text import Text

    if report.exhausted and not session.quiet:
        stderr().print(Text("every point of the search space has been visited"))
    if report.timed_out:
        stderr().print(Text("the time is over; the study can go on at any time"))


def _say_how_to_go_on(session: Session, store: Store, name: str) -> None:
    from rich.text import Text

    again = command_for(session, store, f"study resume {shlex.quote(name)}")
    text = f"stopped; everything is saved. Go on with: {again}"
    stderr().print(Text(text), soft_wrap=True)


def _show_end(
    session: Session, store: Store, summary: StudySummary, mirrored: MirrorEnd | None
) -> None:
    """Print the best trial, its targets, and what to type next."""
    from rich.text import Text

    from tunectl.cli.render import best_view, front_view, nothing_complete, states_text, test_table
    from tunectl.reports.summary import read_trial_files

    head = Text(f"study {summary.name}: ") + states_text(summary.states)
    if summary.best is None:
        show(head, *mirror_view(mirrored), Text(nothing_complete(summary), style="dim"))
        return
    views: list[Any] = [head, Text(""), *front_view(summary), *best_view(summary.best, summary)]
    metrics = read_trial_files(summary.best, store.project).metrics
    views += test_table(metrics)
    views += mirror_view(mirrored)
    if session.quiet:
        show(*views)
        return
    flag = f"--study {shlex.quote(summary.name)}"
    hints = {
        f"summary {flag}": "what the study has found so far",
        f"best --export {flag}": "the best one as a folder to give away",
        f"trial show {summary.best.number} {flag}": "everything about it",
    }
    commands = {command_for(session, store, text): why for text, why in hints.items()}
    width = max(map(len, commands))
    views += [Text(""), Text("next:", style="bold")]
    views += [Text(f"  {command:{width}}  # {why}") for command, why in commands.items()]
    show(*views)
