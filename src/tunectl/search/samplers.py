"""Samplers by name, and the randomness of each trial.

What a sampler draws for trial n comes from (study seed, n) alone, so that a study which is
stopped and taken up again proposes what it would have proposed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from tunectl.config.schema import Component
from tunectl.errors import ConfigError, Problem
from tunectl.search.components import build, find_class
from tunectl.search.space import SearchSpace, grid_of

KEY = "study.sampler"
SAMPLERS: dict[str, type[BaseSampler]] = {
    name: getattr(optuna.samplers, name)
    for name in (
        "BruteForceSampler",
        "CmaEsSampler",
        "GPSampler",
        "GridSampler",
        "NSGAIISampler",
        "NSGAIIISampler",
        "QMCSampler",
        "RandomSampler",
        "TPESampler",
    )
}
# One sequence or one shuffled order for the whole study: another seed per trial would break it.
ONE_SEED_FOR_ALL = ("GridSampler", "QMCSampler")
REFUSED = {
    "seed": "set study.seed instead: each trial's randomness comes from it and the trial's number",
    "search_space": "comes from params_to_tune",
}


def make_sampler(
    component: Component, seed: int, space: SearchSpace, allow: Collection[str] = ()
) -> PerTrialSampler:
    """Return the configured sampler, seeded anew for each trial.

    Args:
        component: Name and arguments as configured.
        seed: The study's seed.
        space: The search space; the grid sampler takes its grid from it.
        allow: Top packages that a dotted name may come from.

    Raises:
        ConfigError: unknown name or argument, an argument that the class refuses, or a grid sampler
            with a parameter that has no grid.
    """
    cls = find_class(component, SAMPLERS, BaseSampler, allow, KEY)
    given = {"search_space": _grid(space)} if component.name == "GridSampler" else {}

    def make(trial_seed: int) -> BaseSampler:
        sampler: BaseSampler = build(cls, component, {**given, "seed": trial_seed}, KEY, REFUSED)
        return sampler

    return PerTrialSampler(make, seed, vary=component.name not in ONE_SEED_FOR_ALL)


def seed_of_trial(seed: int, number: int) -> int:
    """Return the 32-bit seed of a trial, spread by NumPy's `SeedSequence`."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


class PerTrialSampler(BaseSampler):
    """A sampler that is made anew, with a seed of its own, for each trial.

    Args:
        make: Seed → a fresh sampler.
        seed: The study's seed.
        vary: Whether each trial has its own seed; False for samplers that walk one sequence.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int, *, vary: bool = True) -> None:
        self._make = make
        self._seed = seed
        self._vary = vary
        self._sampler = make(seed)
        self._told_to_stop = False

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        if self._vary:
            self._sampler = self._make(seed_of_trial(self._seed, trial.number))
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        try:
            self._sampler.after_trial(study, trial, state, values)
        except RuntimeError as error:
            # The grid and brute-force samplers call `Study.stop` when they are through, which
            # Optuna refuses outside its own loop; ours asks `is_exhausted` instead.
            if "stop" not in str(error):
                raise
            self._told_to_stop = True

    def is_exhausted(self, study: optuna.Study) -> bool:
        """Whether every point of a finite space has been visited, so that no new one is left."""
        check = getattr(self._sampler, "is_exhausted", None)
        return self._told_to_stop or bool(check is not None and check(study))


def _grid(space: SearchSpace) -> dict[str, list[Any]]:
    grid: dict[str, list[Any]] = {}
    problems = []
    for key in space.order:
        values = grid_of(space.specs[key])
        if values is None:
            message = "the grid sampler needs a step here"
            problems.append(Problem(key=f"params_to_tune.{key}", message=message))
        else:
            grid[key] = values
    if problems:
        raise ConfigError(problems)
    return grid
