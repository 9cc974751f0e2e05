"""A SQLite file of studies: made whole, opened with care, and never replaced."""

from __future__ import annotations

import logging
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import optuna
import pytest

from tunectl.errors import StorageError, UsageError
from tunectl.studies.file_systems import Mount
from tunectl.studies.storage import open_storage, shown_url, storage_errors

NETWORK = [Mount(point=Path("/"), kind="nfs4")]
LOCAL = [Mount(point=Path("/"), kind="ext4")]


def url_of(file: Path, **query: object) -> str:
    more = "&".join(f"{key}={value}" for key, value in query.items())
    return f"sqlite:///{file}" + (f"?{more}" if more else "")


def ask(file: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute(sql).fetchall()
        connection.commit()
    return rows


def journal_of(file: Path) -> object:
    return ask(file, "PRAGMA journal_mode")[0][0]


@contextmanager
def held_by_another_process(file: Path, sql: str) -> Iterator[None]:
    program = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute(sys.argv[2]).fetchall()\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(file), sql],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield
    finally:
        process.communicate("")


# -- making one -----------------------------------------------------------------------------------


def test_a_new_database_lets_readers_and_the_writer_work_at_once(tmp_path: Path) -> None:
    file = tmp_path / "new" / "study.db"

    storage = open_storage(url_of(file), create=True, mounts=lambda: LOCAL)

    assert journal_of(file) == "wal"
    assert storage is not None
    storage.engine.dispose()
    assert sorted(path.name for path in file.parent.iterdir()) == ["study.db", "study.db.lock"]


def test_a_link_to_where_the_database_is_to_be_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "study.db"
    link.symlink_to(tmp_path / "disk" / "real.db")

    open_storage(url_of(link), create=True)

    assert link.is_symlink()
    assert (tmp_path / "disk" / "real.db").is_file()


def test_a_database_that_cannot_be_made_whole_is_not_made_at_all(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        with pytest.raises(StorageError, match="larger than the limit of 60000 bytes"):
            open_storage(url_of(file), create=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert [path.name for path in tmp_path.iterdir()] == ["study.db.lock"]
    assert open_storage(url_of(file), create=True) is not None


def test_the_log_of_a_database_that_is_gone_is_kept_and_not_played_into_a_new_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "study.db"
    with closing(sqlite3.connect(file)) as old:
        old.execute("PRAGMA journal_mode=WAL")
        old.execute("CREATE TABLE recipes (name TEXT)")
        old.commit()
        wal = (tmp_path / "study.db-wal").read_bytes()
    file.unlink()
    (tmp_path / "study.db-wal").write_bytes(wal)

    storage = open_storage(url_of(file), create=True)

    assert storage is not None
    assert optuna.get_all_study_names(storage) == []
    assert (tmp_path / "study.db-wal.old").read_bytes() == wal
    assert "it is kept as study.db-wal.old" in caplog.text
    tables = {name for (name,) in ask(file, "SELECT name FROM sqlite_master")}
    assert "trials" in tables
    assert "recipes" not in tables


# -- network file systems -------------------------------------------------------------------------


def test_a_new_database_on_a_network_file_system_keeps_a_rollback_journal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "study.db"

    for _ in range(3):
        open_storage(url_of(file), create=True, mounts=lambda: NETWORK)

    assert journal_of(file) == "delete"
    (record,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    message = record.getMessage()
    assert f"{file} lies on a network file system (nfs4 at /)" in message
    assert "keep the database on a local disk (storage.url), or use a database server" in message


def test_a_database_that_was_moved_to_one_leaves_wal_and_keeps_its_studies(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    storage = open_storage(url_of(file), create=True, mounts=lambda: LOCAL)
    optuna.create_study(storage=storage, study_name="mine")
    assert storage is not None
    storage.engine.dispose()

    moved = open_storage(url_of(file), create=False, mounts=lambda: NETWORK)

    assert journal_of(file) == "delete"
    assert moved is not None
    assert optuna.get_all_study_names(moved) == ["mine"]


def test_one_that_another_process_uses_there_is_left_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "study.db"
    open_storage(url_of(file), create=True, mounts=lambda: LOCAL)

    with held_by_another_process(file, "SELECT * FROM studies"):
        open_storage(url_of(file, timeout=0.1), create=False, mounts=lambda: NETWORK)

    assert "keeps a write-ahead log, which does not work there, and another process" in caplog.text
    assert journal_of(file) == "wal"


# -- what is there and cannot be used -------------------------------------------------------------


def test_an_empty_file_is_not_taken_for_a_new_database(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    file.touch()

    for create in (True, False):
        with pytest.raises(StorageError, match="is empty; if it held studies, restore a copy"):
            open_storage(url_of(file), create=create)

    assert file.read_bytes() == b""


def test_a_truncated_database_is_damaged_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    open_storage(url_of(file), create=True)
    half = file.read_bytes()[: file.stat().st_size // 2]
    file.write_bytes(half)

    for create in (True, False):
        with pytest.raises(StorageError, match=r"is damaged .*restore a copy"):
            open_storage(url_of(file), create=create)

    assert file.read_bytes() == half


def test_a_database_that_has_lost_a_table_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    open_storage(url_of(file), create=True)
    ask(file, "DROP TABLE trial_values")

    with pytest.raises(StorageError, match="is damaged: it has no table trial_values"):
        open_storage(url_of(file), create=True)


def test_one_that_optuna_was_killed_in_the_making_of_is_finished(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    open_storage(url_of(file), create=True)
    for table in ("trial_values", "trial_params", "alembic_version"):
        ask(file, f"DROP TABLE {table}")
    ask(file, "DELETE FROM version_info")  # what Optuna writes after the tables

    storage = open_storage(url_of(file), create=True)

    assert storage is not None
    optuna.create_study(storage=storage, study_name="mine").optimize(lambda _: 1.0, n_trials=1)


def test_a_folder_in_its_place_is_left(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is a folder, not a database"):
        open_storage(url_of(tmp_path), create=True)


def test_one_that_is_locked_names_who_can_be_asked(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    open_storage(url_of(file), create=True, mounts=lambda: NETWORK)

    with held_by_another_process(file, "BEGIN EXCLUSIVE"), pytest.raises(StorageError) as error:
        open_storage(url_of(file, timeout=0.1), create=False)

    assert "another process keeps the database locked (database is locked)" in str(error.value)
    assert f"lsof {file}" in str(error.value)


def test_a_writer_waits_a_minute_for_another_one(tmp_path: Path) -> None:
    storage = open_storage(url_of(tmp_path / "study.db"), create=True)

    assert storage is not None
    with storage.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000


def test_a_timeout_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="timeout takes seconds, not 'soon'"):
        open_storage(url_of(tmp_path / "study.db", timeout="soon"), create=True)


# -- where nothing can be written -----------------------------------------------------------------


def test_a_study_can_be_read_where_nothing_can_be_written(
    tmp_path: Path, read_only: Callable[[Path], AbstractContextManager[None]]
) -> None:
    folder = tmp_path / "optuna"
    storage = open_storage(url_of(folder / "study.db"), create=True)
    optuna.create_study(storage=storage, study_name="mine")
    assert storage is not None
    storage.engine.dispose()

    with read_only(folder):
        found = open_storage(url_of(folder / "study.db"), create=False)
        assert found is not None
        assert optuna.get_all_study_names(found) == ["mine"]
        found.engine.dispose()
        with pytest.raises(StorageError, match=r"it cannot be written .*make it and its folder"):
            open_storage(url_of(folder / "study.db"), create=True)


def test_a_study_can_be_read_on_a_full_disk(
    tmp_path: Path, small_disk: Callable[[Path, int], AbstractContextManager[None]]
) -> None:
    folder = tmp_path / "optuna"
    folder.mkdir()
    with small_disk(folder, 300):
        storage = open_storage(url_of(folder / "study.db"), create=True)
        optuna.create_study(storage=storage, study_name="mine")
        assert storage is not None
        storage.engine.dispose()
        with pytest.raises(OSError, match="No space"), (folder / "rest").open("wb") as file:
            file.write(bytes(300_000))

        found = open_storage(url_of(folder / "study.db"), create=False)
        assert found is not None
        assert optuna.get_all_study_names(found) == ["mine"]
        found.engine.dispose()
        with pytest.raises(StorageError, match=r"the disk is full .*free some space and go on"):
            open_storage(url_of(folder / "study.db"), create=True)
        (folder / "rest").unlink()
        assert open_storage(url_of(folder / "study.db"), create=True) is not None


# -- other versions of Optuna ---------------------------------------------------------------------


def test_an_older_database_is_refused_and_not_touched(old_database: Path) -> None:
    before = old_database.read_bytes()

    for create in (True, False):
        with pytest.raises(StorageError) as error:
            open_storage(url_of(old_database), create=create)
        assert "was made by an older Optuna (2.10.1)" in str(error.value)
        assert "upgrade it with: tunectl doctor --fix, which keeps a copy" in str(error.value)

    assert old_database.read_bytes() == before


def test_a_newer_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    open_storage(url_of(file), create=True)
    ask(file, "UPDATE alembic_version SET version_num = 'v9.0.0.a'")
    ask(file, "UPDATE version_info SET library_version = '9.0.1'")
    before = file.read_bytes()

    with pytest.raises(StorageError, match=r"made by a newer Optuna \(9.0.1\); it is left as it"):
        open_storage(url_of(file), create=True)

    assert file.read_bytes() == before


# -- what is shown --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@host/db",
        "postgresql://me:se/cr:secret@host/db?sslmode=require",
        "mysql+pymysql://host/db?user=me&password=secret&charset=utf8",
        "postgresql://me@host/db?sslpassword=secret",
    ],
)
def test_no_message_shows_a_password(url: str) -> None:
    assert "secret" not in shown_url(url)
    for error in (
        optuna.exceptions.StorageInternalError("no"),
        ImportError(f"no driver for {url}"),
        OSError(28, "No space left on device"),
    ):
        with pytest.raises(StorageError) as told, storage_errors(url):
            raise error
        assert "secret" not in str(told.value)


@pytest.mark.parametrize("url", ["nonsense://me:secret", "//me:se@secret@host", "me:secret"])
def test_what_is_no_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises((UsageError, StorageError)) as error:
        open_storage(url, create=True)

    assert "secret" not in str(error.value)
