from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from tunectl.errors import StorageError
from tunectl.studies.storage import open_storage
from tunectl.studies.upgrade import upgrade_database


def dump(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return list(connection.iterdump())


def test_an_old_database_keeps_every_trial_and_a_copy_of_itself(old_database: Path) -> None:
    url, before = f"sqlite:///{old_database}", dump(old_database)

    copy = upgrade_database(url, old_database)

    storage = open_storage(url, create=False)
    assert storage is not None
    trials = optuna.load_study(study_name="old", storage=storage).get_trials()
    states = [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    assert [trial.state for trial in trials] == states
    assert trials[0].value == 3.010317471458673
    assert set(trials[0].params) == {"x", "lr", "n", "c", "u", "d"}
    assert trials[3].intermediate_values.keys() == {0, 1, 2}
    assert copy.name.startswith("study.db.before-upgrade-")
    assert copy.parent == old_database.parent
    assert dump(copy) == before


def test_two_upgrades_in_one_second_keep_two_copies(old_database: Path) -> None:
    url = f"sqlite:///{old_database}"

    copies = {upgrade_database(url, old_database) for _ in range(3)}

    assert len(copies) == 3
    assert all(copy.is_file() for copy in copies)


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(old_database: Path) -> None:
    url = f"sqlite:///{old_database}"
    with closing(sqlite3.connect(old_database)) as connection:
        connection.execute("UPDATE trial_params SET distribution_json = 'no distribution'")
        connection.commit()
    before = dump(old_database)

    with pytest.raises(StorageError, match=r"could not be upgraded .*it is as it was") as error:
        upgrade_database(url, old_database)

    assert dump(old_database) == before
    (copy,) = old_database.parent.glob("*.before-upgrade-*")
    assert f"{copy.name} is a copy of it" in str(error.value)


def test_a_damaged_database_is_not_upgraded(old_database: Path) -> None:
    content = bytearray(old_database.read_bytes())
    content[5 * 4096 : 9 * 4096] = bytes(4 * 4096)
    old_database.write_bytes(content)

    with pytest.raises(StorageError, match="is damaged"):
        upgrade_database(f"sqlite:///{old_database}", old_database)

    assert old_database.read_bytes() == content
    assert list(old_database.parent.glob("*.before-upgrade-*")) == []


def test_an_upgrade_leaves_the_programs_logging_alone(old_database: Path) -> None:
    root, ours = logging.getLogger(), logging.getLogger("tunectl")
    before = (list(root.handlers), root.level, ours.disabled)

    upgrade_database(f"sqlite:///{old_database}", old_database)

    assert (list(root.handlers), root.level, ours.disabled) == before
