"""Studies from birth to deletion, and the configuration stored with each.

It knows Optuna's studies and our `Settings`; it neither runs trials nor touches their folders.
"""

from __future__ import annotations

import datetime as dt
import json
import warnings
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.storages import RDBStorage
from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError

from tunectl import __version__
from tunectl.config.schema import Settings
from tunectl.errors import (
    SpaceMismatchError,
    StorageError,
    StudyExistsError,
    StudyNotFoundError,
    UsageError,
)
from tunectl.search.pruners import make_pruner
from tunectl.search.samplers import make_sampler
from tunectl.search.space import SearchSpace
from tunectl.studies.differences import Difference, Grade, compare, misfits
from tunectl.studies.ranking import (
    directions_of,
)
from tunectl.studies.records import ABOUT_ATTR
from tunectl.studies.tables import describe_study

SETTINGS_ATTR = "tunectl:settings"
FOREIGN_CODE_ATTR = "tunectl:foreign_code"
"""Set on an imported study as long as no file of this project has said what it runs."""
FIRST_SETTINGS_ATTR = "tunectl:first_settings"
"""Only with a study whose settings were changed since."""
FINGERPRINT_ATTR = "tunectl:space"


def create_study(storage: RDBStorage, settings: Settings) -> optuna.Study:
    """Create a study with its sampler, pruner, metric and configuration snapshot.

    Args:
        storage: The database.
        settings: What the user wrote; `search.study.name` names the study.

    Raises:
        StudyExistsError: a study of that name is stored already.
        ConfigError: the sampler or pruner cannot be made.
    """
    wanted = settings.search.study
    sampler, pruner = _components(settings)
    try:
        study = optuna.create_study(
            storage=storage,
            study_name=wanted.name,
            directions=wanted.directions,
            sampler=sampler,
            pruner=pruner,
        )
    except DuplicatedStudyError as error:
        raise StudyExistsError(f"study {wanted.name!r} exists already") from error
    described = {
        ABOUT_ATTR: _about(),
        SETTINGS_ATTR: _document(settings),
        FINGERPRINT_ATTR: _fingerprint(settings),
    }
    try:
        describe_study(storage, study._study_id, described, wanted.metric)
    except IntegrityError:  # where no lock can be kept, another process finishes what it finds
        _complete(study, settings)
    return study


def create_or_complete(storage: RDBStorage, settings: Settings) -> optuna.Study | None:
    """Create a study, or finish one whose creation was cut off; leave one that is there alone.

    Args:
        storage: The database.
        settings: What the user wrote; `search.study.name` names the study.

    Returns:
        The study, ready to run trials; None where it was there already.

    Raises:
        ConfigError: the sampler or pruner cannot be made.
    """
    if settings.search.study.name not in study_names(storage):
        try:
            return create_study(storage, settings)
        except StudyExistsError:
            pass  # another process was first
    study = load_study(storage, settings.search.study.name, settings)
    if not _is_begun_only(study, settings):
        return None
    _complete(study, settings)
    return study


def load_study(
    storage: RDBStorage | None, name: str, settings: Settings | None = None
) -> optuna.Study:
    """Load a study; with settings, also its sampler and pruner, ready to run trials.

    Raises:
        StudyNotFoundError: there is no study of that name; the message lists those there are.
        ConfigError: the sampler or pruner cannot be made.
    """
    names = study_names(storage)
    if storage is None or name not in names:
        there_are = f"there are: {', '.join(names)}" if names else "there is none yet"
        raise StudyNotFoundError(f"no study {name!r}; {there_are}")
    if settings is None:
        return optuna.load_study(study_name=name, storage=storage)
    sampler, pruner = _components(settings)
    return optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner)


def study_names(storage: RDBStorage | None) -> list[str]:
    """Return the names of all studies, sorted; none where there is no database."""
    return sorted(optuna.get_all_study_names(storage)) if storage is not None else []


def delete_study(storage: RDBStorage, name: str) -> None:
    """Delete a study and its trials from the database; their folders stay.

    Raises:
        StudyNotFoundError: there is no study of that name.
    """
    load_study(storage, name)
    optuna.delete_study(study_name=name, storage=storage)


def store_settings(study: optuna.Study, settings: Settings) -> None:
    """Store with a study what the user wrote for it, so that it can be resumed without any file."""
    document = _document(settings)
    before = study.user_attrs.get(SETTINGS_ATTR)
    if before not in (None, document) and FIRST_SETTINGS_ATTR not in study.user_attrs:
        study.set_user_attr(FIRST_SETTINGS_ATTR, before)
    study.set_user_attr(SETTINGS_ATTR, document)
    if study.user_attrs.get(FOREIGN_CODE_ATTR):
        study.set_user_attr(FOREIGN_CODE_ATTR, False)
    study.set_user_attr(FINGERPRINT_ATTR, _fingerprint(settings))


def stored_settings(study: optuna.Study) -> Settings | None:
    """Return what was stored with a study, None for one that another program made.

    Raises:
        StorageError: it was stored by a version that this one does not understand.
    """
    return _settings_of(study, study.user_attrs.get(SETTINGS_ATTR))


def refuse_foreign_code(study: optuna.Study, settings: Settings) -> None:
    """Refuse to run code that came with an imported study: only the user's own files name code.

    Raises:
        UsageError: it would be.
    """
    if not study.user_attrs.get(FOREIGN_CODE_ATTR):
        return
    plugins = settings.surroundings.plugins.allow
    if settings.run.runs_code:
        what, where = settings.run.objective_name, "objective in params.yaml"
    elif plugins:
        what, where = f"plugins of {', '.join(plugins)}", "plugins.allow in config.yaml"
    else:
        return
    raise UsageError(
        f"study {study.study_name!r} was imported, and its trials run {what}, which no file of "
        f"this project names; if it is yours, write it under {where} and run: tunectl tune --study "
        f"{study.study_name}"
    )


def first_settings(study: optuna.Study) -> Settings | None:
    """Return what a study began with, which never changes; as `stored_settings` otherwise."""
    began_with = study.user_attrs.get(FIRST_SETTINGS_ATTR)
    return _settings_of(study, began_with or study.user_attrs.get(SETTINGS_ATTR))


def _settings_of(study: optuna.Study, document: Any) -> Settings | None:
    if document is None:
        return None
    try:
        return Settings.model_validate_json(json.dumps(document))
    except ValidationError as error:
        raise StorageError(
            f"the configuration stored with study {study.study_name!r} cannot be read by "
            f"tunectl {__version__}: {error.error_count()} problem(s)"
        ) from error


def check_fit(study: optuna.Study, today: Settings) -> tuple[Difference, ...]:
    """Make sure that a stored study can go on with today's files, before anything is asked of it.

    Returns:
        What differs all the same.

    Raises:
        SpaceMismatchError: metric, direction or search space differ; nothing was changed.
    """
    differences = compare(study, stored_settings(study), today)
    bad = misfits(differences)
    if bad:
        shown = "\n".join(f"  {one}" for one in bad)
        possible = all(one.grade is not Grade.IMPOSSIBLE for one in bad)
        accept = ", accept (go on all the same)" if possible else ""
        raise SpaceMismatchError(
            f"study {study.study_name!r} was made with another search space:\n{shown}\n"
            "Nothing was changed. Ways out: put the old space back; go on with the stored one "
            f"(tunectl study resume {study.study_name}); --on-mismatch migrate (a new study with "
            f"the trials that fit), new (a new, empty one){accept}; or --fresh (delete the "
            "old one)."
        )
    return differences


def _complete(study: optuna.Study, settings: Settings) -> None:
    """Store with a study what makes it one of ours, as far as it got."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(list(settings.search.study.metric))
    study.set_user_attr(ABOUT_ATTR, _about())
    store_settings(study, settings)


def _about() -> dict[str, Any]:
    return {"schema_version": 1, "created_at": _now(), "tunectl_version": __version__}


def _document(settings: Settings) -> dict[str, Any]:
    document = settings.model_dump(mode="json")
    # Where the database and MLflow are is not the study's, and may hold a password.
    document["surroundings"]["storage"]["url"] = None
    document["surroundings"]["mlflow"]["tracking_uri"] = None
    return document


def _fingerprint(settings: Settings) -> str:
    return SearchSpace(settings.search.params_to_tune).fingerprint()


def _is_begun_only(study: optuna.Study, settings: Settings) -> bool:
    """Whether a study is what `create_study` leaves when it is killed half-way.

    It has nothing of anybody's: no trial, no configuration, no attribute but ours.
    """
    wanted = settings.search.study
    names = study.metric_names
    return (
        directions_of(study) == wanted.directions
        and (names is None or tuple(names) == tuple(wanted.metric))
        and study.user_attrs.keys() <= {ABOUT_ATTR}
        and not study.get_trials(deepcopy=False)
    )


def _components(
    settings: Settings,
) -> tuple[optuna.samplers.BaseSampler, optuna.pruners.BasePruner]:
    wanted, allow = settings.search.study, settings.surroundings.plugins.allow
    space = SearchSpace(settings.search.params_to_tune)
    sampler = make_sampler(
        wanted.sampler, wanted.seed, space, allow, n_objectives=len(wanted.metric)
    )
    return sampler, make_pruner(wanted.pruner, allow)


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
