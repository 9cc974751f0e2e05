"""A trial's parameters: drawn one after the other, and written to the database together.

Optuna writes each as soon as it is drawn, in a transaction of its own. A process that dies while
they are drawn here leaves a trial without any, which gets the same ones when it is taken up: what
the sampler proposed jointly is stored before, and the rest comes from the trial's own seed.
"""

from __future__ import annotations

from typing import Any

import optuna
import sqlalchemy as sa
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
)
from optuna.storages import RDBStorage
from optuna.storages._rdb import models

from tunectl.config.section import Scalar
from tunectl.search.samplers import PerTrialSampler
from tunectl.search.space import SearchSpace
from tunectl.studies.rows import add_rows, known_database

_PARAMS: sa.Table = models.TrialParamModel.__table__


def draw_parameters(space: SearchSpace, trial: optuna.Trial) -> dict[str, Scalar]:
    """Let a trial propose a value for every parameter whose condition holds, and store them.

    Args:
        space: The search space.
        trial: The trial, new or taken up again.

    Returns:
        Dotted key → value, without the parameters whose condition is false.

    Raises:
        ValueError: a parameter is stored with other choices or of another kind.
        UpdateFinishedTrialError: somebody else has ended the trial.
        SQLAlchemyError, StorageInternalError: the database failed.
    """
    storage, sampler = trial.storage, trial.study.sampler
    if not isinstance(sampler, PerTrialSampler) or not sampler.draws_ahead:
        return space.suggest(trial)
    database = known_database(trial.study)
    if database is None:
        return space.suggest(trial)
    drawn: Any = _Drawn(storage, database, trial)
    trial.storage = drawn
    try:
        values = space.suggest(trial)
    finally:
        trial.storage = storage
    drawn.write()
    return values


class _Drawn:
    """A trial's storage while its parameters are drawn: here they wait for each other.

    Args:
        storage: Optuna's, for everything else.
        database: The database behind it.
        trial: The trial.
    """

    def __init__(self, storage: Any, database: RDBStorage, trial: optuna.Trial) -> None:
        self._storage = storage
        self._database = database
        self._trial_id = trial._trial_id
        self._known = storage._studies[trial.study._study_id].param_distribution
        self._waiting: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def set_trial_param(
        self, trial_id: int, name: str, value: float, distribution: BaseDistribution
    ) -> None:
        """Take a drawn parameter down. See `BaseStorage.set_trial_param`."""
        known = self._known.get(name)
        if known is None:  # Optuna compares it with what is stored, and then it is known
            self.write()
            self._storage.set_trial_param(trial_id, name, value, distribution)
            return
        check_distribution_compatibility(known, distribution)
        row = {"param_name": name, "param_value": value}
        self._waiting.append({**row, "distribution_json": distribution_to_json(distribution)})

    def write(self) -> None:
        """Write what waits."""
        if self._waiting:
            add_rows(self._database, _PARAMS, self._trial_id, "param_name", self._waiting)
            self._waiting = []
