"""From the tables of an older Optuna to those of this one, with a copy of the file kept."""

from __future__ import annotations

import datetime as dt
import logging
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from optuna.storages import RDBStorage

from tunectl.artifacts import atomic
from tunectl.errors import StorageError
from tunectl.studies.connection import connect
from tunectl.studies.reasons import reason_of
from tunectl.studies.sqlite_file import opening_lock
from tunectl.studies.storage import storage_errors, timeout_of


def upgrade_database(url: str, path: Path) -> Path:
    """Bring a SQLite file of an older Optuna to this one's tables.

    Args:
        url: Its URL.
        path: Its file.

    Returns:
        The copy of the file as it was.

    Raises:
        StorageError: it cannot be upgraded; it is as it was.
    """
    timeout_s = timeout_of(url)
    with storage_errors(url), opening_lock(path, timeout_s):
        copy = _copy(path, timeout_s)
        try:
            _upgrade(url)
        except Exception as error:
            state = _put_back(copy, path, timeout_s)
            raise StorageError(
                f"{path} could not be upgraded ({reason_of(error, path)}); {state}"
            ) from error
    return copy


def _copy(path: Path, timeout_s: float) -> Path:
    """Copy a database, what other processes have written to its log included; return the copy."""
    stamp = f"{dt.datetime.now():%Y%m%d-%H%M%S}"
    copy = atomic.free_name(path.with_name(f"{path.name}.before-upgrade-{stamp}"))
    with atomic.replacing(copy) as beside:
        _backup(path, beside, timeout_s)
        with closing(sqlite3.connect(beside)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise StorageError(f"{path} is damaged ({found}); restore a copy before the upgrade")
    return copy


def _put_back(copy: Path, path: Path, timeout_s: float) -> str:
    """Undo a half upgrade; return in words how things are now."""
    try:
        with (
            closing(connect(copy, timeout_s)) as source,
            closing(connect(path, timeout_s, writing=True)) as target,
        ):
            source.backup(target)
    except sqlite3.Error:
        return f"it may be half upgraded, so put {copy} in its place"
    return f"it is as it was, and {copy.name} is a copy of it"


def _backup(path: Path, target: Path, timeout_s: float) -> None:
    with closing(connect(path, timeout_s)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it


def _upgrade(url: str) -> None:
    escaped = url.replace("{", "{{").replace("}", "}}")
    with _alembic_kept_quiet():
        storage = RDBStorage(escaped, skip_compatibility_check=True, skip_table_creation=True)
        storage.upgrade()
        storage.engine.dispose()
        # Tables that are new since then are made by opening it once.
        RDBStorage(escaped).engine.dispose()


@contextmanager
def _alembic_kept_quiet() -> Iterator[None]:
    """Let Alembic, which has a configuration of its own, leave the program's logging alone."""
    root = logging.getLogger()
    silent = logging.NullHandler()
    root.addHandler(silent)  # without any handler there, it would set up logging anew
    alembic = logging.getLogger("alembic")
    level = alembic.level
    alembic.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of distributions that it is about to convert
            yield
    finally:
        alembic.setLevel(level)
        root.removeHandler(silent)
