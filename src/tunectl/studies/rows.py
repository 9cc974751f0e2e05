"""What a running trial adds to the database, several rows at once instead of one by one.

The tables are Optuna's own, so their layout is looked at first; of another one nothing is known
here, and all is left to Optuna.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from sqlalchemy.exc import IntegrityError

from tunectl.studies.reading import LAYOUT

Row = Mapping[str, Any]

_TRIALS: sa.Table = models.TrialModel.__table__
_LAYOUT = sa.text("SELECT version_num FROM alembic_version")
# On a server the trial cannot be ended before the transaction is.
_STATE = sa.select(_TRIALS.c.state).where(_TRIALS.c.trial_id == sa.bindparam("trial"))
_STATE = _STATE.with_for_update()


def known_database(study: optuna.Study) -> RDBStorage | None:
    """Return the database of a study, None where it is none or has another layout.

    Raises:
        SQLAlchemyError: it cannot be read.
    """
    backend = getattr(study._storage, "_backend", None)  # Optuna puts a cache before it
    if not isinstance(backend, RDBStorage):
        return None
    with backend.engine.connect() as connection:
        layout = connection.execute(_LAYOUT).scalars().all()
    return backend if layout == [LAYOUT] else None


def add_rows(
    database: RDBStorage, table: sa.Table, trial_id: int, key: str, rows: Collection[Row]
) -> None:
    """Add rows of a running trial in one transaction.

    A row that is there already stays as it is: two workers may run the same trial for a while.

    Args:
        database: One whose layout is known.
        table: What to add to; it has a column `trial_id`.
        trial_id: The trial.
        key: The column by which the trial's rows differ.
        rows: Column → value, without the trial.

    Raises:
        UpdateFinishedTrialError: the trial has ended.
        KeyError: there is no such trial.
        SQLAlchemyError: the database cannot be written.
    """
    try:
        _insert(database, table, trial_id, rows)
    except IntegrityError:
        keys = sa.select(table.c[key]).where(table.c.trial_id == trial_id)
        with database.engine.connect() as connection:
            there = set(connection.execute(keys).scalars())
        _insert(database, table, trial_id, [row for row in rows if row[key] not in there])


def _insert(database: RDBStorage, table: sa.Table, trial_id: int, rows: Collection[Row]) -> None:
    with database.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # it knows no lock on a row
        state = connection.execute(_STATE, {"trial": trial_id}).scalar_one_or_none()
        if state is None:
            raise KeyError(models.NOT_FOUND_MSG)
        if state.is_finished():
            raise UpdateFinishedTrialError("it has ended")
        if rows:
            connection.execute(sa.insert(table), [{**row, "trial_id": trial_id} for row in rows])
