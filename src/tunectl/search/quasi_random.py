"""The quasi-random sampler: trial n takes the n-th point of an evenly spread sequence.

Optuna's own counts the points that were taken in the database. Two workers may then take the same
one, and a trial that is taken up again takes the next, which shifts all that follow. It also leaves
the first trial out and learns from it which parameters there are, which we know.
"""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from tunectl.search.space import SearchSpace


class QMCSampler(optuna.samplers.QMCSampler):
    """Spreads trials evenly over the parameters without conditions.

    Args:
        search_space: The search space.
        qmc_type: `sobol` or `halton`.
        scramble: Shuffle the sequence, by the seed.
        seed: The same for all trials of a study.
        independent_sampler: Draws the conditional parameters.
    """

    def __init__(
        self,
        *,
        search_space: SearchSpace,
        qmc_type: str = "sobol",
        scramble: bool = False,
        seed: int,
        independent_sampler: BaseSampler | None = None,
    ) -> None:
        super().__init__(
            qmc_type=qmc_type,
            scramble=scramble,
            seed=seed,
            independent_sampler=independent_sampler,
            warn_independent_sampling=False,
        )
        self._spread = {
            name: distribution
            for name, distribution in search_space.distributions().items()
            if not (search_space.specs[name].when or distribution.single())
        }
        self._number = 0

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict(self._spread)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._number = trial.number
        values: dict[str, Any] = super().sample_relative(study, trial, search_space)
        return values

    def _find_sample_id(
        self, study: optuna.Study, search_space: dict[str, BaseDistribution]
    ) -> int:
        return self._number
