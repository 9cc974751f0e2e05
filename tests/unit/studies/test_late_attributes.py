"""An attribute that comes after a trial's end, and leaves everything else of it alone."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import FrozenTrial

from tunectl.studies.late_attributes import read_late_attribute, set_late_attribute
from tunectl.studies.storage import open_storage


@pytest.fixture
def study(database: str) -> optuna.Study:
    study = optuna.create_study(study_name="s", storage=open_storage(database, create=True))
    study.tell(study.ask(), 0.5)
    study.ask()
    return study


def read_anew(database: str) -> list[FrozenTrial]:
    return optuna.load_study(study_name="s", storage=database).get_trials()


@pytest.mark.parametrize("number", [0, 1])
def test_it_is_stored_and_replaced_whether_the_trial_has_ended_or_not(
    study: optuna.Study, database: str, number: int
) -> None:
    storage = open_storage(database, create=False)
    assert storage is not None
    before = read_anew(database)

    for value in ("first", "second"):
        set_late_attribute(storage, before[number], "mlflow_run_id", value)
        after = read_anew(database)
        assert after[number].user_attrs == {"mlflow_run_id": value}
        assert read_late_attribute(storage, before[number], "mlflow_run_id") == value

    assert after[1 - number] == before[1 - number]
    assert (after[number].state, after[number].values) == (
        before[number].state,
        before[number].values,
    )


def test_a_trial_without_it_has_none(study: optuna.Study, database: str) -> None:
    storage = open_storage(database, create=False)
    assert storage is not None

    assert read_late_attribute(storage, read_anew(database)[0], "mlflow_run_id") is None
