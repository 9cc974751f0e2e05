"""The grid sampler: every point of a finite space once, in an order that the seed shuffles.

Optuna's own takes the product of all ranges, which visits a point once for every value of the
parameters that it does not have, and raises when the last point or an enqueued trial ends outside
of Optuna's own loop. This one knows conditions and needs nothing but the stored trials.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

from tunectl.search.points import POINT_ATTR, Point, Points
from tunectl.search.space import SearchSpace

LARGEST_GRID = 100_000


class GridSampler(BaseSampler):
    """Visits every point once.

    Args:
        search_space: A space in which every parameter has a grid.
        seed: Shuffles the order; the same for all trials of a study.
    """

    def __init__(self, search_space: SearchSpace, seed: int) -> None:
        self._space = search_space
        self._points = Points(search_space)
        self._seed = seed
        self._order: list[Point] | None = None

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Take a point for the trial, at once, so that other processes see it from now on."""
        if self._points.point_of(trial.system_attrs.get(POINT_ATTR, {})) is not None:
            return  # a trial that is taken up again has its own
        point = self._choose(study, trial)
        if point is not None:
            study._storage.set_trial_system_attr(trial._trial_id, POINT_ATTR, dict(point))

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._space.distributions()

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        point = study._storage.get_trial_system_attrs(trial._trial_id).get(POINT_ATTR, {})
        return {name: value for name, value in point.items() if name in search_space}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        # Only beside enqueued values that are on no point of the grid.
        chance = RandomSampler(seed=(self._seed + trial.number) % 2**32)
        return chance.sample_independent(study, trial, param_name, param_distribution)

    def _choose(self, study: optuna.Study, trial: FrozenTrial) -> Point | None:
        """Return the next point that nobody has taken; None where what is enqueued is on none."""
        given = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        fitting = [
            point for point in self._shuffled() if not given or given.items() <= dict(point).items()
        ]
        taken = self._points.taken(study, besides=trial.number)
        free = next((point for point in fitting if point not in taken), None)
        # More trials than points come only from whoever does not ask whether it is exhausted.
        return free or (fitting[trial.number % len(fitting)] if fitting else None)

    def _shuffled(self) -> list[Point]:
        if self._order is None:
            points = list(self._points)
            shuffle = np.random.default_rng(self._seed).permutation(len(points))
            self._order = [points[index] for index in shuffle]
        return self._order
