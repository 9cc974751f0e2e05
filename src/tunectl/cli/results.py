"""`summary` and `best`: what a study found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunectl.cli.glance import summarise_chosen
from tunectl.cli.options import JsonOption, StorageOption, StudyOption, flag, option
from tunectl.cli.output import emit, print_json, show, stderr, stdout
from tunectl.cli.session import (
    Store,
    find_store,
    insights_of,
    load_chosen,
    open_found,
    open_store,
    session_of,
)
from tunectl.errors import NoCompletedTrialError, UsageError

if TYPE_CHECKING:
    import optuna

    from tunectl.reports.summary import StudySummary, TrialSummary


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(summary)
    app.command()(best)


def summary(
    context: typer.Context,
    study: StudyOption = None,
    storage: StorageOption = None,
    json: JsonOption = False,
    csv: Annotated[bool, flag("--csv", help="Print the trials as CSV.")] = False,
    top: Annotated[
        int | None, option("--top", metavar="K", min=1, help="Only the K best completed trials.")
    ] = None,
    watch: Annotated[
        bool, flag("--watch", help="Show it until Ctrl-C; not with --json, --csv.")
    ] = False,
    interval: Annotated[
        float | None,
        option(
            "--interval",
            metavar="SECONDS",
            min=0.1,
            help="How often --watch looks.",
            show_default="2",
        ),
    ] = None,
) -> None:
    """Show the study at a glance: its best trial, the last ones, and what it has taught so far."""
    if json and csv:
        raise UsageError("--json and --csv exclude each other")
    if interval is not None and not watch:
        raise UsageError("--interval goes with --watch")
    if watch:
        if json or csv:
            raise UsageError("--watch excludes --json and --csv")
        _watch(context, study, storage, interval, top)
        return
    if json or csv:
        _, found = summarise_chosen(session_of(context), storage, study)
        trials = found.trials if top is None else found.top(top)
        if json:
            print_json(found.to_document(trials))
        else:
            emit(found.to_csv(trials))
    else:
        _show_summary(*_summarise(context, study, storage), top)


def best(
    context: typer.Context,
    study: StudyOption = None,
    storage: StorageOption = None,
    json: JsonOption = False,
    params: Annotated[
        bool, flag("--params", help="Print only its parameters, as YAML for params.yaml.")
    ] = False,
    export: Annotated[
        bool, flag("--export", help="Write it as a bundle to give away, and print the path.")
    ] = False,
    to: Annotated[
        Path | None,
        option(
            "--to",
            metavar="PATH",
            help="Where --export writes: a folder, or a .zip file.",
            show_default="best/",
        ),
    ] = None,
    register: Annotated[
        bool, flag("--register", help="Register its model in MLflow if it beats the champion.")
    ] = False,
) -> None:
    """Show the best trial; --export writes its model, scaling, parameters and figures."""
    if to is not None and not export:
        raise UsageError("--to goes with --export")
    if params + export + register > 1:
        raise UsageError("--params, --export and --register exclude each other")
    store, found = summarise_chosen(session_of(context), storage, study)
    if found.best is None:
        raise NoCompletedTrialError(f"study {found.name!r} has no completed trial yet")
    if export:
        _export(context, store, found, store.project / (to or "best"), json)
    elif register:
        _register(store, found.name, json)
    elif params:
        _print_params(found.best, json)
    elif json:
        print_json(_best_document(store, found, found.best))
    else:
        from tunectl.cli.render import best_view, front_view

        show(*front_view(found), *best_view(found.best, found))


def _summarise(
    context: typer.Context, study: str | None, storage: str | None
) -> tuple[Store, optuna.Study, StudySummary]:
    from tunectl.reports.summary import summarise
    from tunectl.studies.storage import storage_errors

    store = open_store(session_of(context), storage)
    with storage_errors(store.url):
        loaded = load_chosen(store, study)
        return store, loaded, summarise(loaded, store.shown_url, store.project)


def _show_summary(store: Store, study: optuna.Study, found: StudySummary, top: int | None) -> None:
    from tunectl.cli.summary_view import summary_view

    ascii_only = stdout().options.ascii_only
    trials = None if top is None else found.top(top)
    show(*summary_view(found, insights_of(store, study), trials, ascii_only=ascii_only))


def _watch(
    context: typer.Context,
    study: str | None,
    storage: str | None,
    interval: float | None,
    top: int | None,
) -> None:
    from tunectl.cli.watch import EVERY_S, PATIENCE_S, watch
    from tunectl.studies.changes import impatient

    session = session_of(context)
    url = find_store(session, storage).url

    def reopen() -> Store:
        return replace(open_store(session, impatient(url, PATIENCE_S)), url=url)

    watch(reopen, study, EVERY_S if interval is None else interval, top)


def _best_document(store: Store, found: StudySummary, best: TrialSummary) -> dict[str, Any]:
    from tunectl.reports.summary import SCHEMA_VERSION, read_trial_files

    metrics = read_trial_files(best, store.project).metrics or dict(best.metrics)
    return {
        "schema_version": SCHEMA_VERSION,
        **best.to_best(),
        "mlflow_parent_run_id": found.mlflow_run_id,
        "metrics": metrics,
        "study": found.study_document(),
    }


def _print_params(best: TrialSummary, json: bool) -> None:
    from tunectl.artifacts.atomic import to_yaml
    from tunectl.reports.summary import SCHEMA_VERSION, nested

    if json:
        print_json({"schema_version": SCHEMA_VERSION, "params": dict(best.params)})
    else:
        emit(to_yaml(nested(best.params)))


def _export(
    context: typer.Context, store: Store, found: StudySummary, target: Path, json: bool
) -> None:
    from tunectl.reports.export import export_best
    from tunectl.reports.summary import SCHEMA_VERSION
    from tunectl.studies.lifecycle import stored_settings

    assert found.best is not None
    settings = stored_settings(load_chosen(open_found(store), found.name))
    export = export_best(found, found.best, settings, store.project, target)
    if not session_of(context).quiet:
        for note in export.notes:
            stderr().print(f"note: {note}", markup=False, soft_wrap=True)
    if json:
        print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "path": str(export.path),
                "onnx": export.has_onnx,
                "notes": list(export.notes),
            }
        )
    else:
        emit(f"{export.path}\n")


def _register(store: Store, name: str, json: bool) -> None:
    from tunectl.cli.mirror import register_best, registration_document
    from tunectl.reports.summary import SCHEMA_VERSION

    champion = register_best(store, name).registration
    assert champion is not None
    if json:
        print_json({"schema_version": SCHEMA_VERSION, **registration_document(champion)})
    else:
        emit(f"{champion.uri}\n")
