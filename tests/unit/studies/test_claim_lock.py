from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from filelock import FileLock
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from postgresql_server import Server
from tunectl.artifacts.study_dir import StudyDir
from tunectl.errors import StorageError
from tunectl.studies.claim_lock import claim_lock
from tunectl.studies.server_lock import LockBusyError, ServerLock, keeps_locks

PROCESSES = multiprocessing.get_context("spawn")
PATIENCE_S = 60.0


def count(url: str, folder: Path, times: int) -> None:
    """Add one to a number in a file, again and again, as nobody may who does not hold the lock."""
    lock = claim_lock(url, "s", StudyDir(folder / f"of process {os.getpid()}"))
    file = folder / "number"
    for _ in range(times):
        with lock():
            number = int(file.read_text()) if file.exists() else 0
            file.write_text("")
            file.write_text(str(number + 1))


def hold(url: str, name: str, ready: Connection) -> None:
    """Hold a lock for ever."""
    with ServerLock(url, name)():
        ready.send(True)
        signal.pause()


def counted(url: str, folder: Path) -> int:
    processes = [PROCESSES.Process(target=count, args=(url, folder, 20)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_S)
        assert process.exitcode == 0
    return int((folder / "number").read_text())


def test_one_process_at_a_time_claims_in_a_file(tmp_path: Path) -> None:
    assert counted(f"sqlite:///{tmp_path}/study.db", tmp_path) == 60


def test_the_lock_stands_beside_the_file_for_all_projects_that_use_it(tmp_path: Path) -> None:
    lock = claim_lock(f"sqlite:///{tmp_path}/study.db", "s", StudyDir(tmp_path / "mine"))
    with lock():
        assert not FileLock(tmp_path / "study.db.claims.lock").is_locked
        assert (tmp_path / "study.db.claims.lock").exists()
    assert not (tmp_path / "mine").exists()


def test_a_lock_that_cannot_be_made_is_told_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("")
    lock = claim_lock(f"sqlite:///{tmp_path}/folder/study.db", "s", StudyDir(tmp_path))

    with (
        pytest.raises(StorageError, match=r"cannot lock .*folder/study\.db\.claims\.lock: "),
        lock(),
    ):
        pass


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+psycopg://ann:pw@host/db", True),
        ("mysql+pymysql://host/db", True),
        ("mariadb+pymysql://host/db", True),
        ("mssql+pyodbc://host/db", False),
    ],
)
def test_a_database_without_locks_gets_one_in_the_projects_folder(url: str, expected: bool) -> None:
    assert keeps_locks(url) is expected


@pytest.mark.slow
def test_one_process_at_a_time_claims_in_a_server(postgresql: Server, tmp_path: Path) -> None:
    assert counted(postgresql.new_database(), tmp_path) == 60


@pytest.mark.slow
def test_the_lock_of_a_killed_process_is_free_and_others_are_not_concerned(
    postgresql: Server,
) -> None:
    url = postgresql.new_database()
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=hold, args=(url, "one", theirs))
    process.start()
    assert ours.poll(PATIENCE_S)

    with ServerLock(url, "two")():
        process.kill()
    process.join(PATIENCE_S)
    with ServerLock(url, "one")():  # waits until the server has noticed
        pass


@pytest.mark.slow
def test_a_lock_is_waited_for_unless_the_program_is_told_to_stop(postgresql: Server) -> None:
    url = postgresql.new_database()
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=hold, args=(url, "one", theirs))
    process.start()
    assert ours.poll(PATIENCE_S)

    with pytest.raises(LockBusyError), ServerLock(url, "one", lambda: True)():
        pass
    threading.Timer(2.5, process.kill).start()  # longer than a second, which is one wait
    with ServerLock(url, "one", lambda: False)():
        pass
    process.join(PATIENCE_S)


@pytest.mark.slow
def test_whoever_lost_the_lock_is_told_before_it_goes_on(postgresql: Server) -> None:
    url = postgresql.new_database()
    lock, other = ServerLock(url, "one"), create_engine(url)
    with pytest.raises(OperationalError), lock(), other.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )

    with lock():  # on a new connection
        pass
    with pytest.raises(ZeroDivisionError), lock():
        raise ZeroDivisionError
    with ServerLock(url, "one")():
        pass
    other.dispose()
