"""What is written of a running trial's epochs, and when the disk is waited for."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import optuna
import pytest

from tunectl.studies.epoch_rows import EpochRows, open_rows
from tunectl.studies.storage import open_storage


@contextmanager
def opened(url: str) -> Iterator[tuple[optuna.Study, EpochRows]]:
    """Yield a study with a running trial, and where that one's epochs are written."""
    storage = open_storage(url, create=True)
    assert storage is not None
    study = optuna.create_study(study_name="s", storage=storage)
    rows = open_rows(storage, study.ask()._trial_id)
    try:
        yield study, rows
    finally:
        rows.close()
        storage.engine.dispose()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list in which every file that is brought to the disk is taken down."""
    files: list[str] = []
    fsync = os.fsync

    def take_down(descriptor: int) -> None:
        files.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", take_down)
    return files


def test_the_disk_is_waited_for_when_that_is_asked_for_and_once(
    database: str, synced: list[str]
) -> None:
    with opened(database) as (study, rows):
        synced.clear()  # a new database is brought to the disk as well
        rows.add({1: 0.5})
        rows.add({2: 0.4})
        assert not synced
        rows.secure()
        rows.secure()
        assert synced == [f"{Path(database.removeprefix('sqlite:///')).name}-wal"]
        assert study.get_trials()[0].intermediate_values == {1: 0.5, 2: 0.4}


def test_a_disk_that_refuses_is_told_and_asked_again(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with opened(database) as (_, rows):
        rows.add({1: 0.5})
        with monkeypatch.context() as patch, pytest.raises(OSError, match="Input/output"):
            patch.setattr(os, "fsync", refuse)
            rows.secure()
        synced: list[int] = []
        monkeypatch.setattr(os, "fsync", synced.append)
        rows.secure()
        assert len(synced) == 1


def test_what_left_the_log_is_on_the_disk(database: str) -> None:
    with opened(database) as (_, rows):
        rows.add({1: 0.5})
        with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        rows.secure()


def test_without_a_log_there_is_nothing_to_secure(database: str) -> None:
    path = Path(database.removeprefix("sqlite:///"))
    with opened(database) as (study, rows):
        rows.close()
        study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA journal_mode=DELETE")
        rows = open_rows(study._storage._backend, 1)  # type: ignore[attr-defined]
        rows.add({1: 0.5})
        rows.secure()
        assert study.get_trials()[0].intermediate_values == {1: 0.5}


def test_a_link_to_the_database_has_its_log_beside_the_file(
    tmp_path: Path, synced: list[str]
) -> None:
    real = tmp_path / "real" / "study.db"
    real.parent.mkdir()
    link = tmp_path / "link.db"
    link.symlink_to(real)
    with opened(f"sqlite:///{link}") as (_, rows):
        rows.add({1: 0.5})
        rows.secure()
    assert synced[-1] == "study.db-wal"


def test_after_a_write_that_failed_the_next_one_goes_well(database: str) -> None:
    with opened(database) as (study, rows):
        with pytest.raises(TypeError):
            rows.add({1: 0.5, 2: "much"})  # type: ignore[dict-item]
        rows.add({3: 0.3})
        assert study.get_trials()[0].intermediate_values == {3: 0.3}
