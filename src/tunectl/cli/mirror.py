"""`mlflow`: sync, link, ui; and what `tune` says of the mirror."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunectl.cli.options import JsonOption, StorageOption, StudyOption, option
from tunectl.cli.output import emit, print_json, show, stderr
from tunectl.cli.session import (
    Session,
    Store,
    command_for,
    load_chosen,
    open_store,
    session_of,
)
from tunectl.errors import NoCompletedTrialError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import optuna

    from tunectl.config.schema import Settings
    from tunectl.running.mirroring import MirrorEnd, MirrorProcess
    from tunectl.tracking.destination import Destination
    from tunectl.tracking.mirror import MirrorReport
    from tunectl.tracking.publish import Published
    from tunectl.tracking.registry import Registration

PortOption = Annotated[
    int, option("--port", metavar="PORT", min=1, max=65535, help="Of its page on 127.0.0.1.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to `mlflow`."""
    app.command()(sync)
    app.command()(link)
    app.command()(ui)


def sync(
    context: typer.Context,
    study: StudyOption = None,
    storage: StorageOption = None,
    json: JsonOption = False,
    channel: Annotated[int | None, typer.Option("--channel", hidden=True)] = None,
) -> None:
    """Bring MLflow up to date with a study, also an old one; a second time changes nothing."""
    from rich.text import Text

    from tunectl.cli.render import fields

    if channel is not None:
        _serve(channel)
        return
    session = session_of(context)
    store = open_store(session, storage)
    name = load_chosen(store, study).study_name
    destination = destination_of(store.project, name)
    report, published = bring_up_to_date(store, name, destination, destination.register_best)
    if json:
        print_json(_document(name, destination, report, published))
    else:
        count = f"{report.n_written} of {report.n_runs} runs brought up to date"
        show(Text(f"study {name} in {destination.shown_uri}: {count}"))
        show(fields(_rows(report, published)))
    report.check(destination)


def link(
    context: typer.Context,
    study: StudyOption = None,
    storage: StorageOption = None,
    port: PortOption = 5001,
) -> None:
    """Print the web addresses of a study's run and its best trial's."""
    from rich.text import Text

    from tunectl.tracking.destination import run_address

    session = session_of(context)
    store = open_store(session, storage)
    opened = load_chosen(store, study)
    destination = destination_of(store.project, opened.study_name)
    experiment_id, run_ids = _known_runs(store, opened, destination)
    if not destination.is_server and not session.quiet:
        hint = f"these work while this runs: tunectl mlflow ui --port {port}"
        stderr().print(Text(hint, style="dim"), soft_wrap=True)
    base = "" if destination.is_server else f"http://127.0.0.1:{port}"
    for run_id in run_ids:
        emit(f"{run_address(destination, experiment_id, run_id, base)}\n")


def ui(context: typer.Context, port: PortOption = 5001) -> None:
    """Show MLflow's web page of this project's studies, until Ctrl-C."""
    from rich.text import Text

    from tunectl.tracking.web import serve_page

    session = session_of(context)
    store = open_store(session, None)
    destination = destination_of(store.project, "")
    if destination.is_server:
        emit(f"{destination.web_address}\n")
        return
    address = f"http://127.0.0.1:{port}"
    if not session.quiet:
        stderr().print(Text(f"MLflow's page: {address} (Ctrl-C ends it)"), soft_wrap=True)
    code = serve_page(destination, port)
    if code:
        raise typer.Exit(code)


def destination_of(project: Path, study: str) -> Destination:
    """Return where config.yaml says that a study is mirrored to.

    Args:
        project: The project folder.
        study: The study's name.
    """
    from tunectl.artifacts.study_dir import ProjectTree
    from tunectl.config.quick import read_surroundings
    from tunectl.tracking.destination import find_destination

    surroundings = read_surroundings(project)
    return find_destination(surroundings.mlflow, ProjectTree.of(project, surroundings), study)


def bring_up_to_date(
    store: Store, name: str, destination: Destination, registering: bool
) -> tuple[MirrorReport, Published | None]:
    """Mirror a study, its best model included.

    Raises:
        TrackingError: MLflow cannot be reached, or refuses something.
    """
    import tempfile
    from pathlib import Path

    from tunectl.tracking.follower import open_mirror
    from tunectl.tracking.mirror import Session as MirrorSession
    from tunectl.tracking.publish import Publisher

    mirror = open_mirror(store.url, name, store.tree, destination, _summarise)
    session = MirrorSession(mirror)
    report = session.update(whole=True)
    with tempfile.TemporaryDirectory(prefix="tunectl-mlflow-") as folder:
        return report, Publisher(Path(folder)).publish(session, registering=registering)


def register_best(store: Store, study: str) -> Published:
    """Register the best trial's model, after bringing MLflow up to date.

    Raises:
        NoCompletedTrialError: there is no trial with a model.
        TrackingError: MLflow cannot be reached, or refuses something.
    """
    destination = destination_of(store.project, study)
    report, published = bring_up_to_date(store, study, destination, True)
    if published is None:
        report.check(destination)
        raise NoCompletedTrialError(f"the best trial of study {study!r} left no model to register")
    return published


@contextmanager
def mirroring(store: Store, settings: Settings) -> Iterator[MirrorProcess | None]:
    """Let a process of its own mirror the study while the block runs its trials.

    Yields:
        The process, None where nothing is to be mirrored.
    """
    if not settings.surroundings.mlflow.enabled:
        yield None
        return
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from tunectl.running.mirroring import MirrorProcess
    from tunectl.tracking.destination import find_destination
    from tunectl.tracking.follower import Follow

    name = settings.search.study.name
    with TemporaryDirectory(prefix="tunectl-mlflow-", ignore_cleanup_errors=True) as folder:
        order = Follow(
            tree=store.tree,
            storage_url=store.url,
            study=name,
            destination=find_destination(settings.surroundings.mlflow, store.tree, name),
            folder=Path(folder),
        )
        process = MirrorProcess(order)
        try:
            yield process
        except BaseException:
            process.release()
            raise
        finally:
            process.close()


def todays_mlflow(store: Store, settings: Settings) -> Settings:
    """Return stored settings with what today's config.yaml says of MLflow, if there is one."""
    from tunectl.config.quick import read_surroundings

    if not (store.project / "config.yaml").exists():
        return settings
    mlflow = read_surroundings(store.project).mlflow
    surroundings = settings.surroundings.model_copy(update={"mlflow": mlflow})
    return settings.model_copy(update={"surroundings": surroundings})


def say_how_far(session: Session, store: Store, end: MirrorEnd | None, name: str) -> None:
    """Say if MLflow is behind, and what to do about it."""
    from rich.text import Text

    if end is not None and not end.is_complete and not session.quiet:
        later = command_for(session, store, f"mlflow sync --study {shlex.quote(name)}")
        text = f"MLflow is not up to date; later: {later}"
        stderr().print(Text(text, style="yellow"), soft_wrap=True)


def mirror_view(end: MirrorEnd | None) -> list[Any]:
    """Return what `tune` shows of the mirror in the end."""
    from rich.text import Text

    from tunectl.cli.render import fields

    if end is None or end.report is None:
        return []
    report = end.report
    if not end.is_complete:  # another trial may be the best one by now
        report = replace(report, best_run_id=None)
    return [Text(""), Text("in MLflow:", style="bold"), fields(_rows(report, end.published))]


def _summarise(study: optuna.Study, project: Path) -> Mapping[str, Any]:
    from tunectl.reports.summary import summarise

    return summarise(study, "", project).to_file_document()


def _serve(channel: int) -> None:
    """Mirror for a coordinator; it alone decides about signals, which reach this process too."""
    import signal

    from tunectl.cli.signals import STOPPING
    from tunectl.tracking.follower import follow

    for number in STOPPING:  # without a coordinator it ends by itself
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    follow(channel, _summarise)


def _known_runs(
    store: Store, study: optuna.Study, destination: Destination
) -> tuple[str, list[str]]:
    """Return the experiment of a study and the ids of its run and its best trial's.

    Raises:
        NotFoundError: it was never mirrored to where it would be mirrored today.
    """
    from tunectl.studies.ranking import best_trial
    from tunectl.tracking.memory import recall, recall_run

    memory, best = recall(study), best_trial(study)
    is_there = memory is not None and memory.uri == destination.shown_uri
    if memory is None or not is_there or not memory.experiment_id or not memory.parent_run_id:
        name = study.study_name
        raise NotFoundError(
            f"study {name!r} is not in MLflow at {destination.shown_uri} yet; "
            f"bring it there with: tunectl mlflow sync --study {shlex.quote(name)}"
        )
    assert store.storage is not None
    best_run_id = recall_run(store.storage, best) if best else None
    return memory.experiment_id, [one for one in (memory.parent_run_id, best_run_id) if one]


def _rows(report: MirrorReport, published: Published | None) -> dict[str, Any]:
    rows: dict[str, Any] = {"  study's run": report.parent_run_id}
    if report.best_run_id is not None:
        rows["  best trial's run"] = report.best_run_id
    if published is not None:
        rows["  best model"] = published.model.uri
    if published is not None and published.registration is not None:
        champion = published.registration
        news = "new" if champion.is_new else "as before"
        rows["  champion"] = f"{champion.uri} (version {champion.version}, {news})"
    return rows


def _document(
    name: str, destination: Destination, report: MirrorReport, published: Published | None
) -> dict[str, Any]:
    champion = published.registration if published else None
    return {
        "schema_version": 1,
        "study": name,
        "tracking_uri": destination.shown_uri,
        "experiment": destination.experiment,
        "experiment_id": report.experiment_id,
        "run_id": report.parent_run_id,
        "best_run_id": report.best_run_id,
        "n_runs": report.n_runs,
        "n_written": report.n_written,
        "model_uri": published.model.uri if published else None,
        "champion": registration_document(champion) if champion else None,
    }


def registration_document(champion: Registration) -> dict[str, Any]:
    """Return what JSON says of a champion."""
    return {
        "uri": champion.uri,
        "name": champion.name,
        "version": champion.version,
        "is_new": champion.is_new,
    }
