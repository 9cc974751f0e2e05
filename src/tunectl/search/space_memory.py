"""Which parameters all trials of a study share, worked out once and not again for each trial.

Several samplers model only those, and go through all trials to find them. Optuna's object for it
goes on where it stopped, and gives the same as a new one would; so it is handed from the sampler of
one trial to that of the next.
"""

from __future__ import annotations

import optuna
from optuna.pruners import HyperbandPruner
from optuna.samplers import BaseSampler
from optuna.search_space import IntersectionSearchSpace


class SpaceMemory:
    """What the samplers of the trials of one study have found out about the space."""

    def __init__(self) -> None:
        self._study: tuple[object, int] | None = None
        self._found: dict[tuple[type, str], IntersectionSearchSpace] = {}

    def hand_on(self, study: optuna.Study, sampler: BaseSampler) -> None:
        """Give a new sampler what was found before.

        Args:
            study: The study that it is to propose for.
            sampler: The sampler, which has not been asked for anything.
        """
        # There each trial's sampler sees only a part of the trials.
        if isinstance(study.pruner, HyperbandPruner):
            return
        if self._study != (study._storage, study._study_id):
            self._study, self._found = (study._storage, study._study_id), {}
        for name, part in vars(sampler).items():
            if type(part) is IntersectionSearchSpace:
                setattr(sampler, name, self._found.setdefault((type(sampler), name), part))
