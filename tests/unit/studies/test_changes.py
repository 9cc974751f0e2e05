"""Whether a database may have changed, seen from its files alone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import optuna

from tunectl.studies.changes import impatient, stamp_of


def age(path: Path, seconds: float) -> None:
    at = time.time() - seconds
    os.utime(path, (at, at))


def test_a_database_that_was_left_alone_need_not_be_read_again(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    url = f"sqlite:///{file}"
    study = optuna.create_study(storage=url)
    fresh = stamp_of(url)
    age(file, 60.0)
    old, again = stamp_of(url), stamp_of(url)
    study.ask()
    written = stamp_of(url)

    assert fresh is not None and old is not None and again is not None and written is not None
    assert again.is_as_at(old)
    assert not fresh.is_as_at(fresh)  # within the same moment more may have been written
    assert not written.is_as_at(old)
    assert not written.is_of_another_file(old)
    assert not old.is_as_at(None)


def test_a_database_that_was_replaced_or_removed_is_another_file(tmp_path: Path) -> None:
    file, other = tmp_path / "study.db", tmp_path / "other.db"
    url = f"sqlite:///{file}"
    file.write_bytes(b"one")
    before = stamp_of(url)
    other.write_bytes(b"two")
    other.replace(file)
    after = stamp_of(url)
    file.unlink()
    gone = stamp_of(url)

    assert before is not None and after is not None and gone is not None
    assert after.is_of_another_file(before)
    assert gone.is_of_another_file(after)
    assert not gone.is_of_another_file(gone)
    assert not after.is_of_another_file(None)


def test_a_server_is_read_each_time_and_its_url_is_left_alone() -> None:
    url = "postgresql+psycopg://someone:secret@host/name"
    assert stamp_of(url) is None
    assert impatient(url, 1.0) == url
    assert impatient("sqlite:////tmp/s.db?timeout=9", 1.5) == "sqlite:////tmp/s.db?timeout=1.5"
