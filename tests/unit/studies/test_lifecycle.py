from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage

from tunectl.config.schema import Settings
from tunectl.errors import (
    SpaceMismatchError,
    StorageError,
    StudyExistsError,
    StudyNotFoundError,
    UsageError,
)
from tunectl.studies.lifecycle import (
    check_fit,
    create_study,
    load_study,
    stored_settings,
    study_names,
)
from tunectl.studies.ranking import best_trial, directions_of, metrics_of
from tunectl.studies.storage import open_storage, shown_url, storage_errors

Make = Callable[..., Settings]


def opened(database: str) -> RDBStorage:
    storage = open_storage(database, create=True)
    assert storage is not None
    return storage


def test_a_study_remembers_the_configuration_it_was_made_with(
    database: str, make_settings: Make
) -> None:
    settings = make_settings(name="mine", metric="val_r2", direction="maximize", n_trials=7)
    create_study(opened(database), settings)

    again = load_study(open_storage(database, create=False), "mine")

    assert stored_settings(again) == settings
    assert (metrics_of(again), directions_of(again)) == (("val_r2",), ("maximize",))


def test_a_second_study_of_the_same_name_is_refused(database: str, make_settings: Make) -> None:
    storage = opened(database)
    create_study(storage, make_settings(name="mine"))

    with pytest.raises(StudyExistsError, match="mine"):
        create_study(storage, make_settings(name="mine"))
    assert study_names(storage) == ["mine"]


def test_an_unknown_study_is_named_with_those_there_are(database: str, make_settings: Make) -> None:
    storage = opened(database)
    create_study(storage, make_settings(name="mine"))

    with pytest.raises(StudyNotFoundError, match="no study 'yours'; there are: mine"):
        load_study(storage, "yours")
    with pytest.raises(StudyNotFoundError, match="there is none yet"):
        load_study(None, "yours")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"metric": "val_mae"}, "study.metric: val_mse became val_mae: impossible"),
        ({"direction": "maximize"}, "study.direction: minimize became maximize: impossible"),
        ({"metric": ["val_mse", "val_mae"]}, "study.direction: minimize became minimize, minimize"),
    ],
)
def test_what_does_not_fit_a_stored_study_is_found_before_a_trial_is_asked_for(
    database: str, make_settings: Make, change: dict[str, Any], line: str
) -> None:
    study = create_study(opened(database), make_settings(name="mine"))

    with pytest.raises(SpaceMismatchError) as error:
        check_fit(study, make_settings(**{"name": "mine", **change}))

    assert line in str(error.value)
    assert study.get_trials() == []


def test_more_trials_fit_a_stored_study(database: str, make_settings: Make) -> None:
    study = create_study(opened(database), make_settings(name="mine", n_trials=3))

    check_fit(study, make_settings(name="mine", n_trials=30))


def test_an_infinite_value_is_never_the_best(database: str, make_settings: Make) -> None:
    study = create_study(opened(database), make_settings(name="mine"))
    for value in (2.0, float("-inf"), 1.0):
        study.tell(study.ask(), value)

    best = best_trial(study)

    assert best is not None
    assert best.number == 2


def test_equal_values_leave_the_first_the_best(database: str, make_settings: Make) -> None:
    study = create_study(opened(database), make_settings(name="mine", direction="maximize"))
    for value in (1.0, 3.0, 3.0):
        study.tell(study.ask(), value)

    best = best_trial(study)

    assert best is not None
    assert best.number == 1


def test_a_database_is_made_only_when_asked_for(database: str) -> None:
    assert open_storage(database, create=False) is None
    assert not Path(database.removeprefix("sqlite:///")).exists()


@pytest.mark.parametrize("url", ["nonsense", "sqlite://", "sqlite:///:memory:"])
def test_a_url_that_cannot_keep_a_study_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        open_storage(url, create=True)


def test_garbage_in_place_of_a_database_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    file.write_bytes(b"these are my notes, not a database" * 100)

    with pytest.raises(StorageError, match="not a database"):
        open_storage(f"sqlite:///{file}", create=True)

    assert file.read_bytes() == b"these are my notes, not a database" * 100


def test_a_database_of_something_else_gets_no_tables(tmp_path: Path) -> None:
    import sqlite3

    file = tmp_path / "other.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()

    with pytest.raises(StorageError, match="not one of studies"):
        open_storage(f"sqlite:///{file}", create=True)


def test_a_brace_in_a_folder_name_is_a_brace(tmp_path: Path, make_settings: Make) -> None:
    folder = tmp_path / "{run}"
    storage = open_storage(f"sqlite:///{folder}/study.db", create=True)
    assert storage is not None
    create_study(storage, make_settings(name="mine"))

    assert (folder / "study.db").exists()


def test_no_message_shows_a_password() -> None:
    url = "postgresql://me:secret@host/db"

    assert "secret" not in shown_url(url)
    with pytest.raises(StorageError) as error, storage_errors(url):
        raise optuna.exceptions.StorageInternalError("no")
    assert "secret" not in str(error.value)
