"""Samplers by name, and the randomness of each trial.

What a sampler draws for trial n comes from (study seed, n) alone, so that a study which is
stopped and taken up again proposes what it would have proposed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, nsgaii
from optuna.trial import FrozenTrial, TrialState

from tunectl.config.search_schema import Choice, Component, ParameterSpec
from tunectl.errors import ConfigError, Problem
from tunectl.search import joint
from tunectl.search.components import Kind, make_component
from tunectl.search.genetic import NSGAIIISampler, NSGAIISampler
from tunectl.search.grid import LARGEST_GRID, GridSampler
from tunectl.search.points import Points
from tunectl.search.quasi_random import QMCSampler
from tunectl.search.randomness import reseed, seed_of_draw, seed_of_trial
from tunectl.search.space import SearchSpace
from tunectl.search.space_memory import SpaceMemory

KEY = "study.sampler"
VISITS_ALL = {"BruteForceSampler": "the brute-force", "GridSampler": "the grid"}
SAMPLERS: dict[str, type[BaseSampler]] = {
    "GridSampler": GridSampler,
    "NSGAIISampler": NSGAIISampler,
    "NSGAIIISampler": NSGAIIISampler,
    "QMCSampler": QMCSampler,
    **{
        name: getattr(optuna.samplers, name)
        for name in (
            "BruteForceSampler",
            "CmaEsSampler",
            "GPSampler",
            "RandomSampler",
            "TPESampler",
        )
    },
}
# What these propose jointly, if anything, is the same whenever they are asked.
REPEATABLE = ("BruteForceSampler", "GridSampler", "QMCSampler", "RandomSampler")
REFUSED = {
    "seed": "set study.seed instead: each trial's randomness comes from it and the trial's number",
    "search_space": "comes from params_to_tune",
    "constraints_func": "is a Python function, and deprecated; list the constraints as expressions "
    "under `constraints` in optuna_params.yaml",
    "source_trials": "takes Python objects, which a file cannot hold; import or enqueue the trials",
}
AT_LEAST = {
    ("TPESampler", "n_startup_trials"): 0,
    ("TPESampler", "n_ei_candidates"): 1,
    ("CmaEsSampler", "n_startup_trials"): 0,
    ("CmaEsSampler", "popsize"): 4,  # with fewer its learning rate is 0, or divided by 0
    ("GPSampler", "n_startup_trials"): 0,
    ("NSGAIIISampler", "dividing_parameter"): 1,
}
_NO_PLACE = "has no place for {what} and draws them at random (TPESampler models them)"
LEAVES_OUT = {
    "CmaEsSampler": _NO_PLACE,
    "GPSampler": _NO_PLACE,
    "NSGAIISampler": _NO_PLACE,
    "NSGAIIISampler": _NO_PLACE,
    "QMCSampler": _NO_PLACE,
}
USES_CONSTRAINTS = ("GPSampler", "NSGAIISampler", "NSGAIIISampler", "TPESampler")
NEEDS = {"CmaEsSampler": ("cmaes",), "GPSampler": ("scipy", "torch"), "QMCSampler": ("scipy",)}


def _operators(base: type, *names: str) -> Kind:
    return Kind(known={name: getattr(nsgaii, name) for name in names}, base=base)


_CROSSOVERS = _operators(
    nsgaii.BaseCrossover,
    "BLXAlphaCrossover",
    "SBXCrossover",
    "SPXCrossover",
    "UNDXCrossover",
    "UniformCrossover",
    "VSBXCrossover",
)
_MUTATIONS = _operators(nsgaii.BaseMutation, "PolynomialMutation")
_INDEPENDENT = Kind(
    known={name: SAMPLERS[name] for name in ("RandomSampler", "TPESampler")},
    base=BaseSampler,
    refused=REFUSED,
    at_least=AT_LEAST,
)
KIND = Kind(
    known=SAMPLERS,
    base=BaseSampler,
    parts={
        "crossover": _CROSSOVERS,
        "mutation": _MUTATIONS,
        "independent_sampler": _INDEPENDENT,
    },
    refused=REFUSED,
    at_least=AT_LEAST,
    needs=NEEDS,
)


def make_sampler(
    component: Component,
    seed: int,
    space: SearchSpace,
    allow: Collection[str] = (),
    *,
    n_objectives: int = 1,
) -> PerTrialSampler:
    """Return the configured sampler, seeded anew for each trial.

    Args:
        component: Name and arguments as configured.
        seed: The study's seed.
        space: The search space; the grid comes from it, and whether it has conditions.
        allow: Top packages that a dotted name may come from.
        n_objectives: How many metrics the study has.

    Raises:
        ConfigError: unknown name or argument, a value that the class refuses or cannot use, a
            package that is missing, too many metrics for it, or a parameter without a grid for a
            sampler that visits every point.
    """
    if component.name == "CmaEsSampler" and n_objectives > 1:
        message = "CmaEsSampler takes a single metric; NSGAIISampler and TPESampler take several"
        raise ConfigError([Problem(key=f"{KEY}.name", message=message)])
    if component.name in VISITS_ALL:
        _check_grid(component.name, space)

    def make(trial_seed: int) -> BaseSampler:
        def supply(name: str) -> Mapping[str, Any]:
            if name == component.name == "TPESampler":
                return {"seed": trial_seed, **_grouping(component.kwargs, space, n_objectives)}
            return _supplied(name, seed, trial_seed, space)

        sampler: BaseSampler = make_component(component, KIND, allow, KEY, supply)
        return sampler

    keep_in = _memory_of(component)
    if component.name == "GridSampler":
        grid = make(seed)  # it keeps no state but its grid, which is large
        return PerTrialSampler(lambda _: grid, seed, space, points=Points(space), draws_ahead=True)
    points = Points(space) if component.name in VISITS_ALL else None
    ahead = component.name in SAMPLERS and component.name != "BruteForceSampler"
    return PerTrialSampler(make, seed, space, points=points, keep_in=keep_in, draws_ahead=ahead)


def sampler_warnings(
    component: Component, space: SearchSpace, *, constrained: bool = False
) -> list[Problem]:
    """Say what a sampler will not learn from, because its model has no place for it.

    Args:
        component: The sampler, known to be valid.
        space: The search space.
        constrained: Whether the study has constraints.
    """
    messages = []
    left_out = [key for key in space.order if space.specs[key].when]
    what = "conditional parameters"
    if component.name == "CmaEsSampler":
        left_out = [key for key in space.order if not _is_plain(space.specs[key])]
        what = "conditional or categorical parameters"
    if left_out and component.name in LEAVES_OUT:
        reason = LEAVES_OUT[component.name].format(what=what)
        messages.append(f"{component.name} {reason}: {', '.join(left_out)}")
    if constrained and component.name in SAMPLERS and component.name not in USES_CONSTRAINTS:
        use = ", ".join(USES_CONSTRAINTS)
        messages.append(f"{component.name} does not learn from constraints; these do: {use}")
    return [Problem(key=f"{KEY}.name", message=message) for message in messages]


class PerTrialSampler(BaseSampler):
    """A sampler that is made anew, with a seed of its own, for each trial of one study.

    Args:
        make: Seed → a fresh sampler.
        seed: The study's seed.
        space: The study's search space.
        points: Those of the space, where the sampler visits each once and then is through.
        keep_in: System attribute that keeps what is proposed jointly; None to propose it anew.
        draws_ahead: Whether it draws the same where neither it nor another worker finds in the
            database what it has drawn before for the same trial.
    """

    def __init__(
        self,
        make: Callable[[int], BaseSampler],
        seed: int,
        space: SearchSpace,
        *,
        points: Points | None = None,
        keep_in: str | None = None,
        draws_ahead: bool = False,
    ) -> None:
        self.draws_ahead = draws_ahead
        self._make = make
        self._seed = seed
        self._space = space
        self._points = points
        self._keep_in = keep_in
        self._sampler = make(seed)
        self._number: int | None = None
        self._memory = SpaceMemory()
        self._told_to_stop = False

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._number = None  # a trial that is taken up again starts anew
        self._for(study, trial).before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        kept = self._kept(trial)
        if kept is None:
            return self._for(study, trial).infer_relative_search_space(study, trial)
        known = self._space.distributions()
        return {name: known[name] for name in kept if name in known}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        kept = self._kept(trial)
        if kept is not None:
            return {name: kept[name] for name in search_space}
        values = self._for(study, trial).sample_relative(study, trial, search_space)
        if values and self._keep_in == joint.OWN_KEY:
            joint.remember(study, trial, values)
        return values

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        sampler = self._for(study, trial)
        reseed(sampler, seed_of_draw(self._seed, trial.number, param_name))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        if self._points is not None:
            return  # nothing happens there but `Study.stop`, in place of which is `is_exhausted`
        try:
            self._for(study, trial).after_trial(study, trial, state, values)
        except RuntimeError as error:
            # A sampler of someone else's may call `Study.stop` when it is through, which Optuna
            # refuses outside its own loop.
            if "stop" not in str(error):
                raise
            self._told_to_stop = True

    def is_exhausted(self, study: optuna.Study) -> bool:
        """Whether every point of a finite space has been visited, so that no new one is left."""
        if self._points is not None:
            return self._points.exhausted(study)
        check = getattr(self._sampler, "is_exhausted", None)
        return self._told_to_stop or bool(check is not None and check(study))

    def _kept(self, trial: FrozenTrial) -> dict[str, Any] | None:
        """Return what was proposed jointly before the trial was interrupted, None for nothing."""
        return joint.remembered(trial, self._keep_in) if self._keep_in is not None else None

    def _for(self, study: optuna.Study, trial: FrozenTrial) -> BaseSampler:
        """Return the sampler of a trial: Optuna draws late, perhaps after another was asked for."""
        if self._number != trial.number:
            made = self._make(seed_of_trial(self._seed, trial.number))
            self._memory.hand_on(study, made)
            self._sampler = made
            self._number = trial.number
        return self._sampler


def _memory_of(component: Component) -> str | None:
    """Return the system attribute that keeps what a sampler proposes jointly, None for none."""
    if component.name in REPEATABLE:
        return None
    if component.kwargs.get("constant_liar", True):
        return joint.STORED_BY_OPTUNA.get(component.name, joint.OWN_KEY)
    return joint.OWN_KEY


def _is_plain(spec: ParameterSpec) -> bool:
    return not (spec.when or isinstance(spec, Choice))


def _supplied(name: str, seed: int, trial_seed: int, space: SearchSpace) -> Mapping[str, Any]:
    """Return the arguments that we give a sampler or a part of one, unless the user does."""
    given: dict[str, Any] = {"seed": trial_seed}
    if name in ("CmaEsSampler", "GPSampler"):
        # Said once for the study by `sampler_warnings`, not for each parameter of each trial.
        given["warn_independent_sampling"] = False
    if name == "QMCSampler":
        # One sequence for the whole study, but what is drawn beside it is the trial's own.
        given |= {"seed": seed, "independent_sampler": RandomSampler(seed=trial_seed)}
    if name in ("GridSampler", "QMCSampler"):
        given["search_space"] = space
    return given


def _grouping(kwargs: Mapping[str, Any], space: SearchSpace, n_objectives: int) -> dict[str, bool]:
    """Return how TPE is to model parameters together, where the user left it open."""
    conditional = any(spec.when for spec in space.specs.values())
    if conditional and n_objectives == 1 and not {"group", "multivariate"} & kwargs.keys():
        return {"group": True, "multivariate": True}
    if kwargs.get("group") is True:
        return {"multivariate": True}  # nothing else is possible, and Optuna would say so each time
    return {}


def _check_grid(name: str, space: SearchSpace) -> None:
    problems = [
        Problem(
            key=f"params_to_tune.{key}", message=f"{VISITS_ALL[name]} sampler needs a step here"
        )
        for key in space.order
        if math.isinf(SearchSpace({key: space.specs[key]}).size())
    ]
    if not problems and name == "GridSampler":
        count = Points(space).count(most=LARGEST_GRID)
        if count > LARGEST_GRID:
            message = (
                f"the grid has more than {LARGEST_GRID:,} points; use wider steps, or QMCSampler, "
                "which spreads any number of trials evenly"
            )
            problems = [Problem(key=f"{KEY}.name", message=message)]
    if problems:
        raise ConfigError(problems)
