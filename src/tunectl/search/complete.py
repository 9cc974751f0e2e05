"""The complete trials of a study as a pruner meets them: each once, since they change no more."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial


class Complete:
    """Tells a pruner which complete trials of one study are new to it.

    Args:
        study: The study.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._storage = study._storage
        self._study_id = study._study_id
        self._numbers: set[int] = set()

    def is_of(self, study: optuna.Study) -> bool:
        """Whether these are the trials of a study: a pruner may be asked about several."""
        return study._storage is self._storage and study._study_id == self._study_id

    def take(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return those of all complete trials that were not among them the last time."""
        if len(trials) == len(self._numbers):
            return []
        new = [one for one in trials if one.number not in self._numbers]
        self._numbers.update(one.number for one in new)
        return new
