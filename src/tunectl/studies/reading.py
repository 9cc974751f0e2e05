"""A study read with a few queries instead of with Optuna, which reads every intermediate value.

The tables are Optuna's, so their layout is looked at first. Whatever is not as expected here
(another layout, another kind of database, one that is locked or damaged) is left to Optuna and to
`storage.py`, which know what to do and what to say: then there is no answer.
"""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from tunectl.config.database import sqlite_path_of
from tunectl.studies import attributes
from tunectl.studies.connection import connect
from tunectl.studies.file_systems import current_mounts, mount_of
from tunectl.studies.records import (
    STATE_NAMES,
    StudyOverview,
    StudyRecord,
    TrialRecord,
    metric_names,
    overview_of,
)

LAYOUT = "v3.2.0.a"
"""The layout of Optuna's tables, as Alembic calls it, that the queries below are written for."""

# Who keeps the database locked for longer is waited for by Optuna, with a better message.
_PATIENCE_S = 1.0
_SHOWN = (
    attributes.OUTPUT_DIR,
    attributes.ERROR,
    attributes.EPOCHS,
    attributes.PAUSED_S,
    attributes.METRICS,
    attributes.CLAIMED_BY,
    attributes.BEST_EPOCH,
    attributes.MLFLOW_RUN_ID,
)
_NUMBERS = {"FloatDistribution": float, "IntDistribution": int}
_INFINITE = {"INF_POS": float("inf"), "INF_NEG": float("-inf")}

_OF_STUDY = "trial_id IN (SELECT trial_id FROM trials WHERE study_id = :study)"
_LAYOUT = "SELECT version_num FROM alembic_version"
_VERSION = "SELECT schema_version FROM version_info"
_NAMES = "SELECT study_name FROM studies"
_STUDY = "SELECT study_id FROM studies WHERE study_name = :name"
_DIRECTIONS = "SELECT direction FROM study_directions WHERE study_id = :study ORDER BY objective"
# All but the settings, which are long.
_ABOUT = """
SELECT "key", value_json FROM study_user_attributes
WHERE study_id = :study AND "key" <> 'tunectl:settings'
"""
_METRICS = """
SELECT value_json FROM study_system_attributes
WHERE study_id = :study AND "key" = 'study:metric_names'
"""
_TRIALS = """
SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials
WHERE study_id = :study ORDER BY number
"""
_VALUES = f"""
SELECT trial_id, value, value_type FROM trial_values WHERE {_OF_STUDY} ORDER BY objective
"""
_PARAMS = f"""
SELECT trial_id, param_name, param_value, distribution_json FROM trial_params
WHERE {_OF_STUDY} ORDER BY param_id
"""
_ATTRIBUTES = f"""
SELECT trial_id, "key", value_json FROM trial_user_attributes
WHERE {_OF_STUDY} AND "key" IN ({", ".join(f"'{name}'" for name in _SHOWN)})
"""
_CONSTRAINTS = f"""
SELECT trial_id, "key", value_json FROM trial_system_attributes
WHERE {_OF_STUDY} AND substr("key", 1, 11) = 'constraints' ORDER BY trial_system_attribute_id
"""
_STEPS = f"""
SELECT trial_id, COUNT(*) FROM trial_intermediate_values WHERE {_OF_STUDY} GROUP BY trial_id
"""

_Query = Callable[..., Sequence[Sequence[Any]]]
_A = TypeVar("_A")


class _OddError(Exception):
    """Something is not as expected here."""


def read_study(url: str, name: str | None) -> StudyRecord | None:
    """Read a study.

    Args:
        url: The database.
        name: The study, None for the only one there is.

    Returns:
        None where Optuna should be asked: also where there is no such study.

    Raises:
        SQLAlchemyError: a database server cannot be reached.
    """

    def reading(query: _Query) -> StudyRecord:
        if name is not None:
            return _record(query, name, in_brief=False)
        (only,) = _names(query)
        return _record(query, only, in_brief=False)

    return _answer(url, reading)


def read_overviews(url: str) -> list[StudyOverview] | None:
    """Read every study in a line, sorted by name; see `read_study`.

    Raises:
        SQLAlchemyError: a database server cannot be reached.
    """
    return _answer(
        url,
        lambda query: [overview_of(_record(query, one, in_brief=True)) for one in _names(query)],
    )


def _answer(url: str, reading: Callable[[_Query], _A]) -> _A | None:
    try:
        with _queries(url) as query:
            if [str(one) for (one,) in query(_LAYOUT)] != [LAYOUT] or not query(_VERSION):
                return None
            return reading(query)
    except (_OddError, sqlite3.Error, OSError, LookupError, ValueError, TypeError):
        return None


@contextmanager
def _queries(url: str) -> Iterator[_Query]:
    """Give a function that runs a query; what the block sees is the database at one moment."""
    path = sqlite_path_of(url)
    if path is not None:
        with _on_file(path) as query:
            yield query
    elif url.startswith(("postgresql:", "postgresql+")):
        with _on_server(url) as query:
            yield query
    else:
        raise _OddError


@contextmanager
def _on_file(path: Path) -> Iterator[_Query]:
    mount = mount_of(path, current_mounts())
    if not path.is_file() or (mount is not None and mount.is_network):
        raise _OddError
    with closing(connect(path, _PATIENCE_S)) as connection:
        connection.isolation_level = None
        connection.execute("BEGIN")
        yield lambda sql, **values: connection.execute(sql, values).fetchall()


@contextmanager
def _on_server(url: str) -> Iterator[_Query]:
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import ProgrammingError
    from sqlalchemy.pool import NullPool

    from tunectl.studies.server_lock import server_options

    engine = create_engine(url, poolclass=NullPool, **server_options(url))
    try:
        with engine.connect() as connection:
            connection.execution_options(isolation_level="REPEATABLE READ")
            yield lambda sql, **values: connection.execute(text(sql), values).fetchall()
    except ProgrammingError as error:  # such as a table that is not there
        raise _OddError from error


def _names(query: _Query) -> list[str]:
    return sorted(str(name) for (name,) in query(_NAMES))


def _record(query: _Query, name: str, *, in_brief: bool) -> StudyRecord:
    ((study,),) = query(_STUDY, name=name)
    directions = tuple(
        {"MINIMIZE": "minimize", "MAXIMIZE": "maximize"}[str(one)]
        for (one,) in query(_DIRECTIONS, study=study)
    )
    names = [json.loads(one) for (one,) in query(_METRICS, study=study)]
    return StudyRecord(
        name=name,
        directions=directions,  # type: ignore[arg-type]
        metrics=metric_names(names[0] if names else None, len(directions)),
        user_attrs={key: json.loads(one) for key, one in query(_ABOUT, study=study)},
        trials=_trials(query, study, in_brief=in_brief),
    )


def _trials(query: _Query, study: int, *, in_brief: bool) -> list[TrialRecord]:
    """Return a study's trials, in brief without parameters, attributes and epochs."""

    def rows(sql: str) -> Sequence[Sequence[Any]]:
        return () if in_brief else query(sql, study=study)

    values = _values(query(_VALUES, study=study))
    violations = _violations(_attributes(query(_CONSTRAINTS, study=study)))
    params, stored = _params(rows(_PARAMS)), _attributes(rows(_ATTRIBUTES))
    steps = {trial: int(count) for trial, count in rows(_STEPS)}
    return [
        TrialRecord(
            number=number,
            state=STATE_NAMES[str(state)],
            values=tuple(values.get(trial, ())),
            params=params.get(trial, {}),
            user_attrs=stored.get(trial, {}),
            violations=violations.get(trial, ()),
            datetime_start=_moment(started),
            datetime_complete=_moment(ended),
            n_steps=steps.get(trial, 0),
        )
        for trial, number, state, started, ended in query(_TRIALS, study=study)
    ]


def _values(rows: Sequence[Sequence[Any]]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = defaultdict(list)
    for trial, value, kind in rows:
        found[trial].append(float(value) if str(kind) == "FINITE" else _INFINITE[str(kind)])
    return found


def _params(rows: Sequence[Sequence[Any]]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for trial, name, value, distribution in rows:
        found[trial][name] = _reader_of(distribution)(value)
    return found


@cache
def _reader_of(distribution: str) -> Callable[[Any], Any]:
    """Return what makes a parameter's value of the number that is stored for it.

    Args:
        distribution: As JSON; a study has few.
    """
    document = json.loads(distribution)
    if document["name"] in _NUMBERS:
        return _NUMBERS[document["name"]]
    if document["name"] != "CategoricalDistribution":
        raise _OddError
    choices = tuple(document["attributes"]["choices"])
    return lambda index: choices[int(index)]


def _attributes(rows: Sequence[Sequence[Any]]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for trial, key, value in rows:
        found[trial][key] = json.loads(value)
    return found


def _violations(stored: Mapping[int, Mapping[str, Any]]) -> dict[int, Sequence[float]]:
    """Return each trial's constraints: Optuna kept all in one list once, now each by its name."""
    found: dict[int, Sequence[float]] = {}
    for trial, attrs in stored.items():
        listed = attrs.get("constraints") or ()
        by_name = {str(index): one for index, one in enumerate(listed)}
        for key, value in attrs.items():
            if key.startswith("constraints:"):
                by_name[key.removeprefix("constraints:")] = value
        found[trial] = tuple(by_name.values())
    return found


def _moment(stored: str | dt.datetime | None) -> dt.datetime | None:
    """Return a time, which is stored in UTC without saying so."""
    if stored is None:
        return None
    naive = dt.datetime.fromisoformat(stored) if isinstance(stored, str) else stored
    return naive.replace(tzinfo=dt.UTC)
