"""From a storage URL to an Optuna storage, and from its errors to ours.

The one boundary at which database errors are translated. It knows nothing of what is stored.
"""

from __future__ import annotations

import errno
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

from tunectl.config.passwords import hide_passwords
from tunectl.errors import StorageError, StudyNotFoundError, TrialLostError, UsageError
from tunectl.studies import sqlite_file
from tunectl.studies.connection import connect
from tunectl.studies.file_systems import Mounts, current_mounts
from tunectl.studies.reasons import reason_of, sqlite_code
from tunectl.studies.server_lock import ServerLock, keeps_locks, server_options
from tunectl.studies.tables import open_as_it_is, open_checked

__all__ = [
    "open_storage",
    "reason_of",
    "shown_url",
    "sqlite_path",
    "storage_errors",
    "timeout_of",
]

# A writer waits so long for another one before it gives up; `?timeout=` in the URL says otherwise.
BUSY_TIMEOUT_S = 60.0

# What opening a database in a place that cannot be written to may fail with.
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT)

_DRIVERS = {
    "postgresql": "for postgresql+psycopg:// it comes with: pip install 'tunectl[postgresql]'",
    "mariadb": "for mariadb+pymysql:// it is: pip install pymysql",
    "mysql": "for mysql+pymysql:// it is: pip install pymysql",
}

optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_storage(url: str, *, create: bool, mounts: Mounts = current_mounts) -> RDBStorage | None:
    """Open the database of studies.

    Args:
        url: SQLAlchemy URL; a SQLite path in it is absolute.
        create: It will be written to: make a SQLite file that is not there.
        mounts: Says what is mounted where.

    Returns:
        The storage, or None where it is a SQLite file that is not there and `create` is False.

    Raises:
        UsageError: the URL is none, or names a database that is gone when the process ends.
        StorageError: it cannot be reached, is locked, damaged or of another schema.
    """
    path = sqlite_path(url)
    if path is not None and not create and not path.exists():
        return None
    with storage_errors(url):
        if path is None:
            return _open_on_server(url)
        if not create:
            return _open_for_reading(url, path, mounts)
        _make_folder(path)
        return _open_in_turn(url, path, mounts)


def sqlite_path(url: str) -> Path | None:
    """Return the file of a SQLite URL, None for any other database.

    Raises:
        UsageError: the URL is none, or is an in-memory database.
    """
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError) as error:
        # Whatever it is, it may hold a password; a path that lacks its sqlite:/// does not.
        shown = url if re.fullmatch(r"[\w./~-]+", url) else re.sub(r"[^\w].*", "…", url)
        raise UsageError(
            f"{shown!r} is no storage URL; valid is for example sqlite:///optuna/study.db"
        ) from error
    if parsed.get_backend_name() != "sqlite":
        _refuse_split_password(parsed)
        return None
    if parsed.database in (None, "", ":memory:"):
        raise UsageError("an in-memory database would lose the study; give it a file")
    if str(parsed.database).startswith("file:"):
        raise UsageError(f"{shown_url(url)!r}: give the path itself, as in sqlite:////tmp/study.db")
    return Path(str(parsed.database))


def shown_url(url: str) -> str:
    """Return the URL as it may be shown: without its password."""
    return hide_passwords(make_url(url).render_as_string(hide_password=True))


def timeout_of(url: str) -> float:
    """Return how many seconds to wait for another process that uses a SQLite file."""
    given = make_url(url).query.get("timeout")
    try:
        return float(str(given)) if given is not None else BUSY_TIMEOUT_S
    except ValueError as error:
        raise UsageError(f"{shown_url(url)!r}: timeout takes seconds, not {given!r}") from error


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Translate whatever a database says within the block into a `StorageError`."""
    try:
        yield
    except NoSuchModuleError as error:
        raise UsageError(
            f"{shown_url(url)!r} names a kind of database that there is not; valid are for example "
            "sqlite:///optuna/study.db, postgresql+psycopg://user@host/name and "
            "mysql+pymysql://user@host/name"
        ) from error
    except (StorageInternalError, SQLAlchemyError, sqlite3.Error) as error:
        raise StorageError(f"{shown_url(url)}: {reason_of(error, sqlite_path(url))}") from error
    except OSError as error:
        raise StorageError(f"{error.filename or shown_url(url)}: {reason_of(error)}") from error
    except ImportError as error:
        raise StorageError(
            f"{shown_url(url)}: its driver is not installed ({hide_passwords(str(error))}); "
            f"{_DRIVERS.get(make_url(url).get_backend_name(), 'install it with pip')}"
        ) from error
    except KeyError as error:
        if "Record does not exist" not in str(error):
            raise
        raise StudyNotFoundError("the study was deleted by another process") from error
    except UpdateFinishedTrialError as error:
        raise TrialLostError("another process has brought it to its end") from error
    except RuntimeError as error:
        if "table schema" not in str(error):
            raise
        raise StorageError(f"{shown_url(url)}: {error}") from error


def _refuse_split_password(parsed: URL) -> None:
    """Refuse a URL whose password ends too early, before its rest is shown as a host.

    Raises:
        UsageError: it does.
    """
    if "@" in (parsed.host or ""):
        raise UsageError(
            f"the storage URL {parsed.drivername}://…@… has an @ in its password, which has to be "
            "written as %40 there"
        )


def _open_on_server(url: str) -> RDBStorage:
    options = server_options(url)
    if not keeps_locks(url):
        return open_checked(_escaped(url), options)
    # Creating tables from several processes at once crashes some of them, here as well.
    with ServerLock(url, "tables")():
        return open_checked(_escaped(url), options)


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise StorageError(
            f"{path}: its folder cannot be made, since {error.filename} is a file; move that away, "
            "or name another database: storage.url"
        ) from error


def _open_for_reading(url: str, path: Path, mounts: Mounts) -> RDBStorage:
    """Open a SQLite file, also where nothing can be written: in a read-only folder, on a full disk.

    A database that has no log beside it can be taken as it is, if SQLite cannot make one.
    """
    try:
        try:
            return _open_in_turn(url, path, mounts)
        except OSError as error:  # the lock's file cannot be made
            if error.errno not in _NOT_WRITABLE:
                raise
            sqlite_file.refuse_unusable(path, timeout_of(url))
            return open_checked(_escaped(url), _engine_options(url))
    except (sqlite3.OperationalError, StorageInternalError) as error:
        locked = sqlite_code(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
        if locked or not sqlite_file.can_be_read_as_it_is(path):
            raise
        sqlite_file.refuse_unusable(path, timeout_of(url), immutable=True)
        return open_checked(_escaped(url), {"creator": _reader_of(path)})


def _open_in_turn(url: str, path: Path, mounts: Mounts) -> RDBStorage:
    """Open a SQLite file, made if it is not there: from several processes at once some would fail.

    Raises:
        OSError: its folder cannot be written to.
    """
    if path.is_dir():
        raise StorageError(f"{path} is a folder, not a database; name a file (storage.url)")
    timeout_s = timeout_of(url)
    with sqlite_file.opening_lock(path, timeout_s):
        if not path.exists():
            real = path.resolve()  # a link to where it is to be is left a link
            sqlite_file.make_database(real, sqlite_file.journal_for(real, mounts()))
        contents = sqlite_file.refuse_unusable(path, timeout_s)
        sqlite_file.settle_journal(path, mounts())
        make = open_as_it_is if contents.needs_nothing else open_checked
        return make(_escaped(url), _engine_options(url))


def _engine_options(url: str) -> dict[str, Any]:
    return {"connect_args": {"timeout": timeout_of(url)}}


def _reader_of(path: Path) -> Callable[[], sqlite3.Connection]:
    return lambda: connect(path, 0.0, immutable=True)


def _escaped(url: str) -> str:
    # Optuna calls `str.format` on the URL, for which a brace in a folder's name is a field.
    return url.replace("{", "{{").replace("}", "}}")
