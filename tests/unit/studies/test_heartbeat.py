from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from sqlalchemy import create_engine

from tunectl.studies.file_systems import Mount
from tunectl.studies.heartbeat import GRACE_S, Heart, Heartbeats, beating, heartbeats_of, is_silent
from tunectl.studies.storage import open_storage

PATIENCE_S = 60.0


class Patient(Heartbeats):
    """Heartbeats that fail at first, and can be waited for.

    Args:
        failures: How many.
    """

    def __init__(self, failures: int) -> None:
        super().__init__(None)
        self.heard = threading.Semaphore(0)
        self.failures = failures

    def beat(self, trial_id: int) -> None:
        if self.failures:
            self.failures -= 1
            raise sqlite3.OperationalError("database is locked")
        self.heard.release()

    def ages_s(self, trial_ids: Collection[int]) -> dict[int, float]:
        return {}


def test_a_database_that_is_away_for_a_while_does_not_stop_the_heart(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heartbeats = Patient(failures=3)
    with Heart(heartbeats, 5, 4, every_s=0.01, retry_s=0.01) as heart:
        for _ in range(3):
            assert heartbeats.heard.acquire(timeout=PATIENCE_S)

    assert not heart._thread.is_alive()
    warnings = [record.getMessage() for record in caplog.records]
    assert warnings == [
        "the database did not hear that trial 4 is alive: database is locked; trying again"
    ]


def test_the_age_of_a_heartbeat_is_told_by_the_database(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/study.db", create=True)
    study = optuna.create_study(storage=storage)
    heartbeats = heartbeats_of(study)
    ids = [study.ask()._trial_id for _ in range(3)]
    for trial_id in (ids[0], ids[0], ids[1]):
        heartbeats.beat(trial_id)
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        connection.execute(
            "UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 hour') WHERE trial_id = ?",
            (ids[1],),
        )
        connection.commit()

    ages = heartbeats.ages_s(ids)

    assert ages.keys() == set(ids[:2])
    assert not is_silent(ages[ids[0]])
    assert ages[ids[1]] == pytest.approx(3600, abs=120)
    assert is_silent(ages[ids[1]])
    heartbeats.beat(999)  # of a study that has been deleted


def test_a_heartbeat_from_the_future_is_none() -> None:
    assert not is_silent(-GRACE_S)
    assert is_silent(-GRACE_S - 1)


def test_a_database_on_a_local_disk_gets_no_heartbeats(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/study.db", create=True)
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    with beating(trial):
        pass

    assert not heartbeats_of(study).are_needed
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM trial_heartbeats").fetchone() == (0,)
    assert not heartbeats_of(optuna.create_study()).are_needed


def test_a_database_on_a_network_gets_them() -> None:
    engine = create_engine("sqlite:////home/ann/study.db")
    kinds = {"/": "ext4", "/home": "nfs4"}
    mounts = [Mount(point=Path(point), kind=kind) for point, kind in kinds.items()]

    assert Heartbeats(engine, lambda: mounts).are_needed
    assert not Heartbeats(engine, lambda: mounts[:1]).are_needed
    assert not Heartbeats(engine, list).are_needed
