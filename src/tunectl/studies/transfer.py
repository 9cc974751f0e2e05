"""Studies out of a database and into one: between Optuna's storage and `PortableStudy`.

Optuna's own way of adding a trial takes dozens of statements, each trial in a transaction of its
own. Here a whole study goes straight into Optuna's tables in one transaction, where these are the
ones that this module knows; any other layout gets the study Optuna's way.
"""

from __future__ import annotations

import copy
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    distribution_to_json,
)
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial

from tunectl.config.search_schema import checked_study_name
from tunectl.errors import Problem, StorageError, StudyExistsError, StudyFileError, UsageError
from tunectl.studies.attributes import MLFLOW_RUN_ID, MLFLOW_STUDY
from tunectl.studies.lifecycle import FOREIGN_CODE_ATTR, SETTINGS_ATTR, study_names
from tunectl.studies.portable import PortableStudy, local_time, position_of_choice
from tunectl.studies.storage import storage_errors

# Alembic's name of the layout of Optuna's tables that is written here; Optuna 3.2 to 5.
KNOWN_LAYOUTS = ("v3.2.0.a",)
BATCH = 2000
Rows = dict[sa.Table, list[dict[str, Any]]]


def pack_study(storage: RDBStorage, study: optuna.Study) -> PortableStudy:
    """Take a study out of its database, whole; it stays there too.

    Args:
        storage: The database.
        study: A study in it.

    Raises:
        StorageError: its trials are not numbered 0, 1, 2 …, or the database cannot be read.
    """
    with storage_errors(storage.url):
        trials = study.get_trials(deepcopy=False)
        system_attrs = storage.get_study_system_attrs(study._study_id)
        if _is_known(storage):
            trials = _with_exact_times(storage, study._study_id, trials)
    for number, trial in enumerate(trials):
        if trial.number != number:
            raise StorageError(
                f"study {study.study_name!r} has a trial {trial.number} where trial {number} "
                "should be; its database is damaged"
            )
    return PortableStudy(
        name=study.study_name,
        directions=tuple(study.directions),
        user_attrs={
            key: value for key, value in study.user_attrs.items() if key != FOREIGN_CODE_ATTR
        },
        system_attrs=system_attrs,
        trials=trials,
    )


def name_for(portable: PortableStudy, name: str | None = None) -> str:
    """Return the name that a study is to have in its new place.

    Args:
        portable: The study.
        name: What the user wants; by default it is called as it was.

    Raises:
        UsageError: the name cannot be a study's.
        StudyFileError: the name in the file, which another program gave, cannot be a study's.
    """
    try:
        return checked_study_name(portable.name if name is None else name)
    except ValueError as error:
        if name is not None:
            raise UsageError(str(error)) from error
        message = f"{error}; give it another name: tunectl study import FILE NAME"
        raise StudyFileError([Problem(file=portable.file, line=1, message=message)]) from error


def unpack_study(storage: RDBStorage, portable: PortableStudy, name: str | None = None) -> str:
    """Make a study in a database, all of it or nothing.

    Args:
        storage: The database.
        portable: The study.
        name: Its name there; by default the one it has.

    Returns:
        Its name there.

    Raises:
        StudyExistsError: a study of that name is stored already.
        StudyFileError, UsageError: see `name_for`; or a trial is none that Optuna would add.
        StorageError: the database cannot be written.
    """
    wanted = name_for(portable, name)
    with storage_errors(storage.url):
        if wanted in study_names(storage):
            raise _exists(wanted)
        if _is_known(storage):
            with storage.engine.begin() as connection:
                _insert(connection, portable, wanted)
        else:
            _add(storage, portable, wanted)
    return wanted


def _exists(name: str) -> StudyExistsError:
    way_out = "give the new one another name: tunectl study import FILE NAME"
    return StudyExistsError(f"study {name!r} exists already; {way_out}")


def _user_attributes(portable: PortableStudy, name: str) -> dict[str, Any]:
    """Return the study's attributes; the configuration stored with it names the study.

    Its runs in MLflow stay those of the study that it is a copy of. Whatever code it names is
    marked as nobody's in this project.
    """
    left_out = (MLFLOW_STUDY, FOREIGN_CODE_ATTR)
    kept = {key: value for key, value in portable.user_attrs.items() if key not in left_out}
    if SETTINGS_ATTR not in kept:
        return kept  # another program's study
    try:
        settings = json.loads(json.dumps(kept[SETTINGS_ATTR]))
        settings["search"]["study"]["name"] = name
    except (KeyError, TypeError):  # no configuration of ours, whatever else it is
        return {**kept, FOREIGN_CODE_ATTR: True}
    return {**kept, SETTINGS_ATTR: settings, FOREIGN_CODE_ATTR: True}


def _without_run(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial without the id of its run in MLflow, which is that of the original."""
    if MLFLOW_RUN_ID not in trial.user_attrs:
        return trial
    copied = copy.copy(trial)
    copied.user_attrs = {
        key: value for key, value in trial.user_attrs.items() if key != MLFLOW_RUN_ID
    }
    return copied


def _is_known(storage: RDBStorage) -> bool:
    return storage.get_current_version() in KNOWN_LAYOUTS


def _with_exact_times(
    storage: RDBStorage, study_id: int, trials: list[FrozenTrial]
) -> list[FrozenTrial]:
    """Return the trials with their times as the database has them.

    Optuna makes local times of them and loses which one it was in the hour that is there twice.
    """
    table = models.TrialModel.__table__
    columns = (table.c.trial_id, table.c.datetime_start, table.c.datetime_complete)
    with storage.engine.connect() as connection:
        rows = connection.execute(sa.select(*columns).where(table.c.study_id == study_id))
        exact = {row[0]: [_local(utc) for utc in row[1:]] for row in rows}
    return [_at_times(trial, *exact[trial._trial_id]) for trial in trials]


def _at_times(
    trial: FrozenTrial, start: dt.datetime | None, complete: dt.datetime | None
) -> FrozenTrial:
    if not any(time is not None and time.fold for time in (start, complete)):
        return trial
    exact = copy.copy(trial)
    exact.datetime_start, exact.datetime_complete = start, complete
    return exact


def _local(utc: dt.datetime | None) -> dt.datetime | None:
    return None if utc is None else local_time(utc.replace(tzinfo=dt.UTC))


# -- straight into the tables --------------------------------------------------------------------


def _insert(connection: sa.Connection, portable: PortableStudy, name: str) -> None:
    study_id = _insert_study(connection, portable, name)
    for start in range(0, len(portable.trials), BATCH):
        trials = portable.trials[start : start + BATCH]
        rows: Rows = {}
        ids = _insert_trials(connection, study_id, trials)
        for trial, trial_id in zip(trials, ids, strict=True):
            _add_rows(rows, _without_run(trial), trial_id)
        for table, values in rows.items():
            connection.execute(sa.insert(table), values)


def _insert_study(connection: sa.Connection, portable: PortableStudy, name: str) -> int:
    """Insert the study itself; return its number in the database."""
    study = models.StudyModel.__table__
    try:
        result = connection.execute(sa.insert(study), {"study_name": name})
    except sa.exc.IntegrityError as error:  # another process was quicker
        raise _exists(name) from error
    assert result.inserted_primary_key is not None
    study_id = int(result.inserted_primary_key[0])
    connection.execute(
        sa.insert(models.StudyDirectionModel.__table__),
        [
            {"study_id": study_id, "objective": objective, "direction": direction}
            for objective, direction in enumerate(portable.directions)
        ],
    )
    for model, attributes in (
        (models.StudyUserAttributeModel, _user_attributes(portable, name)),
        (models.StudySystemAttributeModel, portable.system_attrs),
    ):
        rows = [{"study_id": study_id, **row} for row in _attribute_rows(attributes)]
        if rows:
            connection.execute(sa.insert(model.__table__), rows)
    return study_id


def _insert_trials(
    connection: sa.Connection, study_id: int, trials: Sequence[FrozenTrial]
) -> list[int]:
    """Insert the trials themselves; return their numbers in the database, in the same order.

    The database gives these numbers, since those of other studies' trials are among them and a
    running study may be adding to them.
    """
    table = models.TrialModel.__table__
    connection.execute(
        sa.insert(table),
        [
            {
                "number": trial.number,
                "study_id": study_id,
                "state": trial.state,
                "datetime_start": _utc(trial.datetime_start),
                "datetime_complete": _utc(trial.datetime_complete),
            }
            for trial in trials
        ],
    )
    inserted = connection.execute(
        sa.select(table.c.trial_id)
        .where(table.c.study_id == study_id)
        .where(table.c.number.between(trials[0].number, trials[-1].number))
        .order_by(table.c.number)
    )
    ids = [int(trial_id) for (trial_id,) in inserted]
    if ids != sorted(ids):  # Optuna takes the order of these for the order of the trials
        raise StorageError("the database does not number new rows in their order")
    return ids


def _add_rows(rows: Rows, trial: FrozenTrial, trial_id: int) -> None:
    """Add what hangs on a trial to the rows of each table."""

    def add(model: Any, row: dict[str, Any]) -> None:
        rows.setdefault(model.__table__, []).append({"trial_id": trial_id, **row})

    for objective, value in enumerate(trial.values or ()):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        add(models.TrialValueModel, {"objective": objective, "value": stored, "value_type": kind})
    for step, value in trial.intermediate_values.items():
        add(models.TrialIntermediateValueModel, {"step": step, **_intermediate(value)})
    for key, value in trial.params.items():
        add(models.TrialParamModel, _parameter_row(key, value, trial.distributions[key]))
    for row in _attribute_rows(trial.user_attrs):
        add(models.TrialUserAttributeModel, row)
    for row in _attribute_rows(trial.system_attrs):
        add(models.TrialSystemAttributeModel, row)


def _attribute_rows(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]


def _intermediate(value: float) -> dict[str, Any]:
    model = models.TrialIntermediateValueModel
    stored, kind = model.intermediate_value_to_stored_repr(value)
    return {"intermediate_value": stored, "intermediate_value_type": kind}


def _parameter_row(key: str, value: Any, distribution: BaseDistribution) -> dict[str, Any]:
    if isinstance(distribution, CategoricalDistribution):
        internal: float = position_of_choice(distribution, value)
    else:
        internal = distribution.to_internal_repr(value)
    text = distribution_to_json(distribution)
    return {"param_name": key, "param_value": internal, "distribution_json": text}


def _utc(local: dt.datetime | None) -> dt.datetime | None:
    """Return a time as Optuna stores it: UTC without a zone."""
    return None if local is None else local.astimezone(dt.UTC).replace(tzinfo=None)


# -- Optuna's way --------------------------------------------------------------------------------


def _add(storage: RDBStorage, portable: PortableStudy, name: str) -> None:
    """Make the study trial by trial; it is deleted again if one of them cannot be added."""
    try:
        study = optuna.create_study(
            storage=storage, study_name=name, directions=portable.directions
        )
    except DuplicatedStudyError as error:
        raise _exists(name) from error
    try:
        for key, value in _user_attributes(portable, name).items():
            study.set_user_attr(key, value)
        for key, value in portable.system_attrs.items():
            study._storage.set_study_system_attr(study._study_id, key, value)
        for trial in portable.trials:
            try:
                study.add_trial(_without_run(trial))
            except ValueError as error:
                line = portable.lines[trial.number] if portable.lines else None
                problem = Problem(file=portable.file, line=line, message=str(error))
                raise StudyFileError([problem]) from error
    except BaseException:
        optuna.delete_study(study_name=name, storage=storage)
        raise
