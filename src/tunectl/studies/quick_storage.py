"""Optuna's storage, with its first reading of a study's trials done by a few queries.

Optuna makes an object of every row: of 10,000 trials with 50 intermediate values each that takes
15 s of the processor and more than a gigabyte. Here the same trials are made straight from the
rows. Optuna's cache asks for all of them until one has ended, and then for those that are new or
have not; these few are left to Optuna, and so is everything that is not as expected here.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from tunectl.studies.reading import LAYOUT

_AT_ONCE = 1000  # rows that are fetched together
_NOT_FINITE = {"NAN": float("nan"), "INF_POS": float("inf"), "INF_NEG": float("-inf")}

_LAYOUT = "SELECT version_num FROM alembic_version"
_STUDY = "SELECT study_id FROM studies WHERE study_id = {study}"
_TRIALS = """
SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials
WHERE study_id = {study} ORDER BY trial_id
"""
_OF_STUDY = "trial_id IN (SELECT trial_id FROM trials WHERE study_id = {study})"
_VALUES = f"""
SELECT trial_id, value, value_type FROM trial_values WHERE {_OF_STUDY}
ORDER BY trial_id, objective
"""
_PARAMS = f"""
SELECT trial_id, param_name, param_value, distribution_json FROM trial_params WHERE {_OF_STUDY}
ORDER BY param_id
"""
_USER_ATTRIBUTES = f"""
SELECT trial_id, "key", value_json FROM trial_user_attributes WHERE {_OF_STUDY}
ORDER BY trial_id, "key"
"""
_SYSTEM_ATTRIBUTES = f"""
SELECT trial_id, "key", value_json FROM trial_system_attributes WHERE {_OF_STUDY}
ORDER BY trial_id, "key"
"""
_STEPS = f"""
SELECT trial_id, step, intermediate_value, intermediate_value_type
FROM trial_intermediate_values WHERE {_OF_STUDY} ORDER BY trial_id, step
"""


class QuickStorage(RDBStorage):
    """A database of studies that gives all trials of a study quickly; see the module."""

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        if states is None and trial_id_greater_than < 0:
            trials = read_trials(self.engine, study_id)
            if trials is not None:
                return trials
        return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)


def read_trials(engine: sa.Engine, study_id: int) -> list[FrozenTrial] | None:
    """Return a study's trials, None where Optuna should be asked.

    Raises:
        StorageInternalError: the database cannot be read.
    """
    if engine.dialect.name not in ("sqlite", "postgresql"):
        return None
    try:
        with _moment_of(engine) as connection:
            layout = connection.exec_driver_sql(_LAYOUT).scalars().all()
            return _trials(connection, study_id) if layout == [LAYOUT] else None
    except (LookupError, ValueError, TypeError):  # something is not as expected here
        return None
    except SQLAlchemyError as error:  # as Optuna does, whose errors are translated further on
        raise StorageInternalError("the trials cannot be read") from error


@contextmanager
def _moment_of(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Give a connection whose queries all see the database at one moment."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")  # Python would begin one only before a change
        else:
            connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection


def _trials(connection: sa.Connection, study_id: int) -> list[FrozenTrial] | None:
    """Return a study's trials, None where there is no study."""

    def rows(sql: str) -> Iterable[Any]:
        result = connection.exec_driver_sql(sql.format(study=int(study_id)))
        return chain.from_iterable(result.partitions(_AT_ONCE))

    if not list(rows(_STUDY)):
        return None
    trials = {int(row[0]): _trial(*row) for row in rows(_TRIALS)}
    for trial, value, kind in rows(_VALUES):
        made = trials[trial]
        made._values = [*(made._values or ()), _number(value, kind)]
    distributions: dict[str, BaseDistribution] = {}
    for trial, name, value, text in rows(_PARAMS):
        if text not in distributions:  # a study has few
            distributions[text] = json_to_distribution(text)
        distribution, made = distributions[text], trials[trial]
        made._distributions[name] = distribution
        made._params[name] = distribution.to_external_repr(value)
    for trial, key, value in rows(_USER_ATTRIBUTES):
        trials[trial]._user_attrs[key] = json.loads(value)
    for trial, key, value in rows(_SYSTEM_ATTRIBUTES):
        trials[trial]._system_attrs[key] = json.loads(value)
    for trial, step, value, kind in rows(_STEPS):
        trials[trial].intermediate_values[step] = _number(value, kind)
    return list(trials.values())


def _trial(
    trial_id: int,
    number: int,
    state: str,
    started: str | dt.datetime | None,
    ended: str | dt.datetime | None,
) -> FrozenTrial:
    """Return a trial of which nothing more is known yet."""
    return FrozenTrial(
        number=number,
        state=TrialState[state],
        value=None,
        datetime_start=_local(started),
        datetime_complete=_local(ended),
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=trial_id,
    )


def _number(value: float | None, kind: str) -> float:
    """Return a number of which what is not finite stands beside it."""
    if kind != "FINITE":
        return _NOT_FINITE[kind]
    if not isinstance(value, float):
        raise TypeError
    return value


def _local(stored: str | dt.datetime | None) -> dt.datetime | None:
    """Return a time as Optuna has it, local and without saying so; it is stored in UTC."""
    if stored is None:
        return None
    utc = dt.datetime.fromisoformat(stored) if isinstance(stored, str) else stored
    return utc.replace(tzinfo=dt.UTC).astimezone().replace(tzinfo=None)
