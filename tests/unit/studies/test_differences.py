"""What each change of the search space does to a stored study, held against Optuna itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from tunectl.config.schema import Settings, Surroundings
from tunectl.config.signal_run import TrainingRun
from tunectl.errors import SpaceMismatchError
from tunectl.running.opening import open_study
from tunectl.search.space import SearchSpace
from tunectl.studies.differences import Grade, compare, misfits
from tunectl.studies.lifecycle import load_study, stored_settings, study_names
from tunectl.studies.storage import open_storage

Make = Callable[..., Settings]
Spec = dict[str, Any]

THEN: dict[str, Spec] = {
    "model.hidden": {"type": "int", "low": 8, "high": 64},
    "training.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-1},
    "training.optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
    "training.use_weighted_loss": {"type": "categorical", "choices": [True, False]},
}
RATE, HIDDEN, OPTIMIZER = "training.learning_rate", "model.hidden", "training.optimizer"
CHANGES: dict[str, tuple[dict[str, Spec | None], Grade]] = {
    "range widened": ({HIDDEN: {"type": "int", "low": 8, "high": 128}}, Grade.DEGRADES),
    "range narrowed": ({HIDDEN: {"type": "int", "low": 16, "high": 32}}, Grade.DEGRADES),
    "step added": ({HIDDEN: {"type": "int", "low": 8, "high": 64, "step": 8}}, Grade.DEGRADES),
    "log toggled": (
        {RATE: {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}},
        Grade.IMPOSSIBLE,
    ),
    "type changed": ({HIDDEN: {"type": "categorical", "choices": [8, 64]}}, Grade.IMPOSSIBLE),
    "choices reordered": (
        {OPTIMIZER: {"type": "categorical", "choices": ["sgd", "adam"]}},
        Grade.IMPOSSIBLE,
    ),
    "choice added": (
        {OPTIMIZER: {"type": "categorical", "choices": ["adam", "sgd", "adamw"]}},
        Grade.IMPOSSIBLE,
    ),
    "choice removed": (
        {OPTIMIZER: {"type": "categorical", "choices": ["adam"]}},
        Grade.IMPOSSIBLE,
    ),
    "parameter added": (
        {"training.weight_decay": {"type": "float", "low": 0.0, "high": 0.1}},
        Grade.DEGRADES,
    ),
    "parameter removed": ({HIDDEN: None}, Grade.DEGRADES),
    "condition changed": (
        {
            RATE: {
                "type": "float",
                "low": 1e-4,
                "high": 1e-1,
                "when": {"training.use_weighted_loss": True},
            }
        },
        Grade.DEGRADES,
    ),
}


def changed(change: dict[str, Spec | None]) -> dict[str, Spec]:
    return {key: spec for key, spec in {**THEN, **change}.items() if spec is not None}


def tell_some(study: optuna.Study, settings: Settings, count: int = 3) -> None:
    space = SearchSpace(settings.search.params_to_tune)
    for _ in range(count):
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, 1.0)


@pytest.mark.parametrize("name", CHANGES)
def test_each_kind_of_change_is_classed_as_optuna_treats_it(
    name: str, database: str, make_settings: Make
) -> None:
    change, grade = CHANGES[name]
    then, today = make_settings(THEN, name="s"), make_settings(changed(change), name="s")
    study, _ = open_study(then, database)
    tell_some(study, then)

    found = compare(study, stored_settings(study), today)

    assert [one.grade for one in found] == [grade]
    assert misfits(found)
    # Optuna itself: the next trial raises if and only if the change was called impossible.
    trial = study.ask()
    space = SearchSpace(today.search.params_to_tune)
    if grade is Grade.IMPOSSIBLE:
        with pytest.raises(ValueError, match=r"Cannot set|does not support"):
            space.suggest(trial)
    else:
        space.suggest(trial)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_before_the_first_trial_is_safe(
    name: str, database: str, make_settings: Make
) -> None:
    study, _ = open_study(make_settings(THEN, name="s"), database)
    today = make_settings(changed(CHANGES[name][0]), name="s")

    found = compare(study, stored_settings(study), today)

    assert {one.grade for one in found} == {Grade.SAFE}
    open_study(today, database)


@pytest.mark.parametrize(
    ("runtime", "why"),
    [
        ({"max_threads": 4}, "the last digits of a result"),
        ({"workers": 2}, "the last digits of a result"),
        ({"device": "cuda"}, "in its own way"),
        ({"workers_per_gpu": 2}, "changes no result"),
    ],
)
def test_what_trials_run_on_is_safe_to_change_and_says_what_it_does(
    runtime: dict[str, Any], why: str, database: str, make_settings: Make
) -> None:
    then = make_settings(THEN, name="s")
    study, _ = open_study(then, database)
    tell_some(study, then)
    surroundings = Surroundings.model_validate({"runtime": runtime})
    today = then.model_copy(update={"surroundings": surroundings})

    (found,) = compare(study, stored_settings(study), today)

    assert (found.grade, found.key) == (Grade.SAFE, f"runtime.{next(iter(runtime))}")
    assert why in found.why


@pytest.mark.parametrize("name", CHANGES)
def test_a_refused_study_is_left_as_it_was(name: str, database: str, make_settings: Make) -> None:
    then = make_settings(THEN, name="s")
    study, _ = open_study(then, database)
    tell_some(study, then)
    file = Path(database.removeprefix("sqlite:///"))
    before = optuna.load_study(study_name="s", storage=database).get_trials()

    with pytest.raises(SpaceMismatchError, match="Nothing was changed"):
        open_study(make_settings(changed(CHANGES[name][0]), name="s"), database)

    assert optuna.load_study(study_name="s", storage=database).get_trials() == before
    assert study_names(open_storage(f"sqlite:///{file}", create=False)) == ["s"]
    assert stored_settings(load_study(open_storage(database, create=False), "s")) == then


def test_accept_goes_on_where_optuna_can_and_refuses_the_impossible(
    database: str, make_settings: Make
) -> None:
    then = make_settings(THEN, name="s")
    study, _ = open_study(then, database)
    tell_some(study, then)
    wider = make_settings(changed(CHANGES["range widened"][0]), name="s")

    accepted, _ = open_study(wider, database, "accept")

    assert stored_settings(accepted) == wider
    with pytest.raises(SpaceMismatchError):
        open_study(make_settings(changed(CHANGES["type changed"][0]), name="s"), database, "accept")


def test_new_makes_one_time_stamped_study_and_takes_it_up_again(
    database: str, make_settings: Make
) -> None:
    then = make_settings(THEN, name="s")
    study, _ = open_study(then, database)
    tell_some(study, then)
    today = make_settings(changed(CHANGES["type changed"][0]), name="s")

    first, settings = open_study(today, database, "new")
    again, _ = open_study(today, database, "new")

    assert first.study_name == again.study_name == settings.search.study.name
    assert first.study_name.startswith("s-20")
    assert first.get_trials() == []


def test_migrate_takes_over_what_fits_and_says_what_does_not(
    database: str, make_settings: Make
) -> None:
    then = make_settings(THEN, name="s")
    study, _ = open_study(then, database)
    tell_some(study, then, count=8)
    low, high = 8, 32
    narrower: dict[str, Spec | None] = {HIDDEN: {"type": "int", "low": low, "high": high}}
    today = make_settings(changed(narrower), name="s")

    moved, _ = open_study(today, database, "migrate")

    fitting = [trial for trial in study.get_trials() if trial.params[HIDDEN] <= high]
    assert 0 < len(fitting) < 8
    assert [trial.params for trial in moved.get_trials()] == [trial.params for trial in fitting]
    assert [t.datetime_start for t in moved.get_trials()] == [t.datetime_start for t in fitting]
    assert [trial.values for trial in moved.get_trials()] == [trial.values for trial in fitting]
    assert len(study.get_trials()) == 8


def test_a_parameter_that_is_new_has_for_old_trials_the_value_that_was_fixed_then(
    database: str, make_settings: Make
) -> None:
    then = make_settings(THEN, name="s")
    study, _ = open_study(then, database)
    tell_some(study, then)
    added: dict[str, Spec | None] = {
        "training.weight_decay": {"type": "float", "low": 0.0, "high": 0.1}
    }

    moved, _ = open_study(make_settings(changed(added), name="s"), database, "migrate")

    assert {trial.params["training.weight_decay"] for trial in moved.get_trials()} == {1e-5}


def test_a_parameter_that_is_fixed_now_keeps_only_trials_of_that_value(
    database: str, make_settings: Make
) -> None:
    then = make_settings(THEN, name="s")
    study, _ = open_study(then, database)
    tell_some(study, then, count=8)
    space = changed({"training.use_weighted_loss": None})

    moved, _ = open_study(make_settings(space, name="s"), database, "migrate")

    kept = [t for t in study.get_trials() if t.params["training.use_weighted_loss"] is True]
    assert 0 < len(kept) < 8
    assert len(moved.get_trials()) == len(kept)


def test_values_outside_the_space_warn_but_do_not_stop_a_study(
    database: str, make_settings: Make, caplog: pytest.LogCaptureFixture
) -> None:
    then = make_settings(THEN, name="s")
    study, _ = open_study(then, database)
    tell_some(study, then)
    run = TrainingRun.model_validate({"training": {"weight_decay": 0.5, "num_workers": 3}})

    open_study(make_settings(THEN, name="s", run=run, n_trials=99), database)

    assert "training.weight_decay" in caplog.text
    assert "num_workers" not in caplog.text


def test_a_study_of_another_program_is_compared_by_its_trials(
    database: str, make_settings: Make
) -> None:
    Path(database.removeprefix("sqlite:///")).parent.mkdir()
    foreign = optuna.create_study(storage=database, study_name="s")
    foreign.optimize(lambda trial: float(trial.suggest_int(HIDDEN, 1, 4)), n_trials=1)
    today = make_settings({HIDDEN: {"type": "categorical", "choices": [1, 4]}}, name="s")

    found = compare(foreign, None, today)

    assert [(one.key, one.grade) for one in found] == [(HIDDEN, Grade.IMPOSSIBLE)]
