"""A summary read with a few queries is, to the bit, the one that Optuna's own reading gives."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from stored_studies import NAMES, ended, make_all
from tunectl.reports.summary import summarise, summarise_record
from tunectl.studies.connection import connect
from tunectl.studies.reading import LAYOUT, read_overviews, read_study
from tunectl.studies.recording import record_study
from tunectl.studies.records import overview_of
from tunectl.studies.schema import newest_version


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]
)
def storage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RDBStorage]:
    """Yield a database of studies of every kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('ways') / 'study.db'}"
    else:
        url = request.getfixturevalue("postgresql").new_database()
    made = RDBStorage(url)
    make_all(made)
    yield made
    made.engine.dispose()


@pytest.fixture
def url(storage: RDBStorage) -> str:
    return storage.url


def loaded(storage: RDBStorage, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=storage)


@pytest.mark.parametrize("name", NAMES)
def test_both_ways_give_the_same_summary(storage: RDBStorage, name: str, tmp_path: Path) -> None:
    quickly = read_study(storage.url, name)
    assert quickly is not None

    ours = summarise_record(quickly, "a database", tmp_path)
    optunas = summarise(loaded(storage, name), "a database", tmp_path)

    assert repr(ours) == repr(optunas)  # NaN is not equal to itself, but looks the same
    assert ours.to_csv() == optunas.to_csv()
    assert repr(ours.to_document()) == repr(optunas.to_document())
    assert {str(state) for state in optunas.states} == {
        "complete", "pruned", "failed", "running", "waiting",
    }  # fmt: skip


def test_the_studies_in_a_line_are_the_same_both_ways(storage: RDBStorage) -> None:
    quickly = read_overviews(storage.url)

    assert quickly == [overview_of(record_study(loaded(storage, name))) for name in sorted(NAMES)]


def test_without_a_name_there_has_to_be_one_study(url: str, database: str) -> None:
    assert read_study(url, None) is None
    assert read_study(url, "another") is None

    Path(database.removeprefix("sqlite:///")).parent.mkdir()
    optuna.create_study(study_name="only", storage=database)

    only = read_study(database, None)
    assert only is not None
    assert only.name == "only"


def test_the_queries_are_for_the_tables_of_this_optuna() -> None:
    assert newest_version() == LAYOUT


def test_what_is_not_as_expected_is_left_to_optuna(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    url = f"sqlite:///{file}"
    assert read_study(url, "mine") is None
    assert not file.exists()
    study = optuna.create_study(study_name="mine", storage=url)
    study.add_trial(ended(TrialState.COMPLETE, [1.0]))
    assert read_study(url, "mine") is not None

    strange = '{"name": "StrangeDistribution", "attributes": {}}'
    for change in (
        "UPDATE alembic_version SET version_num = 'v9.9.9.a'",
        "DELETE FROM version_info",
        "UPDATE trials SET state = 'LOST'",
        f"UPDATE trial_params SET distribution_json = '{strange}'",
        "DROP TABLE trial_system_attributes",
    ):
        copy = tmp_path / "copy.db"
        copy.write_bytes(file.read_bytes())
        with closing(connect(copy, 1.0, writing=True)) as connection:
            connection.execute(change)
            connection.commit()
        assert read_study(f"sqlite:///{copy}", "mine") is None, change
    file.write_bytes(b"x" * 8192)
    assert read_study(url, "mine") is None


def test_a_database_that_is_being_written_to_is_read_as_it_was_before(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    url = f"sqlite:///{file}"
    study = optuna.create_study(study_name="mine", storage=url)
    study.add_trial(ended(TrialState.COMPLETE, [1.0]))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    before = read_study(url, "mine")

    with closing(sqlite3.connect(file)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM trials")
        during = read_study(url, "mine")
        writer.rollback()

    assert before is not None
    assert repr(during) == repr(before)
