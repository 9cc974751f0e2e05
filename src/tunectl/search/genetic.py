"""The two genetic samplers, with parents in an order that everybody agrees on.

Optuna's have them by rank in the process that chose them, and by number in every other one and
after a restart; but which parents a trial gets is drawn by their place in that order.
"""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial


class NSGAIISampler(optuna.samplers.NSGAIISampler):
    """NSGA-II; the name is part of the attributes that it stores."""

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        return _by_number(super().get_parent_population(study, generation))


class NSGAIIISampler(optuna.samplers.NSGAIIISampler):
    """NSGA-III; the name is part of the attributes that it stores."""

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        return _by_number(super().get_parent_population(study, generation))


def _by_number(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    return sorted(trials, key=lambda trial: trial.number)
