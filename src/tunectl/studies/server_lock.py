"""Locks that a database server keeps, so that all its clients see them, on whatever machine.

A lock is held on a connection of its own and goes with it: a machine that loses its power in the
middle of a claim holds up the others for a minute at most. It knows nothing of what is locked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from tunectl.errors import StorageError

POSTGRESQL = ("postgresql",)
MYSQL = ("mariadb", "mysql")
LIBPQ = ("psycopg", "psycopg2")
# What an administrator may have set against queries that take long, and waiting is one. The server
# looks after ten seconds of silence whether the client's machine is still there; it would take two
# hours otherwise.
_POSTGRESQL_SETTINGS = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL lock_timeout = '1s'",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
    "SET LOCAL tcp_keepalives_idle = 10",
    "SET LOCAL tcp_keepalives_interval = 10",
    "SET LOCAL tcp_keepalives_count = 5",
)
# Waiting is done a second at a time, to see in between whether the program has been told to stop.
_MYSQL_WAIT_S = 1
_LOCK_NOT_AVAILABLE = "55P03"
CONNECT_TIMEOUT_S = 15


def keeps_locks(url: str) -> bool:
    """Whether the database is a server that we know how to ask for a lock."""
    return make_url(url).get_backend_name() in (*POSTGRESQL, *MYSQL)


def server_options(url: str) -> dict[str, Any]:
    """Return the engine's options for a database server."""
    parsed = make_url(url)
    # A server may have been started again while an epoch went on.
    options: dict[str, Any] = {"pool_pre_ping": True}
    if parsed.get_driver_name() in LIBPQ and "connect_timeout" not in parsed.query:
        # A machine that is off does not answer, for which libpq would wait two minutes and more.
        options["connect_args"] = {"connect_timeout": CONNECT_TIMEOUT_S}
    return options


class LockBusyError(StorageError):
    """A process holds a lock for longer than somebody would wait."""


class ServerLock:
    """A lock among all who use a database.

    Args:
        url: SQLAlchemy URL of a server that keeps locks.
        name: What is locked.
        told: Whether the program has been told to stop, which ends the waiting.
    """

    def __init__(self, url: str, name: str, told: Callable[[], bool] | None = None) -> None:
        self._told = told
        parsed = make_url(url)
        self._is_postgresql = parsed.get_backend_name() in POSTGRESQL
        self._digest = hashlib.sha256(f"tunectl\0{parsed.database}\0{name}".encode()).digest()
        # A connection for each block: a server has room for a hundred or so, and a worker that
        # trains for an hour should not keep one for this.
        self._engine = create_engine(parsed, poolclass=NullPool, **server_options(url))

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the lock for as long as the block runs; wait for it as long as it takes.

        Raises:
            LockBusyError: the program has been told to stop while it waited.
            StorageError: the server has let go of the lock before the end of the block.
            SQLAlchemyError: the server cannot be reached.
        """
        with self._engine.connect() as connection:  # whatever it holds goes with it
            if self._is_postgresql:
                with self._held_by_postgresql(connection):
                    yield
            else:
                with self._held_by_mysql(connection):
                    yield

    @contextmanager
    def _held_by_postgresql(self, connection: Connection) -> Iterator[None]:
        # In a transaction, since a pool between us and the server hands on connections that have
        # none, with the locks of their sessions.
        while not self._begun_with_the_lock(connection):
            self._check_told()
        with connection.get_transaction() or connection.begin():
            yield
            connection.execute(text("SELECT 1"))  # fails if the connection was lost meanwhile

    def _begun_with_the_lock(self, connection: Connection) -> bool:
        """Begin a transaction that has the lock; False, and none, if a second is not enough."""
        transaction = connection.begin()
        for setting in _POSTGRESQL_SETTINGS:
            connection.execute(text(setting))
        key = int.from_bytes(self._digest[:8], "big", signed=True)
        try:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
        except OperationalError as error:
            if not _is_only_busy(error):
                raise
            transaction.rollback()
            return False
        return True

    def _check_told(self) -> None:
        if self._told is not None and self._told():
            raise LockBusyError("told to stop while waiting for another process to let go")

    @contextmanager
    def _held_by_mysql(self, connection: Connection) -> Iterator[None]:
        name = {"name": self._digest.hex()}  # 64 characters, the most that a name may have
        taken: int | None = 0
        while taken == 0:  # MariaDB has no way to wait for ever
            waiting = text(f"SELECT GET_LOCK(:name, {_MYSQL_WAIT_S})")
            taken = connection.execute(waiting, name).scalar()
            if taken == 0:
                self._check_told()
        if taken is None:
            raise StorageError("the database server refuses a lock; its log says why")
        yield
        if connection.execute(text("SELECT RELEASE_LOCK(:name)"), name).scalar() != 1:
            raise StorageError("the database server has let go of a lock too early")


def _is_only_busy(error: OperationalError) -> bool:
    """Whether a lock could not be had in time; drivers keep PostgreSQL's code in various places."""
    original: Any = error.orig
    code = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    return code == _LOCK_NOT_AVAILABLE or _LOCK_NOT_AVAILABLE in str(original)
