"""The trials that are read with a few queries are, to the bit, those that Optuna reads."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from stored_studies import NAMES, ended, make_all
from tunectl.studies.connection import connect
from tunectl.studies.quick_storage import QuickStorage, read_trials
from tunectl.studies.storage import open_storage


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]
)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield a database of studies of every kind."""
    if request.param == "sqlite":
        found = f"sqlite:///{tmp_path_factory.mktemp('quick') / 'study.db'}"
    else:
        found = request.getfixturevalue("postgresql").new_database()
    made = RDBStorage(found)
    make_all(made)
    made.engine.dispose()
    yield found


def exact(trial: FrozenTrial) -> dict[str, str]:
    """Return all of a trial as text: NaN is not equal to itself, but looks the same."""
    fields: dict[str, Any] = dict(vars(trial))
    for name in ("_user_attrs", "_system_attrs", "intermediate_values"):
        fields[name] = sorted(fields[name].items())  # a server has them in no order
    return {name: repr(value) for name, value in fields.items()}


def study_id(storage: RDBStorage, name: str) -> int:
    return storage.get_study_id_from_name(name)


@pytest.mark.parametrize("name", NAMES)
def test_both_ways_give_the_same_trials(url: str, name: str) -> None:
    storage, optunas = QuickStorage(url), RDBStorage(url)

    quickly = read_trials(storage.engine, study_id(storage, name))
    theirs = optunas._get_trials(study_id(optunas, name), None, set(), -1)
    through_the_cache = optuna.load_study(study_name=name, storage=storage).get_trials()

    assert quickly is not None
    assert list(map(exact, quickly)) == list(map(exact, theirs))
    assert list(map(exact, through_the_cache)) == list(map(exact, theirs))
    storage.engine.dispose()
    optunas.engine.dispose()


def test_what_has_changed_since_is_read_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    theirs = optuna.create_study(study_name="mine", storage=RDBStorage(url))
    theirs.add_trial(ended(TrialState.COMPLETE, [1.0]))
    running = theirs.ask()
    running.report(0.5, step=0)
    storage = open_storage(url, create=False)
    assert isinstance(storage, QuickStorage)
    ours = optuna.load_study(study_name="mine", storage=storage)
    assert [one.state for one in ours.get_trials()] == [TrialState.COMPLETE, TrialState.RUNNING]

    running.report(0.25, step=1)
    theirs.tell(running, 0.25)
    theirs.add_trial(ended(TrialState.PRUNED, [0.5]))

    assert list(map(exact, ours.get_trials())) == list(map(exact, theirs.get_trials()))
    assert ours.get_trials()[1].intermediate_values == {0: 0.5, 1: 0.25}


def test_what_is_not_as_expected_is_left_to_optuna(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    study = optuna.create_study(study_name="mine", storage=f"sqlite:///{file}")
    study.add_trial(ended(TrialState.COMPLETE, [1.0]))
    before = list(map(exact, study.get_trials()))
    storage = QuickStorage(f"sqlite:///{file}")
    number = study_id(storage, "mine")
    assert read_trials(storage.engine, number + 1) is None
    with pytest.raises(KeyError):  # Optuna's way of saying that there is no such study
        storage.get_all_trials(number + 1)

    with closing(connect(file, 1.0, writing=True)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v9.9.9.a'")
        connection.commit()

    assert read_trials(storage.engine, number) is None
    assert list(map(exact, storage.get_all_trials(number))) == before
    with closing(connect(file, 1.0, writing=True)) as connection:
        connection.execute("UPDATE trials SET state = 'LOST'")
        connection.commit()
    with pytest.raises(LookupError, match="LOST"):
        storage.get_all_trials(number)


def test_the_trials_are_those_of_one_moment(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    study = optuna.create_study(study_name="mine", storage=f"sqlite:///{file}")
    study.add_trial(ended(TrialState.COMPLETE, [1.0]))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    storage = QuickStorage(f"sqlite:///{file}")
    number, before = study_id(storage, "mine"), list(map(exact, study.get_trials()))

    @sa.event.listens_for(storage.engine, "after_cursor_execute")
    def interfere(*given: Any) -> None:
        if "datetime_start" in given[2]:  # the states have been read, the parameters have not
            with closing(sqlite3.connect(file)) as writer:
                writer.execute("DELETE FROM trial_params")
                writer.commit()

    assert list(map(exact, storage.get_all_trials(number))) == before
    assert storage.get_all_trials(number)[0].params == {}


def test_a_locked_database_is_no_other_error_than_optunas(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    optuna.create_study(study_name="mine", storage=f"sqlite:///{file}")
    storage = QuickStorage(f"sqlite:///{file}", {"connect_args": {"timeout": 0.0}})
    number = study_id(storage, "mine")

    with closing(sqlite3.connect(file)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageInternalError) as caught:
            storage.get_all_trials(number)

    assert "locked" in str(caught.value.__cause__)
