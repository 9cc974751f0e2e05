"""What a database's or a disk's error means, in a sentence: what is wrong and what to do about it.

It knows the errors of SQLite by their codes and those of the operating system by theirs; of any
other database it passes on the first line.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from tunectl.config.passwords import hide_passwords


@dataclass(frozen=True)
class Reason:
    """What is wrong, and what to do about it, each half a sentence."""

    what: str
    advice: str


FULL = Reason("the disk is full", "nothing stored is lost, so free some space and go on")
QUOTA = Reason("your disk quota is used up", "nothing stored is lost, so free some space and go on")
READ_ONLY = Reason(
    "it cannot be written", "make it and its folder writable, or name another database: storage.url"
)
FAILING = Reason(
    "the disk reports an error", "look for a quota, or for a failing disk in the system's log"
)
MISSING = Reason(
    "it cannot be opened",
    "its folder has to be there and writable, since SQLite keeps its log beside it",
)
NOT_A_DATABASE = Reason(
    "this is no SQLite database",
    "it is left as it is: name another one, storage.url, or restore a copy",
)
DAMAGED = Reason(
    "the database is damaged",
    "it is left as it is: tunectl doctor says what is wrong; restore a copy",
)
MOVED = Reason("the database was moved or deleted while in use", "put it back and go on")
NO_MEMORY = Reason("there is not enough memory", "end other programs and go on")

# The first prefix of SQLite's name for an error that fits.
_SQLITE = {
    "SQLITE_FULL": FULL,
    "SQLITE_NOTADB": NOT_A_DATABASE,
    "SQLITE_CORRUPT": DAMAGED,
    "SQLITE_READONLY_DBMOVED": MOVED,
    "SQLITE_READONLY": READ_ONLY,
    "SQLITE_CANTOPEN": MISSING,
    "SQLITE_NOMEM": NO_MEMORY,
}
_OS = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: QUOTA,
    errno.EROFS: READ_ONLY,
    errno.EACCES: READ_ONLY,
    errno.EPERM: READ_ONLY,
    errno.EIO: FAILING,
    errno.ENOMEM: NO_MEMORY,
}


def reason_of(error: BaseException, path: Path | None = None) -> str:
    """Return in a line what an error of a database means.

    Args:
        error: As Optuna, SQLAlchemy, SQLite or the operating system raised it.
        path: The database's file, where it is one.
    """
    cause = root_of(error)
    text = hide_passwords(_first_line(cause))
    reason = _reason(cause, path)
    return text if reason is None else f"{reason.what} ({text}); {reason.advice}"


def root_of(error: BaseException) -> BaseException:
    """Return the database's own error under those of Optuna and SQLAlchemy."""
    cause = error.__cause__ or error
    original = getattr(cause, "orig", None)
    return original if isinstance(original, BaseException) else cause


def sqlite_code(error: BaseException) -> str:
    """Return SQLite's name for an error, such as `SQLITE_FULL`; empty for any other error."""
    cause = root_of(error)
    return str(getattr(cause, "sqlite_errorname", "")) if isinstance(cause, sqlite3.Error) else ""


def _reason(cause: BaseException, path: Path | None) -> Reason | None:
    if isinstance(cause, OSError):
        return _too_large() if cause.errno == errno.EFBIG else _OS.get(cause.errno or 0)
    code = sqlite_code(cause)
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return _locked(path)
    if code.startswith("SQLITE_IOERR"):
        return _reason_of_io(path)
    return next((one for prefix, one in _SQLITE.items() if code.startswith(prefix)), None)


def _first_line(cause: BaseException) -> str:
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__


def _locked(path: Path | None) -> Reason:
    look = f"; it is one of those that this names: lsof {path}" if path is not None else ""
    return Reason("another process keeps the database locked", f"wait until it has ended{look}")


def _reason_of_io(path: Path | None) -> Reason:
    """Return what is behind an "I/O error", which is what SQLite calls nearly everything."""
    if path is not None:
        try:
            if os.statvfs(path.parent).f_flag & os.ST_RDONLY:
                return READ_ONLY
            if shutil.disk_usage(path.parent).free < os.sysconf("SC_PAGE_SIZE"):
                return FULL
        except OSError:
            return FAILING
    limited = resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
    return _too_large() if limited else FAILING


def _too_large() -> Reason:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    size = "" if limit == resource.RLIM_INFINITY else f" of {limit} bytes"
    return Reason(
        f"a file would become larger than the limit{size}",
        "nothing stored is lost, so raise the limit, ulimit -f, and go on",
    )
