"""`study`: create, resume, list, show, delete."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tunectl.cli.glance import overviews_of
from tunectl.cli.options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    Mismatch,
    NTrialsOption,
    OnMismatchOption,
    OptunaParamsOption,
    OverridesArgument,
    ParamsOption,
    StorageOption,
    StoredStudyArgument,
    StudyArgument,
    TimeoutOption,
    UntilOption,
    WorkersOption,
    flag,
    workers_of,
)
from tunectl.cli.output import emit, print_json, show
from tunectl.cli.session import (
    choose_study,
    find_store,
    load_chosen,
    load_settings,
    name_and_overrides,
    open_store,
    session_of,
    with_options,
)
from tunectl.errors import StorageError, UsageError


def register(app: typer.Typer) -> None:
    """Add the commands to `study`."""
    app.command()(create)
    app.command()(resume)
    app.command()(delete)
    app.command("list")(list_studies)
    app.command("show")(show_study)


def create(
    context: typer.Context,
    name: StudyArgument = None,
    overrides: OverridesArgument = None,
    exist_ok: Annotated[
        bool, flag("--exist-ok", help="An existing study that fits is no error.")
    ] = False,
    on_mismatch: OnMismatchOption = Mismatch.ask,
    storage: StorageOption = None,
    params: ParamsOption = None,
    config: ConfigOption = None,
    optuna_params: OptunaParamsOption = None,
) -> None:
    """Create a study in the database, without running a trial."""
    from tunectl.cli.mismatch import open_or_ask
    from tunectl.cli.tune import refuse_problems
    from tunectl.running.opening import make_study

    session = session_of(context)
    name, given = name_and_overrides(name, overrides)
    loaded = load_settings(
        session,
        overrides=given,
        config=config,
        params=params,
        optuna_params=optuna_params,
        options={"study.name": name, "storage.url": storage},
    )
    refuse_problems(session, loaded)
    store = open_store(session, None, loaded.settings)
    if exist_ok:
        opened, _ = open_or_ask(loaded.settings, store.url, on_mismatch)
    else:
        opened = make_study(loaded.settings, store.url)
    emit(f"{opened.study_name}\n")


def resume(
    context: typer.Context,
    name: StudyArgument = None,
    n_trials: NTrialsOption = None,
    until: UntilOption = None,
    timeout: TimeoutOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = None,
    storage: StorageOption = None,
) -> None:
    """Take up an existing study from its stored configuration; no YAML file is needed."""
    from tunectl.cli.mirror import todays_mlflow
    from tunectl.cli.tune import budget_of, refuse_stored_problems, run_and_report
    from tunectl.running.launch import check_machine
    from tunectl.running.opening import reopen_study
    from tunectl.studies.budget import is_met
    from tunectl.studies.storage import storage_errors

    session = session_of(context)
    store = open_store(session, storage)
    study, settings = reopen_study(choose_study(store, name), store.url)
    settings = with_options(
        todays_mlflow(store, settings),
        {"runtime.workers": workers_of(workers), "runtime.device": device},
    )
    refuse_stored_problems(session, settings)
    budget = budget_of(settings, n_trials, until)
    with storage_errors(store.url):
        has_all = is_met(store.storage, study.study_name, budget)
    if not has_all:
        check_machine(settings, store.tree)
    limit_s = timeout if timeout is not None else settings.search.study.timeout
    run_and_report(session, store, study, settings, budget, limit_s)


def delete(
    context: typer.Context,
    name: StoredStudyArgument,
    yes: Annotated[bool, flag("--yes", "-y", help="Do not ask.")] = False,
    artifacts: Annotated[
        bool, flag("--artifacts", help="Delete its trial directories as well.")
    ] = False,
    storage: StorageOption = None,
) -> None:
    """Delete a study from the database."""
    from tunectl.studies.removal import remove_study

    store = open_store(session_of(context), storage)
    study = load_chosen(store, name)
    count = len(study.get_trials(deepcopy=False))
    what = f"study {name} with {count} trials" + (" and their directories" if artifacts else "")
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"would delete {what}; without a terminal this needs --yes")
        typer.confirm(f"Delete {what}?", abort=True, err=True)
    assert store.storage is not None
    removed = remove_study(store.storage, store.url, study, store.tree, artifacts=artifacts)
    kept = f", {removed} trial directories" if artifacts else ""
    emit(f"deleted study {name} with {count} trials{kept}\n")


def list_studies(
    context: typer.Context, storage: StorageOption = None, json: JsonOption = False
) -> None:
    """List all studies."""
    from tunectl.reports.summary import overview_document

    store = find_store(session_of(context), storage)
    studies = overviews_of(store)
    if studies is None and storage is not None:
        raise StorageError(f"there is no database {store.shown_url}")
    if json:
        print_json(overview_document(studies or ()))
        return
    from rich.text import Text

    from tunectl.cli.render import overview_table

    if studies:
        show(overview_table(studies))
    else:
        show(Text(f"no study in {store.shown_url}", style="dim"))


def show_study(
    context: typer.Context,
    name: StudyArgument = None,
    storage: StorageOption = None,
    json: JsonOption = False,
) -> None:
    """Show one study in full: budget, states, configuration, search space."""
    from rich.text import Text

    from tunectl.artifacts.atomic import to_yaml
    from tunectl.cli.render import fields, states_text
    from tunectl.reports.summary import StudyDetails, detail
    from tunectl.search.space import SearchSpace, describe

    store = open_store(session_of(context), storage)
    details: StudyDetails = detail(load_chosen(store, name), store.shown_url, store.project)
    if json:
        print_json(details.to_document())
        return
    summary, settings = details.summary, details.settings
    head = {
        "study": summary.name,
        "optimises": summary.goal,
        "storage": summary.storage,
        "created": summary.created_at or "unknown",
        "trials": states_text(summary.states),
    }
    if settings is None:
        show(fields(head), Text("made by another program: no stored configuration", style="dim"))
        return
    wanted = settings.search.study
    head["budget"] = f"{wanted.n_trials} finished trials"
    head["sampler"] = f"{wanted.sampler.name} (seed {wanted.seed})"
    head["pruner"] = wanted.pruner.name
    space = SearchSpace(settings.search.params_to_tune)
    rows = {f"  {key}": describe(space.specs[key]) for key in space.order}
    show(fields(head), Text("\nsearch space", style="bold"), fields(rows))
    show(Text("\nconfiguration", style="bold"))
    emit(to_yaml(settings.run.model_dump(mode="json")))
