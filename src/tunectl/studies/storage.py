"""From a storage URL to an Optuna storage, and from its errors to ours.

The one boundary at which database errors are translated. It knows nothing of what is stored.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from tunectl.errors import StorageError, StudyNotFoundError, UsageError

# A writer waits so long for another one before it gives up.
BUSY_TIMEOUT_S = 60.0

# Those that every version of Optuna's schema has.
NEEDED_TABLES = {"trials", "trial_params", "trial_values", "trial_user_attributes"}

optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_storage(url: str, *, create: bool) -> RDBStorage | None:
    """Open the database of studies.

    Args:
        url: SQLAlchemy URL; a SQLite path in it is absolute.
        create: Make a SQLite file that is not there.

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
            return RDBStorage(_escaped(url))
        return _open_sqlite(url, path)


def sqlite_path(url: str) -> Path | None:
    """Return the file of a SQLite URL, None for any other database.

    Raises:
        UsageError: the URL is none, or is an in-memory database.
    """
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError) as error:
        shown = re.sub(r"//[^/@]*@", "//…@", url)  # whatever it is, it may hold a password
        raise UsageError(
            f"{shown!r} is no storage URL; valid is for example sqlite:///optuna/study.db"
        ) from error
    if parsed.get_backend_name() != "sqlite":
        return None
    if parsed.database in (None, "", ":memory:"):
        raise UsageError("an in-memory database would lose the study; give it a file")
    return Path(str(parsed.database))


def shown_url(url: str) -> str:
    """Return the URL as it may be shown: without its password."""
    return make_url(url).render_as_string(hide_password=True)


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Translate whatever a database says within the block into a `StorageError`."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, sqlite3.Error) as error:
        raise StorageError(f"{shown_url(url)}: {reason_of(error)}") from error
    except ImportError as error:
        raise StorageError(f"{shown_url(url)}: its driver is not installed ({error})") from error
    except OSError as error:
        raise StorageError(f"{shown_url(url)}: {error.strerror or error}") from error
    except KeyError as error:
        if "Record does not exist" not in str(error):
            raise
        raise StudyNotFoundError("the study was deleted by another process") from error
    except RuntimeError as error:
        if "table schema" not in str(error):
            raise
        raise StorageError(f"{shown_url(url)}: {error}") from error


def _open_sqlite(url: str, path: Path) -> RDBStorage:
    engine_kwargs = {"connect_args": {"timeout": BUSY_TIMEOUT_S}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Creating tables from several processes at once crashes some of them.
        with FileLock(f"{path}.lock"):
            _prepare(path)
            return RDBStorage(_escaped(url), engine_kwargs)
    except PermissionError:
        if not path.exists():
            raise
        return RDBStorage(_escaped(url), engine_kwargs)  # a read-only folder can still be read


def _prepare(path: Path) -> None:
    """Refuse what is no database of studies; let readers and the writer of a new one not wait."""
    if path.is_dir():
        raise StorageError(f"{path} is a folder, not a database")
    new = not path.exists() or path.stat().st_size == 0
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
        if new:
            connection.execute("PRAGMA journal_mode=WAL")
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if tables and "studies" not in tables:
        raise StorageError(f"{path} is a database, but not one of studies; it is left as it is")
    missing = sorted(NEEDED_TABLES - tables) if tables else []
    if missing:
        # Optuna would make the table again, and what was in it would simply be gone.
        raise StorageError(f"{path} is damaged: it has no table {', '.join(missing)}")


def _escaped(url: str) -> str:
    # Optuna calls `str.format` on the URL, for which a brace in a folder's name is a field.
    return url.replace("{", "{{").replace("}", "}}")


def reason_of(error: BaseException) -> str:
    """Return in a line what a database's error means."""
    cause = error.__cause__ or error
    text = str(getattr(cause, "orig", None) or cause).strip()
    known = {
        "database is locked": "another process keeps the database locked",
        "file is not a database": "this file is not a database; it is left as it is",
        "malformed": "the database is damaged",
        "readonly": "the database cannot be written",
        "unable to open": "the database cannot be opened",
        "disk is full": "the disk is full",
    }
    for words, meaning in known.items():
        if words in text:
            return f"{meaning} ({text})"
    return text.splitlines()[0] if text else type(cause).__name__
