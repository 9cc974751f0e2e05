"""Where the epochs of a running trial are written, and how firmly.

A SQLite file with a write-ahead log survives the end of a process after each commit, also without
waiting for the disk; only the loss of power asks for more. On most disks that wait is what a
commit costs, so here it is left out until somebody needs it: a checkpoint, or the trial's end. Any
other database is written as Optuna writes it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import TrialState

from tunectl.studies.connection import connect
from tunectl.studies.file_systems import current_mounts
from tunectl.studies.rows import add_rows
from tunectl.studies.sqlite_file import journal_for
from tunectl.studies.storage import sqlite_path, timeout_of

_TRIALS: sa.Table = models.TrialModel.__table__
_Model = models.TrialIntermediateValueModel
_STEPS: sa.Table = _Model.__table__
_COMPLETE = (
    sa.select(sa.func.count())
    .select_from(_TRIALS)
    .where(
        _TRIALS.c.study_id == sa.bindparam("study"),
        _TRIALS.c.trial_id >= sa.bindparam("first"),
        _TRIALS.c.state == TrialState.COMPLETE,
    )
)
_STATE_IN_FILE = "SELECT state FROM trials WHERE trial_id = ?"
# A row that is there already stays as it is: two workers may run the same trial for a while.
_ADD_TO_FILE = """
INSERT INTO trial_intermediate_values
    (trial_id, step, intermediate_value, intermediate_value_type)
VALUES (?, ?, ?, ?) ON CONFLICT (trial_id, step) DO NOTHING
"""
_COMPLETE_IN_FILE = """
SELECT count(*) FROM trials WHERE study_id = ? AND trial_id >= ? AND state = 'COMPLETE'
"""
_OPEN_STATES = ("RUNNING", "WAITING")


class EpochRows(Protocol):
    """The stored epochs of one trial, and a look at the trials beside it."""

    def add(self, values: Mapping[int, float]) -> None:
        """Write epochs; those that are there stay as they are. The end of a process is survived.

        Args:
            values: Epoch → value.

        Raises:
            UpdateFinishedTrialError: the trial has ended.
            KeyError: there is no such trial.
            SQLAlchemyError, sqlite3.Error: the database cannot be written.
        """

    def secure(self) -> None:
        """Make sure that what was written survives the loss of power, too.

        Raises:
            OSError: the disk refuses.
        """

    def count_complete(self, study_id: int, first: int) -> int:
        """Return how many trials of a study are complete, from a certain one on.

        Args:
            study_id: The study, as the database calls it.
            first: The first trial that counts, as the database calls it.

        Raises:
            SQLAlchemyError, sqlite3.Error: the database cannot be read.
        """

    def close(self) -> None:
        """Let the database go."""


def open_rows(database: RDBStorage, trial_id: int) -> EpochRows:
    """Return where a trial's epochs are written.

    Args:
        database: One whose layout is known.
        trial_id: The trial, as the database calls it.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    path = sqlite_path(database.url)
    if path is None or journal_for(path, current_mounts()) != "wal":
        return _RowsAnywhere(database, trial_id)
    timeout_s = timeout_of(database.url)
    connection = connect(path, timeout_s, writing=True, autocommit=True, any_thread=True)
    try:
        (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
        if journal == "wal":  # else a commit that does not wait may cost the whole database
            connection.execute("PRAGMA synchronous=NORMAL")
            return _RowsInLog(connection, path, trial_id)
    except BaseException:
        connection.close()
        raise
    connection.close()
    return _RowsAnywhere(database, trial_id)


class _RowsAnywhere:
    """Rows of whatever database Optuna knows; each commit is firm."""

    def __init__(self, database: RDBStorage, trial_id: int) -> None:
        self._database = database
        self._trial_id = trial_id

    def add(self, values: Mapping[int, float]) -> None:
        names = ("step", "intermediate_value", "intermediate_value_type")
        rows: list[dict[str, Any]] = [
            dict(zip(names, row, strict=True)) for row in _rows_of(values)
        ]
        add_rows(self._database, _STEPS, self._trial_id, "step", rows)

    def secure(self) -> None:
        """Do nothing: it is."""

    def count_complete(self, study_id: int, first: int) -> int:
        wanted = {"study": study_id, "first": first}
        with self._database.engine.connect() as connection:
            return int(connection.execute(_COMPLETE, wanted).scalar_one())

    def close(self) -> None:
        """Do nothing: the connections are Optuna's."""


class _RowsInLog:
    """Rows of a SQLite file with a write-ahead log, by a connection of their own."""

    def __init__(self, connection: sqlite3.Connection, path: Path, trial_id: int) -> None:
        self._connection = connection
        self._path = Path(f"{path.resolve()}-wal")
        self._log: int | None = None
        self._trial_id = trial_id
        self._is_secure = True

    def add(self, values: Mapping[int, float]) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            if self._log is None:
                # Kept open: of a write that fails later only who has the file open is told.
                self._log = os.open(self._path, os.O_RDONLY)
            self._refuse_ended()
            rows = ((self._trial_id, *row) for row in _rows_of(values))
            connection.executemany(_ADD_TO_FILE, rows)
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # after a full disk it is rolled back already
                connection.execute("ROLLBACK")
            raise
        self._is_secure = False

    def secure(self) -> None:
        if self._is_secure or self._log is None:
            return
        # Whatever has left the log in the meantime was brought to the disk by SQLite before that.
        os.fsync(self._log)
        self._is_secure = True

    def count_complete(self, study_id: int, first: int) -> int:
        (count,) = self._connection.execute(_COMPLETE_IN_FILE, (study_id, first)).fetchone()
        return int(count)

    def close(self) -> None:
        self._connection.close()
        if self._log is not None:
            os.close(self._log)
            self._log = None

    def _refuse_ended(self) -> None:
        row = self._connection.execute(_STATE_IN_FILE, (self._trial_id,)).fetchone()
        if row is None:
            raise KeyError(models.NOT_FOUND_MSG)
        if row[0] not in _OPEN_STATES:
            raise UpdateFinishedTrialError("it has ended")


def _rows_of(values: Mapping[int, float]) -> Iterable[tuple[int, float | None, str]]:
    """Return step, number and kind of number of each value, as Optuna stores them."""
    for epoch, value in values.items():
        number, kind = _Model.intermediate_value_to_stored_repr(value)
        yield epoch, number, kind.name
