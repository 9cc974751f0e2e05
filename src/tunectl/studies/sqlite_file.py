"""A SQLite file of studies: making it, looking at it, its journal. It never replaces what is there.

It knows the file and its tables, nothing of what is stored in them.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from tunectl.artifacts import atomic
from tunectl.errors import StorageError
from tunectl.studies.connection import connect
from tunectl.studies.file_systems import Mount, mount_of
from tunectl.studies.schema import VERSION_TABLE, Age, Schema, read_schema
from tunectl.studies.tables import fill, has_all

log = logging.getLogger(__name__)

# Those that every version of Optuna's schema has.
NEEDED_TABLES = {"trials", "trial_params", "trial_values", "trial_user_attributes"}
# What SQLite keeps beside a database while it is in use, and leaves when the process is killed.
SIDECARS = ("-wal", "-shm", "-journal")

# Who uses a write-ahead log keeps it as long as the database is open: waiting for that is no use.
LEAVE_PATIENCE_S = 1.0

Journal = Literal["wal", "delete"]

_warned: set[Path] = set()


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a SQLite file holds.

    Args:
        tables: The names of its tables.
        schema: The layout of Optuna's tables.
        is_finished: Whether whoever made the tables came to the end of it.
    """

    tables: set[str]
    schema: Schema
    is_finished: bool

    @property
    def needs_nothing(self) -> bool:
        """Whether Optuna, when it opens it, has nothing to make, to upgrade or to refuse."""
        is_current = self.schema.version is not None and self.schema.age is Age.CURRENT
        return self.is_finished and is_current and has_all(self.tables)


def claims_file(path: Path) -> Path:
    """Return the file that is locked while a study or a trial in a SQLite file is claimed.

    It stands beside the database, so that all project folders that use it share it.
    """
    return path.with_name(f"{path.name}.claims.lock")


@contextmanager
def opening_lock(path: Path, timeout_s: float) -> Iterator[None]:
    """Hold the lock under which a SQLite file is made, opened and upgraded.

    Raises:
        StorageError: another process has held it for too long.
        OSError: its folder cannot be written to.
    """
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=timeout_s)
    except Timeout as error:
        raise StorageError(
            f"{path}: another process is opening it and does not come to an end; "
            f"find it with: lsof {path}.lock"
        ) from error
    try:
        yield
    finally:
        lock.release()


def make_database(path: Path, journal: Journal) -> None:
    """Make a database of studies beside its place and put it there whole.

    A process that is killed here leaves no half of one. The caller holds the opening lock.

    Args:
        path: The file; it is not there.
        journal: How it keeps what is being written.

    Raises:
        OSError, sqlite3.Error, SQLAlchemyError: it cannot be made; nothing stands at `path`.
    """
    with atomic.replacing(path) as beside:
        try:
            _fill(beside, journal)
            _set_aside_sidecars(path)
            if path.exists():
                raise FileExistsError(errno.EEXIST, "another program has just made it", str(path))
        finally:
            for sidecar in _sidecars(beside):
                sidecar.unlink(missing_ok=True)


def look_into(connection: sqlite3.Connection) -> Contents:
    """Return what a SQLite file holds."""

    def query(sql: str) -> Sequence[Sequence[object]]:
        return connection.execute(sql).fetchall()

    tables = {str(name) for (name,) in query("SELECT name FROM sqlite_master WHERE type='table'")}
    written = VERSION_TABLE in tables and bool(query(f"SELECT 1 FROM {VERSION_TABLE}"))
    return Contents(tables=tables, schema=read_schema(tables, query), is_finished=written)


def refuse_unusable(path: Path, timeout_s: float, *, immutable: bool = False) -> Contents:
    """Make sure that a file is a database of studies that this Optuna can use.

    Returns:
        What it holds.

    Raises:
        StorageError: it is none; it is left as it is.
        sqlite3.Error: it cannot be read.
    """
    if path.stat().st_size == 0:
        raise StorageError(
            f"{path} is empty; if it held studies, restore a copy, else remove it and give the "
            "same command again"
        )
    with closing(connect(path, timeout_s, immutable=immutable)) as connection:
        contents = look_into(connection)
    if contents.tables and "studies" not in contents.tables:
        raise StorageError(
            f"{path} is a database, but not one of studies; it is left as it is, so name another "
            "one (storage.url)"
        )
    _refuse_age(path, contents.schema)
    missing = sorted(NEEDED_TABLES - contents.tables)
    if contents.is_finished and missing:
        # Optuna would make the table again, and what was in it would simply be gone.
        raise StorageError(
            f"{path} is damaged: it has no table {', '.join(missing)}; it is left as it is, so "
            "restore a copy"
        )
    return contents


def can_be_read_as_it_is(path: Path) -> bool:
    """Whether nothing but the file itself is needed to read it: there is no log beside it."""
    wal = path.with_name(f"{path.name}-wal")
    return not wal.exists() or wal.stat().st_size == 0


def journal_for(path: Path, mounts: Sequence[Mount]) -> Journal:
    """Return how a database at a path keeps what is being written.

    With a write-ahead log readers and the writer do not wait for each other, but the log is memory
    that the processes share, which a network file system does not have.
    """
    mount = mount_of(path, mounts)
    return "delete" if mount is not None and mount.is_network else "wal"


def journal_of(path: Path) -> Journal | None:
    """Return how a file says that it keeps what is being written, None for no database."""
    with path.open("rb") as file:
        header = file.read(20)
    if not header.startswith(b"SQLite format 3\0"):
        return None
    return "wal" if header[18:20] == b"\x02\x02" else "delete"


def settle_journal(path: Path, mounts: Sequence[Mount]) -> None:
    """Say that a database lies on a network file system, and take it out of WAL mode there.

    Args:
        path: The database.
        mounts: What is mounted where.
    """
    mount = mount_of(path, mounts)
    if mount is None or not mount.is_network:
        return
    _warn_once(path, mount)
    if journal_of(path) == "wal" and not leave_wal(path):
        log.warning(
            "%s keeps a write-ahead log, which does not work there, and another process uses it; "
            "end that process and give the command again",
            path,
        )


def leave_wal(path: Path) -> bool:
    """Let a database keep a rollback journal from now on; return whether that was possible."""
    try:
        with closing(connect(path, LEAVE_PATIENCE_S, writing=True)) as connection:
            # Exclusive first: then SQLite reads the log without the shared memory that is missing.
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            (mode,) = connection.execute("PRAGMA journal_mode=DELETE").fetchone()
    except sqlite3.OperationalError:
        return False
    return bool(mode == "delete")


def _fill(file: Path, journal: Journal) -> None:
    """Make Optuna's tables in a file that nobody else knows of.

    Raises:
        sqlite3.Error, SQLAlchemyError: it cannot be written.
    """

    def without_waiting() -> sqlite3.Connection:
        connection = sqlite3.connect(file)
        # Nobody would miss it after a crash; it is brought to the disk when it is whole.
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA journal_mode=MEMORY")
        return connection

    fill(create_engine("sqlite://", creator=without_waiting, poolclass=NullPool))
    with closing(without_waiting()) as connection:
        connection.execute(f"PRAGMA journal_mode={journal}")


def _sidecars(path: Path) -> Iterator[Path]:
    for suffix in SIDECARS:
        sidecar = path.with_name(path.name + suffix)
        if sidecar.exists():
            yield sidecar


def _refuse_age(path: Path, schema: Schema) -> None:
    if schema.age is Age.OLDER:
        raise StorageError(
            f"{path} was made by an older Optuna ({schema.library or schema.version}); upgrade it "
            "with: tunectl doctor --fix, which keeps a copy"
        )
    if schema.age is Age.NEWER:
        raise StorageError(
            f"{path} was made by a newer Optuna ({schema.library or schema.version}); it is left "
            "as it is, so install that version (pip install --upgrade optuna)"
        )


def _warn_once(path: Path, mount: Mount) -> None:
    if path in _warned:
        return
    _warned.add(path)
    log.warning(
        "%s lies on a network file system (%s at %s), where locks are slow and may fail; keep the "
        "database on a local disk (storage.url), or use a database server",
        path,
        mount.kind,
        mount.point,
    )


def _set_aside_sidecars(path: Path) -> None:
    """Rename a log whose database is gone: SQLite would play it into the new one."""
    for old in _sidecars(path):
        kept = atomic.free_name(old.with_name(f"{old.name}.old"))
        old.rename(kept)
        log.warning("%s belonged to a database that is gone; it is kept as %s", old, kept.name)
