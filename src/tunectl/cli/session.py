"""What a command works on: the project folder, its files, its database and the study meant.

It parses nothing and prints nothing; it turns options into objects of the rooms below.
"""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tunectl.cli.logs import set_up_logging
from tunectl.config.database import sqlite_path_of
from tunectl.errors import ConfigError, Problem, StudyNotFoundError, TrialNotFoundError, UsageError

if TYPE_CHECKING:
    import optuna
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

    from tunectl.artifacts.study_dir import ProjectTree
    from tunectl.artifacts.trial_dir import TrialDir
    from tunectl.config.load import Loaded
    from tunectl.config.schema import Settings, Surroundings
    from tunectl.config.section import Section
    from tunectl.reports.insights import Insights

# Who claims a trial meanwhile may take longer; whether trials are interrupted is not looked for.
CLAIMS_PATIENCE_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Session:
    """What the global options say.

    Args:
        project: Absolute path of the project folder.
        verbosity: How often -v was given.
        quiet: Whether only results and errors are printed.
    """

    project: Path
    verbosity: int = 0
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class Store:
    """A project's database and where the project keeps its files.

    Args:
        project: Absolute path of the project folder.
        tree: Where things are written.
        url: The database's URL.
        storage: The database, None where it is a file that is not there yet.
        device: The device that the configuration asks for.
    """

    project: Path
    tree: ProjectTree
    url: str
    storage: RDBStorage | None
    device: str = "auto"

    @property
    def shown_url(self) -> str:
        """The URL without a password, and relative to the project where it is a file in it."""
        path = sqlite_path_of(self.url)
        if path is None:
            from tunectl.studies.storage import sqlite_path

            path = sqlite_path(self.url)
        project = self.project.resolve()
        if path is not None and path.resolve().is_relative_to(project):
            return f"sqlite:///{path.resolve().relative_to(project)}"
        from tunectl.studies.storage import shown_url

        return shown_url(self.url)


def session_of(context: typer.Context) -> Session:
    """Return what the global options said."""
    session = context.obj
    assert isinstance(session, Session)
    if not session.project.is_dir():
        raise UsageError(f"-C/--project: {session.project} is no folder")
    return session


def load_settings(
    session: Session,
    *,
    overrides: Sequence[str] = (),
    config: Path | None = None,
    params: Path | None = None,
    optuna_params: Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> Loaded:
    """Read the three files and what the command line says over them.

    Args:
        session: The session.
        overrides: Hydra overrides.
        config: Instead of config.yaml.
        params: Instead of params.yaml.
        optuna_params: Instead of optuna_params.yaml.
        options: Dotted key → value of an option; None where it was not given.

    Raises:
        ConfigError: with every problem at once.
    """
    from tunectl.config.load import Files, load

    given = {"config": config, "params": params, "optuna_params": optuna_params}
    files = Files(**{name: path for name, path in given.items() if path is not None})
    loaded = load(session.project, files=files, overrides=overrides)
    _apply_log_level(session, loaded.settings.surroundings)
    return dataclasses.replace(loaded, settings=with_options(loaded.settings, options or {}))


def name_and_overrides(
    name: str | None, overrides: Sequence[str] | None
) -> tuple[str | None, Sequence[str]]:
    """Tell a study's name from overrides where the name may be left out: no name has a `=`."""
    if name is not None and "=" in name:
        return None, [name, *(overrides or ())]
    return name, overrides or ()


def open_store(session: Session, storage: str | None, settings: Settings | None = None) -> Store:
    """Open the project's database for reading.

    Args:
        session: The session.
        storage: URL from the command line, None for the configured one.
        settings: What the user wrote where it was read already.
    """
    return open_found(find_store(session, storage, settings))


def open_found(store: Store) -> Store:
    """Open a database that was found. See `open_store`."""
    from tunectl.studies.storage import open_storage

    return dataclasses.replace(store, storage=open_storage(store.url, create=False))


def find_store(session: Session, storage: str | None, settings: Settings | None = None) -> Store:
    """Return where the project's database is, without opening it; see `open_store`."""
    from tunectl.artifacts.study_dir import ProjectTree
    from tunectl.config.quick import read_surroundings

    surroundings = settings.surroundings if settings else read_surroundings(session.project)
    _apply_log_level(session, surroundings)
    if storage is not None:
        update = surroundings.storage.model_copy(update={"url": storage})
        surroundings = surroundings.model_copy(update={"storage": update})
    return Store(
        project=session.project,
        tree=ProjectTree.of(session.project, surroundings),
        url=surroundings.database_url(session.project),
        storage=None,
        device=surroundings.runtime.device,
    )


def command_for(session: Session, store: Store, text: str) -> str:
    """Return a command line that works on the same project and database as this one.

    Args:
        session: The session.
        store: The project's database.
        text: The command without the program's name.
    """
    from tunectl.config.quick import read_surroundings
    from tunectl.studies.storage import shown_url

    words = ["tunectl"]
    if session.project != Path.cwd():
        words += ["-C", shlex.quote(str(session.project))]
    words.append(text)
    if store.url != read_surroundings(session.project).database_url(session.project):
        words += ["--storage", shlex.quote(shown_url(store.url))]
    return " ".join(words)


def choose_study(store: Store, name: str | None) -> str:
    """Return the name of the study meant.

    Args:
        store: The project's database.
        name: From the command line; else that of optuna_params.yaml, else the only one there is.

    Raises:
        UsageError: several studies are stored and nothing says which.
        StudyNotFoundError: none is.
    """
    from tunectl.config.load import read_study_name
    from tunectl.studies.lifecycle import study_names
    from tunectl.studies.storage import storage_errors

    chosen = name if name is not None else read_study_name(store.project)
    if chosen is not None:
        return chosen
    with storage_errors(store.url):
        names = study_names(store.storage)
    if not names:
        raise StudyNotFoundError("there is no study yet; begin with: tunectl init")
    if len(names) > 1:
        raise UsageError(f"which study? Say --study NAME; there are: {', '.join(names)}")
    return names[0]


def load_chosen(store: Store, name: str | None) -> optuna.Study:
    """Load the study meant, for reading.

    Raises:
        StudyNotFoundError: there is none of that name.
    """
    from tunectl.studies.lifecycle import load_study
    from tunectl.studies.storage import storage_errors

    with storage_errors(store.url):
        return load_study(store.storage, choose_study(store, name))


def insights_of(store: Store, study: optuna.Study) -> Insights:
    """Return what a study has taught so far.

    Raises:
        StorageError: the database cannot be read.
    """
    from tunectl.reports.insights import look_into
    from tunectl.studies.claim_lock import claim_lock
    from tunectl.studies.storage import storage_errors

    folder = store.tree.study(study.study_name)
    # A file's lock has a patience; a server's is waited for until somebody says that it is enough.
    since_s = time.monotonic()
    claims = claim_lock(
        store.url,
        study.study_name,
        folder,
        CLAIMS_PATIENCE_S,
        told=lambda: time.monotonic() - since_s > CLAIMS_PATIENCE_S,
    )
    with storage_errors(store.url):
        return look_into(study, store.project, claims)


def find_trial(study: optuna.Study, number: int) -> FrozenTrial:
    """Return a trial of a study.

    Raises:
        TrialNotFoundError: it has no trial of that number.
    """
    trials = study.get_trials(deepcopy=False)
    if not 0 <= number < len(trials):
        there_are = f"it has 0 to {len(trials) - 1}" if trials else "it has none yet"
        raise TrialNotFoundError(f"study {study.study_name!r} has no trial {number}; {there_are}")
    return trials[number]


def directory_of_trial(store: Store, trial: FrozenTrial, study: str) -> TrialDir:
    """Return a trial's directory.

    Raises:
        TrialNotFoundError: it is gone.
    """
    from tunectl.studies.directories import directory_of

    directory = directory_of(trial, store.project)
    if directory is None:
        raise TrialNotFoundError(
            f"trial {trial.number} of study {study!r} has no directory any more"
        )
    return directory


ROOTS = {
    "paths": "surroundings",
    "storage": "surroundings",
    "runtime": "surroundings",
    "study": "search",
}


def with_options(settings: Settings, options: Mapping[str, Any]) -> Settings:
    """Put options over what files or a stored study say, validated like them.

    Args:
        settings: What they say.
        options: Dotted key → value of an option; None where it was not given.

    Raises:
        ConfigError: with every problem at once.
    """
    from tunectl.config.schema import Settings

    given = {key: value for key, value in options.items() if value is not None}
    if not given:
        return settings
    tree = settings.model_dump()
    problems: list[Problem] = []
    for key, value in given.items():
        section, leaf = key.split(".")
        tree[ROOTS[section]][section][leaf] = value
        model = type(getattr(getattr(settings, ROOTS[section]), section))
        problems += _problems_of(model, tree[ROOTS[section]][section], section)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return Settings.model_validate(tree)


def _problems_of(model: type[Section], values: Mapping[str, Any], section: str) -> list[Problem]:
    from pydantic import ValidationError

    from tunectl.config.wording import findings

    try:
        model.model_validate(dict(values))
    except ValidationError as error:
        return [
            Problem(key=f"{section}.{one.key}" if one.key else section, message=one.message)
            for one in findings(error, section)
        ]
    return []


def _apply_log_level(session: Session, surroundings: Surroundings) -> None:
    level = surroundings.logging.level
    set_up_logging(verbosity=session.verbosity, quiet=session.quiet, level=level)
