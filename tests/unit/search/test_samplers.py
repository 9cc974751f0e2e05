from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.config.run import Run
from tunectl.config.schema import Settings
from tunectl.config.search_schema import Component, Direction, Search
from tunectl.config.signal_run import TrainingRun
from tunectl.errors import ConfigError, Problem
from tunectl.objectives.base import Outcome, TrialContext
from tunectl.running.coordinator import run_study
from tunectl.running.opening import open_study
from tunectl.running.worker import Workplace
from tunectl.search import components
from tunectl.search.pruners import make_pruner
from tunectl.search.samplers import SAMPLERS, make_sampler, sampler_warnings
from tunectl.search.space import SearchSpace
from tunectl.studies.budget import Budget

Make = Callable[..., Settings]


def space_of(**specs: dict[str, Any]) -> SearchSpace:
    return SearchSpace(Search.model_validate({"params_to_tune": specs}).params_to_tune)


CONDITIONAL = space_of(
    deep={"type": "int", "low": 1, "high": 3, "when": {"kind": "b"}},
    kind={"type": "categorical", "choices": ["a", "b"]},
    n={"type": "int", "low": 1, "high": 4},
    x={"type": "float", "low": -5.0, "high": 5.0, "step": 0.5},
    z={"type": "float", "low": 0.1, "high": 1.0, "step": 0.1, "when": {"deep": [2, 3]}},
)
PLAIN = SearchSpace({key: CONDITIONAL.specs[key] for key in ("n", "x")})
# Few enough trials before the model counts that most of ten are proposed by it.
MODELLING: dict[str, dict[str, Any]] = {
    "BruteForceSampler": {},
    "CmaEsSampler": {"n_startup_trials": 1, "popsize": 4},
    "GPSampler": {"n_startup_trials": 3},
    "GridSampler": {},
    "NSGAIIISampler": {"population_size": 3},
    "NSGAIISampler": {"population_size": 3},
    "QMCSampler": {"scramble": True},
    "RandomSampler": {},
    "TPESampler": {"n_startup_trials": 3},
}


def call(storage: Any, name: str, count: int, seed: int = 7) -> list[dict[str, Any]]:
    """Run some trials as a call of its own would: everything but the database is made anew."""
    return [trial.params for trial in run(storage, name, count, seed).get_trials()]


def run(storage: Any, name: str, count: int, seed: int = 7) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = make_sampler(Component(name=name, kwargs=MODELLING[name]), seed, CONDITIONAL)
    study = optuna.create_study(
        storage=storage, study_name="s", load_if_exists=True, sampler=sampler
    )
    for _ in range(count):
        trial = study.ask()
        study.tell(trial, loss(CONDITIONAL.suggest(trial)))
    return study


def loss(values: Mapping[str, Any]) -> float:
    return float(values["x"] ** 2 + values["n"] + values.get("deep", 4) - values.get("z", 0))


def test_every_seedable_sampler_is_among_those_tested() -> None:
    assert set(MODELLING) == set(SAMPLERS)


@pytest.mark.parametrize("name", sorted(MODELLING))
def test_ten_trials_are_the_same_as_five_and_five(tmp_path: Path, name: str) -> None:
    whole = call(None, name, 10)
    call(f"sqlite:///{tmp_path}/parts.db", name, 5)
    parts = call(f"sqlite:///{tmp_path}/parts.db", name, 5)

    assert whole == parts
    assert len({tuple(one.items()) for one in whole}) > 4


@pytest.mark.parametrize("name", ["CmaEsSampler", "GPSampler", "NSGAIISampler", "TPESampler"])
def test_what_is_remembered_of_the_space_is_what_a_new_process_finds(name: str) -> None:
    """One process for all trials, and one for each; some fail, and one stays running."""

    def go(storage: Any, count: int) -> list[dict[str, Any]]:
        sampler = make_sampler(Component(name=name, kwargs=MODELLING[name]), 7, wide)
        study = optuna.create_study(
            storage=storage, study_name="s", load_if_exists=True, sampler=sampler
        )
        for _ in range(count):
            trial = study.ask()
            values = (PLAIN if trial.number == 4 else wide).suggest(trial)
            if trial.number == 2:
                study.tell(trial, state=TrialState.FAIL)
            elif trial.number != 5:
                study.tell(trial, loss({**values, "deep": 1}))
        return [trial.params for trial in study.get_trials()]

    wide = SearchSpace({key: CONDITIONAL.specs[key] for key in ("kind", "n", "x")})
    parts = optuna.storages.InMemoryStorage()
    for _ in range(11):
        go(parts, 1)

    assert go(None, 12) == go(parts, 1)


def test_ten_trials_are_the_same_as_five_and_five_in_two_processes(tmp_path: Path) -> None:
    whole = call(None, "TPESampler", 10)
    url = f"sqlite:///{tmp_path}/parts.db"
    for _ in range(2):
        process = multiprocessing.get_context("spawn").Process(
            target=call, args=(url, "TPESampler", 5)
        )
        process.start()
        process.join()
        assert process.exitcode == 0

    assert call(url, "TPESampler", 0) == whole


@pytest.mark.parametrize("name", sorted(MODELLING))
def test_a_trial_that_is_taken_up_again_shifts_none_that_follow(name: str) -> None:
    whole = call(None, name, 6)
    storage = optuna.storages.InMemoryStorage()
    study = run(storage, name, 3)
    CONDITIONAL.suggest(study.ask())  # and then its process dies

    study = run(storage, name, 0)
    again = optuna.Trial(study, study.get_trials()[3]._trial_id)
    study.tell(again, loss(CONDITIONAL.suggest(again)))

    assert call(storage, name, 2) == whole


def test_trials_are_the_same_after_restarts_under_hyperband_too() -> None:
    def go(storage: Any, count: int) -> list[dict[str, Any]]:
        component = Component(name="HyperbandPruner", kwargs={"max_resource": 9})
        sampler = make_sampler(
            Component(name="TPESampler", kwargs={"n_startup_trials": 2}), 7, CONDITIONAL
        )
        study = optuna.create_study(
            storage=storage,
            study_name="s",
            load_if_exists=True,
            sampler=sampler,
            pruner=make_pruner(component),
        )
        for _ in range(count):
            trial = study.ask()
            value = loss(CONDITIONAL.suggest(trial))
            trial.report(value, 1)
            state = TrialState.PRUNED if trial.should_prune() else TrialState.COMPLETE
            study.tell(trial, None if state == TrialState.PRUNED else value, state=state)
        return [trial.params for trial in study.get_trials()]

    parts = optuna.storages.InMemoryStorage()
    for _ in range(6):
        go(parts, 4)

    assert go(parts, 0) == go(None, 24)


def test_trials_that_are_asked_for_before_any_is_drawn_keep_their_own_seeds() -> None:
    study = run(None, "RandomSampler", 0)
    late = [CONDITIONAL.suggest(trial) for trial in [study.ask() for _ in range(4)]]

    assert late == call(None, "RandomSampler", 4)


def test_another_seed_gives_another_study() -> None:
    one = call(None, "TPESampler", 2, seed=1)
    two = call(None, "TPESampler", 2, seed=2)

    assert one != two


# -- conditions and TPE --------------------------------------------------------------------------


def modelled(kwargs: dict[str, Any], space: SearchSpace = CONDITIONAL, **options: Any) -> set[str]:
    """Return what a sampler models jointly after twelve trials."""
    component = Component(name="TPESampler", kwargs={"n_startup_trials": 2, **kwargs})
    sampler = make_sampler(component, 3, space, **options)
    study = optuna.create_study(sampler=sampler)
    for _ in range(12):
        trial = study.ask()
        study.tell(trial, loss({"x": 0.0, **space.suggest(trial)}))
    trial = study.ask()
    return set(sampler.infer_relative_search_space(study, study.get_trials()[trial.number]))


def test_tpe_models_conditional_parameters_jointly_unless_told_otherwise() -> None:
    assert modelled({}) == {"deep", "kind", "n", "x", "z"}
    assert modelled({"multivariate": True}) == {"kind", "n", "x"}
    assert modelled({"group": False}) == {"kind", "n", "x"}
    assert modelled({"multivariate": False}) == set()
    assert modelled({}, PLAIN) == {"n", "x"}


def test_nothing_warns_of_a_choice_that_the_user_did_not_make() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_sampler(Component(name="TPESampler"), 1, CONDITIONAL)
        make_sampler(Component(name="BruteForceSampler"), 1, PLAIN)
        make_sampler(
            Component(name="TPESampler", kwargs={"group": True}), 1, CONDITIONAL, n_objectives=2
        )


def test_tpe_with_several_metrics_runs_with_conditions() -> None:
    sampler = make_sampler(
        Component(name="TPESampler", kwargs={"n_startup_trials": 2}),
        3,
        CONDITIONAL,
        n_objectives=2,
    )
    study = optuna.create_study(sampler=sampler, directions=["minimize", "maximize"])
    for _ in range(5):
        trial = study.ask()
        values = CONDITIONAL.suggest(trial)
        study.tell(trial, [loss(values), loss(values)])

    assert len(study.get_trials()) == 5


def test_samplers_that_leave_parameters_to_chance_say_which() -> None:
    (found,) = sampler_warnings(Component(name="CmaEsSampler"), CONDITIONAL)

    assert found.key == "study.sampler.name"
    assert found.message.endswith(": kind, deep, z")
    assert sampler_warnings(Component(name="TPESampler"), CONDITIONAL) == []
    assert sampler_warnings(Component(name="GPSampler"), PLAIN, constrained=True) == []
    (ignored,) = sampler_warnings(Component(name="QMCSampler"), PLAIN, constrained=True)
    assert "does not learn from constraints; these do: GPSampler" in ignored.message


# -- grids ---------------------------------------------------------------------------------------


class Quick:
    """An objective of one epoch."""

    metrics: Mapping[str, Direction] = {"val_mse": "minimize"}
    epoch_metrics = ("val_mse",)
    needs_device = True
    leaves_network = True

    def problems(self, run: Run, project: Path) -> list[Problem]:
        return []

    def run(self, context: TrialContext) -> Outcome:
        model = context.config.run.as_kind(TrainingRun).model
        value = model.dropout_rate + model.hidden
        context.report(1, {"val_mse": value})
        return Outcome(value=value, best_epoch=1, epochs=1, metrics={"val_mse": value})


GRID = {
    "model.dropout_rate": {
        "type": "float",
        "low": 0.0,
        "high": 0.3,
        "step": 0.1,
        "when": {"model.use_residual": True},
    },
    "model.hidden": {"type": "int", "low": 2, "high": 3},
    "model.use_residual": {"type": "categorical", "choices": [True, False]},
}


def go(project: Path, settings: Settings, **budget: int) -> list[optuna.trial.FrozenTrial]:
    """Run a study as one call does, everything made anew."""
    tree = ProjectTree.of(project, settings.surroundings)
    url = f"sqlite:///{tree.optuna_dir}/study.db"
    study = open_study(settings, url)[0]
    place = Workplace(
        study=study,
        settings=settings,
        tree=tree,
        objective=Quick(),
        device="cpu",
        storage_url=url,
        observers=(),
    )
    run_study(place, Budget(**budget))
    trials: list[optuna.trial.FrozenTrial] = study.get_trials()
    return trials


@pytest.mark.parametrize("name", ["BruteForceSampler", "GridSampler"])
def test_a_finite_space_caps_the_budget_also_of_the_next_call(
    tmp_path: Path, make_settings: Make, name: str
) -> None:
    settings = make_settings(GRID, name="grid", sampler={"name": name})

    assert len(go(tmp_path, settings, n_trials=4)) == 4
    trials = go(tmp_path, settings, until=50)
    again = go(tmp_path, settings, n_trials=3)

    # Two hidden sizes: four dropout rates with residuals, and without them the one that is fixed.
    assert len(trials) == len(again) == 2 * (4 + 1)
    assert len({tuple(trial.params.items()) for trial in again}) == 10


def test_a_grid_visits_what_was_enqueued_only_once_and_completes_what_was_not() -> None:
    space = SearchSpace({key: CONDITIONAL.specs[key] for key in ("deep", "kind", "n")})
    sampler = make_sampler(Component(name="GridSampler"), 1, space)
    study = optuna.create_study(sampler=sampler)
    study.enqueue_trial({"kind": "a", "n": 2})
    study.enqueue_trial({"kind": "b", "deep": 3})
    study.enqueue_trial({"kind": "b", "n": 9})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the value that is on no grid
        while not sampler.is_exhausted(study):
            trial = study.ask()
            space.suggest(trial)
            study.tell(trial, 1.0)

    points = [tuple(trial.params.items()) for trial in study.get_trials()]
    assert len(points) == len(set(points)) == 4 * (1 + 3) + 1
    assert dict(points[1])["deep"] == 3


def test_points_that_run_in_other_processes_are_not_visited_again() -> None:
    small = SearchSpace({"n": CONDITIONAL.specs["n"]})
    study = optuna.create_study(sampler=make_sampler(Component(name="GridSampler"), 1, small))
    asked = [study.ask() for _ in range(4)]  # nothing suggested yet

    assert {small.suggest(trial)["n"] for trial in asked} == {1, 2, 3, 4}
    assert make_sampler(Component(name="GridSampler"), 1, small).is_exhausted(study)


def test_a_failed_trial_counts_as_a_visit_but_not_one_that_never_began() -> None:
    small = SearchSpace({"n": CONDITIONAL.specs["n"]})
    sampler = make_sampler(Component(name="GridSampler"), 1, small)
    study = optuna.create_study(sampler=sampler)
    for suggest in (False, True, True, True, True):
        assert not sampler.is_exhausted(study)
        trial = study.ask()
        if suggest:
            small.suggest(trial)
        study.tell(trial, state=TrialState.FAIL)

    assert sampler.is_exhausted(study)


@pytest.mark.parametrize("name", ["BruteForceSampler", "GridSampler"])
def test_a_grid_needs_steps(name: str) -> None:
    space = space_of(lr={"type": "float", "low": 0.1, "high": 0.2})

    with pytest.raises(ConfigError, match=r"params_to_tune\.lr: the .* sampler needs a step"):
        make_sampler(Component(name=name), 1, space)


def test_a_grid_that_nobody_could_visit_is_refused_at_once() -> None:
    space = space_of(
        a={"type": "int", "low": 1, "high": 10**9}, b={"type": "int", "low": 1, "high": 10}
    )

    with pytest.raises(ConfigError, match="more than 100,000 points"):
        make_sampler(Component(name="GridSampler"), 1, space)


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kwargs", "words"),
    [
        ("TPESampller", {}, "study.sampler.name: unknown name 'TPESampller'; did you mean TPESamp"),
        ("os.path.Sampler", {}, "plugins.allow"),
        ("TPESampler", {"n_startup": 3}, "kwargs.n_startup: .*did you mean n_startup_trials"),
        ("RandomSampler", {"n": 3}, "kwargs.n: RandomSampler has no such argument; it takes none"),
        ("TPESampler", {"seed": 3}, "kwargs.seed: set study.seed"),
        ("GridSampler", {"search_space": {}}, "kwargs.search_space: comes from params_to_tune"),
        ("NSGAIISampler", {"constraints_func": "f"}, "constraints_func: .*under `constraints`"),
        ("TPESampler", {"gamma": None}, None),
        ("TPESampler", {"gamma": "f"}, "kwargs.gamma: takes a Python object"),
        ("TPESampler", {"prior_weight": 1.0}, "kwargs.prior_weight: leave it out: .*deprecated"),
        ("CmaEsSampler", {"sigma0": 0.1}, "kwargs.sigma0: leave it out: .*deprecated"),
        ("CmaEsSampler", {"popsize": 3}, "kwargs.popsize: must be at least 4, not 3"),
        ("TPESampler", {"n_ei_candidates": 0}, "kwargs.n_ei_candidates: must be at least 1"),
        ("TPESampler", {"n_startup_trials": "3"}, "must be a whole number, not '3'"),
        ("TPESampler", {"n_startup_trials": 2.5}, "must be a whole number, not 2.5"),
        ("TPESampler", {"constant_liar": 1}, "must be true or false, not 1"),
        ("TPESampler", {"group": True, "multivariate": False}, "group"),
        ("QMCSampler", {"qmc_type": "sobbol"}, "sobol"),
        ("NSGAIISampler", {"population_size": 1}, "population_size"),
        ("NSGAIISampler", {"crossover": "SBX"}, "kwargs.crossover: must be {name: …, kwargs"),
        (
            "NSGAIISampler",
            {"crossover": {"name": "SBXCrosover"}},
            "kwargs.crossover.name: unknown name 'SBXCrosover'; did you mean SBXCrossover",
        ),
        (
            "GPSampler",
            {"independent_sampler": {"name": "TPESampler", "kwargs": {"seed": 1}}},
            "kwargs.independent_sampler.kwargs.seed: set study.seed",
        ),
    ],
)
def test_a_wrong_sampler_is_an_error_that_says_what_is_valid(
    name: str, kwargs: dict[str, Any], words: str | None
) -> None:
    component = Component(name=name, kwargs=kwargs)
    if words is None:
        make_sampler(component, 1, PLAIN)
        return
    with pytest.raises(ConfigError, match=words):
        make_sampler(component, 1, PLAIN)


def test_every_wrong_argument_is_named_at_once() -> None:
    component = Component(name="TPESampler", kwargs={"seed": 1, "n_startup": 2, "group": 3})

    with pytest.raises(ConfigError) as error:
        make_sampler(component, 1, PLAIN)

    assert [problem.key for problem in error.value.problems] == [
        f"study.sampler.kwargs.{name}" for name in ("seed", "n_startup", "group")
    ]


def test_parts_of_a_sampler_are_built_from_their_own_names() -> None:
    crossover = {"name": "SBXCrossover", "kwargs": {"eta": 3.0}}
    component = Component(
        name="NSGAIIISampler",
        kwargs={
            "population_size": 4,
            "crossover": crossover,
            "mutation": {"name": "PolynomialMutation"},
            "reference_points": [[0.0, 1.0], [1.0, 0.0]],
        },
    )
    sampler = make_sampler(component, 1, PLAIN, n_objectives=2)
    study = optuna.create_study(sampler=sampler, directions=["minimize", "minimize"])
    for _ in range(10):
        trial = study.ask()
        values = PLAIN.suggest(trial)
        study.tell(trial, [float(values["n"] or 0), -float(values["x"] or 0)])

    assert len(study.best_trials) >= 1


def test_cma_es_takes_one_metric() -> None:
    with pytest.raises(ConfigError, match="takes a single metric"):
        make_sampler(Component(name="CmaEsSampler"), 1, PLAIN, n_objectives=2)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "find_spec", lambda _: None)

    with pytest.raises(ConfigError, match=r"CmaEsSampler needs cmaes, .*: pip install cmaes"):
        make_sampler(Component(name="CmaEsSampler"), 1, PLAIN)


class Stopping(optuna.samplers.BaseSampler):
    """Someone else's sampler, which is through after two trials.

    Args:
        seed: Unused.
        rate: A type that we cannot know.
    """

    def __init__(self, seed: int, rate: Iterator[int] | None = None) -> None:
        self.rate = rate

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
        return distribution.low

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        if trial.number == 1:
            study.stop()


def test_an_allowed_package_may_bring_its_own_sampler() -> None:
    component = Component(name=f"{__name__}.Stopping", kwargs={"rate": "anything"})
    sampler = make_sampler(component, 1, PLAIN, allow=(__name__,))
    study = optuna.create_study(sampler=sampler)
    while not sampler.is_exhausted(study):
        trial = study.ask()
        PLAIN.suggest(trial)
        study.tell(trial, 1.0)

    assert len(study.get_trials()) == 2
    with pytest.raises(ConfigError, match="is not a BaseSampler"):
        make_sampler(Component(name=f"{__name__}.Quick"), 1, PLAIN, allow=(__name__,))
