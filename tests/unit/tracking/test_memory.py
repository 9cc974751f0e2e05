"""What a study remembers of its mirror, and that a copy of it does not."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest

from tunectl.studies.storage import open_storage
from tunectl.tracking.memory import recall, recall_or_begin, remember


@pytest.fixture
def study(database: str) -> optuna.Study:
    return optuna.create_study(study_name="first", storage=open_storage(database, create=True))


def test_a_study_keeps_its_identity(study: optuna.Study) -> None:
    assert recall(study) is None

    begun = recall_or_begin(study)
    remember(study, begun, replace(begun, parent_run_id="p", experiment_id="1"))

    again = recall_or_begin(study)
    assert (again.study_id, again.parent_run_id) == (begun.study_id, "p")


def test_a_copy_under_another_name_is_another_study(study: optuna.Study, database: str) -> None:
    begun = recall_or_begin(study)
    optuna.copy_study(
        from_study_name="first",
        from_storage=database,
        to_storage=database,
        to_study_name="second",
    )
    copy = optuna.load_study(study_name="second", storage=database)

    assert recall(copy) is None
    assert recall_or_begin(copy).study_id != begun.study_id
