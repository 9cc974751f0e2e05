"""The locks under which studies are made, and their trials claimed, by one process at a time.

Where it is kept decides who takes part: beside a SQLite file all that open that file, in a database
server all its clients. Any other database is on its own machine only: there the lock is a file in
the folder that the project keeps for the study.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock, Timeout

from tunectl.artifacts.study_dir import StudyDir
from tunectl.errors import StorageError
from tunectl.studies.server_lock import LockBusyError, ServerLock, keeps_locks
from tunectl.studies.sqlite_file import claims_file
from tunectl.studies.storage import sqlite_path

Lock = Callable[[], AbstractContextManager[None]]


def claim_lock(
    url: str,
    study_name: str,
    folder: StudyDir,
    patience_s: float | None = None,
    told: Callable[[], bool] | None = None,
) -> Lock:
    """Return the lock of a study's claims; each call of it holds the lock for a block.

    Args:
        url: The database's URL.
        study_name: The study.
        folder: The project's folder of the study.
        patience_s: How long to wait for a file's lock, in seconds; None for as long as it takes,
            as a server's always is waited for.
        told: Whether the program has been told to stop, which ends the waiting.
    """
    database = sqlite_path(url)
    if database is not None:
        return _FileLock(claims_file(database), patience_s, told)
    if keeps_locks(url):
        return ServerLock(url, f"study {study_name}", told)
    return _FileLock(folder.lock_file, patience_s, told)


def studies_lock(url: str) -> Lock:
    """Return the lock under which studies of a database are created and changed.

    Where there is none, who comes second finds the study made, or finishes it with the same values.
    """
    database = sqlite_path(url)
    if database is not None:
        return _FileLock(claims_file(database)) if database.exists() else nullcontext
    return ServerLock(url, "studies") if keeps_locks(url) else nullcontext


class _FileLock:
    """A lock on a file, which the operating system lets go when the process dies.

    Args:
        path: The file; it and its folder are made if missing.
        patience_s: How long to wait for it, in seconds; None for as long as it takes.
        told: Whether the program has been told to stop, which ends the waiting.
    """

    def __init__(
        self,
        path: Path,
        patience_s: float | None = None,
        told: Callable[[], bool] | None = None,
    ) -> None:
        self._path = path
        self._patience_s = patience_s
        self._told = told

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the lock for as long as the block runs.

        Raises:
            LockBusyError: it was waited for in vain, or there is no time to wait.
            StorageError: the file cannot be made.
        """
        lock = FileLock(self._path)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            patience_s = -1 if self._patience_s is None else self._patience_s
            lock.acquire(timeout=patience_s, cancel_check=self._told)
        except Timeout as error:
            raise LockBusyError(f"{self._path}: another process does not let go of it") from error
        except OSError as error:
            raise StorageError(f"cannot lock {self._path}: {error.strerror or error}") from error
        try:
            yield
        finally:
            lock.release()
