"""Create-or-load as one step, also where an earlier process was killed in the middle of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import optuna
import pytest
from optuna.exceptions import ExperimentalWarning

from tunectl.config.schema import Settings
from tunectl.errors import SpaceMismatchError, StudyExistsError, UsageError
from tunectl.running.opening import make_study, open_study, reopen_study
from tunectl.studies.lifecycle import stored_settings
from tunectl.studies.ranking import metrics_of
from tunectl.studies.records import ABOUT_ATTR, created_at
from tunectl.studies.storage import open_storage

Make = Callable[..., Settings]

KILLED_AFTER = ["the study's row", "its metric", "what it is about"]


def begin(database: str, settings: Settings, killed_after: str) -> None:
    """Do the first steps of creating a study and no more."""
    storage = open_storage(database, create=True)
    wanted = settings.search.study
    study = optuna.create_study(
        storage=storage, study_name=wanted.name, directions=wanted.directions
    )
    steps = KILLED_AFTER.index(killed_after)
    if steps > 0:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(list(wanted.metric))
    if steps > 1:
        study.set_user_attr(ABOUT_ATTR, {"schema_version": 1, "created_at": "2026-01-31T12:00:00Z"})


@pytest.mark.parametrize("killed_after", KILLED_AFTER)
@pytest.mark.parametrize("open_or_make", [lambda s, u: open_study(s, u)[0], make_study])
def test_a_study_whose_creation_was_cut_off_is_finished(
    database: str,
    make_settings: Make,
    killed_after: str,
    open_or_make: Callable[[Settings, str], optuna.Study],
) -> None:
    settings = make_settings(name="mine", metric="val_r2", direction="maximize")
    begin(database, settings, killed_after)
    with pytest.raises(UsageError, match="tunectl tune --study mine"):
        reopen_study("mine", database)

    study = open_or_make(settings, database)

    assert stored_settings(study) == settings
    assert metrics_of(study) == ("val_r2",)
    assert created_at(study.user_attrs) is not None
    again, found = reopen_study("mine", database)
    assert (again.study_name, found) == ("mine", settings)


def test_another_programs_study_is_not_taken_for_one(database: str, make_settings: Make) -> None:
    storage = open_storage(database, create=True)
    theirs = optuna.create_study(storage=storage, study_name="mine", direction="minimize")
    theirs.tell(theirs.ask(), 1.0)

    with pytest.raises(StudyExistsError):
        make_study(make_settings(name="mine"), database)

    assert stored_settings(theirs) is None


def test_one_begun_with_another_goal_is_not_changed(database: str, make_settings: Make) -> None:
    begin(database, make_settings(name="mine", direction="maximize"), "the study's row")

    with pytest.raises(SpaceMismatchError, match="maximize became minimize"):
        open_study(make_settings(name="mine"), database)


def test_a_study_that_is_there_is_not_made_again(database: str, make_settings: Make) -> None:
    first = make_study(make_settings(name="mine", n_trials=3), database)

    with pytest.raises(StudyExistsError, match="study 'mine' exists already; --exist-ok"):
        make_study(make_settings(name="mine", n_trials=9), database)

    stored = stored_settings(first)
    assert stored is not None
    assert stored.search.study.n_trials == 3
