"""A trial's parameters, drawn and written together: the same ones, and fewer statements."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.exceptions import UpdateFinishedTrialError

from postgresql_server import Server
from tunectl.config.search_schema import Component, Search
from tunectl.search.samplers import SAMPLERS, make_sampler
from tunectl.search.space import SearchSpace
from tunectl.studies.drawing import draw_parameters
from tunectl.studies.storage import open_storage

SPECS: dict[str, dict[str, Any]] = {
    "a_choice": {"type": "categorical", "choices": ["adam", "sgd", 3, False]},
    "b_switch": {"type": "categorical", "choices": [True, False]},
    "c_inner": {"type": "int", "low": 1, "high": 9, "when": {"b_switch": True}},
    "d_fixed": {"type": "int", "low": 2, "high": 2},
    "e_float": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.1},
    "f_int": {"type": "int", "low": 1, "high": 8},
}
STARTED: dict[str, dict[str, Any]] = {
    "CmaEsSampler": {"n_startup_trials": 2, "popsize": 4},
    "GPSampler": {"n_startup_trials": 3},
    "NSGAIIISampler": {"population_size": 3},
    "NSGAIISampler": {"population_size": 3},
    "TPESampler": {"n_startup_trials": 3},
}
TWELVE = {f"p{index:02}": {"type": "float", "low": 0.0, "high": 1.0} for index in range(12)}
# Of which TPE's reading of the trials, which Optuna makes too, is most.
MOST_PER_ASK = 40


def space_of(specs: dict[str, dict[str, Any]]) -> SearchSpace:
    return SearchSpace(Search.model_validate({"params_to_tune": specs}).params_to_tune)


SPACE = space_of(SPECS)


def open_study(url: str, sampler: str = "TPESampler", space: SearchSpace = SPACE) -> Any:
    """Return the study as a process of its own sees it."""
    component = Component(name=sampler, kwargs=STARTED.get(sampler, {}))
    return optuna.create_study(
        study_name="s",
        storage=open_storage(url, create=True),
        sampler=make_sampler(component, 5, space),
        load_if_exists=True,
    )


def run(study: optuna.Study, count: int, *, together: bool) -> None:
    for _ in range(count):
        trial = study.ask()
        values = draw_parameters(SPACE, trial) if together else SPACE.suggest(trial)
        assert values == trial.params
        study.tell(trial, trial.params["e_float"] + trial.params["f_int"])


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_every_sampler_draws_and_stores_what_it_does_one_by_one(
    database: str, tmp_path: Path, sampler: str
) -> None:
    together = open_study(database, sampler)
    single = open_study(f"{database}.single", sampler)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(together, 9, together=True)
        run(single, 9, together=False)
    pairs = zip(
        open_study(database).get_trials(),
        open_study(f"{database}.single").get_trials(),
        strict=True,
    )
    for one, other in pairs:
        assert list(one.params.items()) == list(other.params.items())
        assert one.distributions == other.distributions


def test_a_trial_whose_process_dies_while_it_draws_gets_the_same_parameters(
    database: str,
) -> None:
    run(open_study(database), 5, together=True)
    whole = draw_parameters(SPACE, open_study(database).ask())
    second = f"{database}.second"
    run(open_study(second), 5, together=True)
    trial = open_study(second).ask()
    assert trial.relative_params  # as far as it came

    study = open_study(second)
    assert study.get_trials()[5].params == {}
    assert draw_parameters(SPACE, optuna.Trial(study, trial._trial_id)) == whole


def test_a_trial_keeps_the_parameters_that_it_has(database: str) -> None:
    study = open_study(database)
    run(study, 1, together=True)
    trial = study.ask()
    trial.suggest_categorical("b_switch", (True, False))
    kept = trial.params["b_switch"]

    again = open_study(database)
    values = draw_parameters(SPACE, optuna.Trial(again, trial._trial_id))

    assert values["b_switch"] == kept
    assert open_study(database).get_trials()[1].params == values


def test_two_workers_that_draw_for_one_trial_store_it_once(database: str) -> None:
    study = open_study(database)
    run(study, 1, together=True)
    trial = study.ask()
    other = open_study(database)
    run_by_other = draw_parameters(SPACE, optuna.Trial(other, trial._trial_id))

    assert draw_parameters(SPACE, trial) == run_by_other
    assert open_study(database).get_trials()[1].params == run_by_other


def test_a_trial_that_somebody_else_has_ended_gets_no_parameters(database: str) -> None:
    study = open_study(database)
    run(study, 1, together=True)
    trial = study.ask()
    open_study(database).tell(1, state=optuna.trial.TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError):
        draw_parameters(SPACE, trial)
    assert open_study(database).get_trials()[1].params == {}


def test_a_parameter_that_is_stored_with_other_choices_is_refused(database: str) -> None:
    study = open_study(database)
    run(study, 1, together=True)
    other = space_of({**SPECS, "a_choice": {"type": "categorical", "choices": ["adam", "sgd"]}})
    with pytest.raises(ValueError, match="CategoricalDistribution does not support"):
        draw_parameters(other, study.ask())


def test_a_server_keeps_parameters_that_are_drawn_together(postgresql: Server) -> None:
    url = postgresql.new_database()
    study = open_study(url)
    run(study, 4, together=True)
    assert [set(trial.params) for trial in study.get_trials()] == [
        set(SPACE.active(trial.params)) for trial in study.get_trials()
    ]
    study._storage._backend.engine.dispose()


def test_to_ask_for_twelve_parameters_takes_few_statements(database: str) -> None:
    space = space_of(TWELVE)
    study = open_study(database, space=space)
    for number in range(6):
        trial = study.ask()
        draw_parameters(space, trial)
        study.tell(trial, float(number))
    statements: list[str] = []
    engine = study._storage._backend.engine
    sa.event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))

    draw_parameters(space, study.ask())

    assert len(statements) <= MOST_PER_ASK
    assert sum("INSERT INTO trial_params" in one for one in statements) == 1
