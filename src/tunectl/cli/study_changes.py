"""`study diff` and `study migrate`: a stored study and today's files."""

from __future__ import annotations

from typing import Annotated

import typer

from tunectl.cli.completion import complete_study
from tunectl.cli.options import (
    ConfigOption,
    JsonOption,
    OptunaParamsOption,
    OverridesArgument,
    ParamsOption,
    StorageOption,
    StudyArgument,
)
from tunectl.cli.output import emit, print_json, show, stderr
from tunectl.cli.session import (
    load_chosen,
    load_settings,
    name_and_overrides,
    open_store,
    session_of,
)
from tunectl.errors import SpaceMismatchError

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", autocompletion=complete_study, help="The stored study.")
]
NewArgument = Annotated[str, typer.Argument(metavar="NEW", help="The new study's name.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `study`."""
    app.command()(diff)
    app.command()(migrate)


def diff(
    context: typer.Context,
    name: StudyArgument = None,
    overrides: OverridesArgument = None,
    storage: StorageOption = None,
    json: JsonOption = False,
    params: ParamsOption = None,
    config: ConfigOption = None,
    optuna_params: OptunaParamsOption = None,
) -> None:
    """Compare a stored study with the files of today; exit 6 if it does not go on as it is."""
    from rich.text import Text

    from tunectl.cli.render import difference_table
    from tunectl.studies.differences import compare, misfits
    from tunectl.studies.lifecycle import stored_settings

    session = session_of(context)
    name, given = name_and_overrides(name, overrides)
    settings = load_settings(
        session,
        overrides=given,
        config=config,
        params=params,
        optuna_params=optuna_params,
        options={"storage.url": storage},
    ).settings
    study = load_chosen(open_store(session, None, settings), name)
    differences = compare(study, stored_settings(study), settings)
    fits = not misfits(differences)
    if json:
        print_json(
            {
                "schema_version": 1,
                "study": study.study_name,
                "fits": fits,
                "differences": [one.to_document() for one in differences],
            }
        )
    elif differences:
        show(difference_table(differences))
    else:
        show(Text(f"study {study.study_name} is as the files say"))
    raise typer.Exit(0 if fits else SpaceMismatchError.exit_code)


def migrate(
    context: typer.Context,
    name: NameArgument,
    new: NewArgument,
    overrides: OverridesArgument = None,
    storage: StorageOption = None,
    params: ParamsOption = None,
    config: ConfigOption = None,
    optuna_params: OptunaParamsOption = None,
) -> None:
    """Make a new study with today's search space and every old trial that fits it."""
    from rich.text import Text

    from tunectl.cli.tune import refuse_problems
    from tunectl.studies.migration import migrate_study
    from tunectl.studies.storage import storage_errors

    session = session_of(context)
    loaded = load_settings(
        session,
        overrides=overrides or (),
        config=config,
        params=params,
        optuna_params=optuna_params,
        options={"study.name": new, "storage.url": storage},
    )
    refuse_problems(session, loaded)
    store = open_store(session, None, loaded.settings)
    old = load_chosen(store, name)
    assert store.storage is not None
    with storage_errors(store.url):
        migration = migrate_study(store.storage, old, loaded.settings)
    for reason, count in sorted(migration.left.items()):
        stderr().print(Text(f"left behind, {count}: {reason}"), soft_wrap=True)
    total = migration.taken + sum(migration.left.values())
    emit(f"study {new}: {migration.taken} of {total} trials\n")
