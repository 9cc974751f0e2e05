"""A trial whose process died while its parameters were being drawn gets the ones it would have got.

The process dies at every single write to the database between asking for a trial and its last
parameter, for every sampler.
"""

from __future__ import annotations

import copy
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage

from tunectl.config.search_schema import Component, Search
from tunectl.search.samplers import SAMPLERS, make_sampler
from tunectl.search.space import SearchSpace

# Parameters of every kind, jointly modelled ones before and after those that are drawn alone.
STEPPED = {
    "a_choice": {"type": "categorical", "choices": ["adam", "sgd", 3, False]},
    "b_switch": {"type": "categorical", "choices": [True, False]},
    "c_inner": {"type": "int", "low": 1, "high": 9, "when": {"b_switch": True}},
    "d_fixed": {"type": "int", "low": 2, "high": 2},
    "e_float": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.1},
    "f_int": {"type": "int", "low": 1, "high": 8},
}
SMOOTH = {
    **STEPPED,
    "e_float": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
    "g_float": {"type": "float", "low": -1.0, "high": 1.0},
}
CASES: dict[str, tuple[str, dict[str, Any], int]] = {
    "BruteForceSampler": ("BruteForceSampler", {}, 1),
    "CmaEsSampler": ("CmaEsSampler", {"n_startup_trials": 2, "popsize": 4}, 1),
    "CmaEsSampler by TPE": (
        "CmaEsSampler",
        {
            "popsize": 4,
            "independent_sampler": {"name": "TPESampler", "kwargs": {"n_startup_trials": 3}},
        },
        1,
    ),
    "GPSampler": ("GPSampler", {"n_startup_trials": 3}, 1),
    "GridSampler": ("GridSampler", {}, 1),
    "NSGAIIISampler": ("NSGAIIISampler", {"population_size": 3}, 2),
    "NSGAIISampler": ("NSGAIISampler", {"population_size": 3}, 2),
    "QMCSampler": ("QMCSampler", {"scramble": True}, 1),
    "QMCSampler halton": ("QMCSampler", {"qmc_type": "halton"}, 1),
    "RandomSampler": ("RandomSampler", {}, 1),
    "TPESampler": ("TPESampler", {"n_startup_trials": 3}, 1),
    "TPESampler alone": ("TPESampler", {"n_startup_trials": 3, "multivariate": False}, 1),
    "TPESampler honest": ("TPESampler", {"n_startup_trials": 3, "constant_liar": False}, 1),
    "TPESampler joint": ("TPESampler", {"n_startup_trials": 3, "group": False}, 1),
    "TPESampler of two": ("TPESampler", {"n_startup_trials": 3}, 2),
}


def space_for(name: str) -> SearchSpace:
    specs = STEPPED if name in ("BruteForceSampler", "GridSampler") else SMOOTH
    return SearchSpace(Search.model_validate({"params_to_tune": specs}).params_to_tune)


def sampler_of(case: str) -> BaseSampler:
    name, kwargs, n_objectives = CASES[case]
    component = Component(name=name, kwargs=kwargs)
    return make_sampler(component, 5, space_for(name), n_objectives=n_objectives)


Store = TypeVar("Store", bound=BaseStorage)


class DiedError(Exception):
    """The process is gone."""


class Mortal(InMemoryStorage):
    """A database that a process reaches for some more writes, and then no more.

    Args:
        writes: How many.
    """

    def __init__(self, writes: float = float("inf")) -> None:
        super().__init__()
        self.writes = writes

    def set_trial_param(self, *args: Any) -> None:
        self._count()
        super().set_trial_param(*args)

    def set_trial_system_attr(self, *args: Any) -> None:
        self._count()
        super().set_trial_system_attr(*args)

    def set_study_system_attr(self, *args: Any) -> None:
        self._count()
        super().set_study_system_attr(*args)

    def _count(self) -> None:
        if self.writes == 0:
            raise DiedError
        self.writes -= 1


def study_in(storage: BaseStorage, case: str) -> optuna.Study:
    """Return the study as a new process sees it."""
    return optuna.create_study(
        storage=storage,
        study_name="s",
        load_if_exists=True,
        sampler=sampler_of(case),
        directions=["minimize"] * CASES[case][2],
    )


def with_history(storage: Store, case: str, count: int) -> Store:
    """Run trials, and leave one of another worker running."""
    space = space_for(CASES[case][0])
    study = study_in(storage, case)
    for number in range(count + 1):
        trial = study.ask()
        values = space.suggest(trial)
        if number < count:
            study.tell(trial, losses(values)[: CASES[case][2]])
    return storage


def losses(values: Mapping[str, Any]) -> list[float]:
    loss = float(values["e_float"]) + values["f_int"] + values.get("c_inner", 4)
    return [loss, values["f_int"] - 3.0 * float(values["e_float"])]


def after_death(storage: Mortal, case: str, writes: int) -> dict[str, Any] | None:
    """Return what a trial gets whose process dies at a write; None if it comes to its end first."""
    space = space_for(CASES[case][0])
    study = study_in(storage, case)
    number = len(study.get_trials())
    storage.writes = writes
    try:
        space.suggest(study.ask())
    except DiedError:
        storage.writes = float("inf")
    else:
        return None
    study = study_in(storage, case)
    return space.suggest(optuna.Trial(study, study.get_trials()[number]._trial_id))


def test_every_sampler_is_among_those_tested() -> None:
    assert {name for name, _, _ in CASES.values()} == set(SAMPLERS)


@pytest.mark.parametrize("count", [0, 9])
@pytest.mark.parametrize("case", sorted(CASES))
def test_a_trial_that_was_half_asked_gets_the_other_half(case: str, count: int) -> None:
    history = with_history(Mortal(), case, count)
    whole = space_for(CASES[case][0]).suggest(study_in(copy.deepcopy(history), case).ask())
    deaths = 0
    while True:
        again = after_death(copy.deepcopy(history), case, deaths)
        if again is None:
            break
        assert again == whole, f"died at write {deaths}"
        deaths += 1

    assert deaths >= len(whole)


@pytest.mark.parametrize("case", ["GPSampler", "NSGAIISampler", "TPESampler", "TPESampler alone"])
def test_a_queued_point_that_was_half_asked_gets_the_other_half(case: str) -> None:
    space = space_for(CASES[case][0])
    point = {"b_switch": True, "f_int": 5}

    history = with_history(Mortal(), case, 5)
    study_in(history, case).enqueue_trial(point)
    whole = space.suggest(study_in(copy.deepcopy(history), case).ask())
    for writes in range(len(whole)):
        storage = copy.deepcopy(history)
        storage.writes = writes
        study = study_in(storage, case)
        with pytest.raises(DiedError):
            space.suggest(study.ask())
        storage.writes = float("inf")
        study = study_in(storage, case)
        (running,) = study.get_trials()[6:]
        assert space.suggest(optuna.Trial(study, running._trial_id)) == whole

    assert whole.items() >= point.items()


@pytest.mark.parametrize("case", ["CmaEsSampler", "GPSampler", "NSGAIISampler", "TPESampler"])
def test_what_was_proposed_jointly_stays_though_other_trials_have_ended_since(case: str) -> None:
    storage = with_history(Mortal(), case, 9)
    whole = space_for(CASES[case][0]).suggest(study_in(copy.deepcopy(storage), case).ask())
    study = study_in(storage, case)
    trial = study.ask()
    trial.suggest_categorical("a_choice", ("adam", "sgd", 3, False))
    study.tell(9, [0.0] * CASES[case][2])  # what another worker found meanwhile is the best of all

    study = study_in(storage, case)
    again = space_for(CASES[case][0]).suggest(optuna.Trial(study, trial._trial_id))

    joint = study.sampler.infer_relative_search_space(study, study.get_trials()[10])
    assert [again.get(key) for key in joint] == [whole.get(key) for key in joint]
    assert len(joint) >= 2


def test_a_half_asked_trial_in_a_real_database_gets_the_other_half(tmp_path: Path) -> None:
    space = space_for("TPESampler")
    with_history(RDBStorage(f"sqlite:///{tmp_path}/a.db"), "TPESampler", 4)
    shutil.copy(tmp_path / "a.db", tmp_path / "b.db")
    whole = space.suggest(study_in(RDBStorage(f"sqlite:///{tmp_path}/a.db"), "TPESampler").ask())

    half = study_in(RDBStorage(f"sqlite:///{tmp_path}/b.db"), "TPESampler").ask()
    half.suggest_categorical("a_choice", ("adam", "sgd", 3, False))
    study = study_in(RDBStorage(f"sqlite:///{tmp_path}/b.db"), "TPESampler")
    running = study.get_trials()[-1]

    assert space.suggest(optuna.Trial(study, running._trial_id)) == whole


def test_two_workers_take_two_points_of_a_quasi_random_sequence() -> None:
    space = space_for("QMCSampler")
    studies = [study_in(storage, "QMCSampler") for storage in [InMemoryStorage()] for _ in "ab"]
    trials = [studies[index % 2].ask() for index in range(8)]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = [tuple(space.suggest(trial).values()) for trial in reversed(trials)]

    assert len(set(drawn)) == 8
