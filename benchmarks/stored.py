"""Many stored trials, quickly: written into Optuna's tables at once, not through Optuna one by one.

    python benchmarks/stored.py URL STUDY N_TRIALS N_STEPS

Every trial has values of twelve parameters, some intermediate values and what a trial of `flow_cnn`
leaves in its attributes; every third one was pruned.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import sys
from collections.abc import Iterator
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import TrialState

from projects import WEIGHTS

SPACE: dict[str, BaseDistribution] = {
    "model.hidden": IntDistribution(32, 128, step=16),
    "model.dropout_rate": FloatDistribution(0.0, 0.5, step=0.05),
    "model.use_residual": CategoricalDistribution((True, False)),
    "training.learning_rate": FloatDistribution(1e-5, 1e-2, log=True),
    "training.batch_size": CategoricalDistribution((2, 4, 8)),
    "training.weight_decay": FloatDistribution(1e-6, 1e-3, log=True),
    "dataset.downsample_factor": IntDistribution(1, 4),
    **{name: FloatDistribution(0.1, 10.0) for name in WEIGHTS},
}
"""The same twelve as in `projects.SPACE_YAML`."""


def store_trials(storage: RDBStorage, study: optuna.Study, n_trials: int, n_steps: int) -> None:
    """Add ended trials to a study that has none.

    Args:
        storage: The database.
        study: The study.
        n_trials: How many.
        n_steps: Intermediate values of each.
    """
    source, start = random.Random(0), dt.datetime(2026, 1, 31)
    with storage.engine.begin() as connection:
        first = connection.execute(sa.select(sa.func.max(models.TrialModel.trial_id))).scalar() or 0
        tables: dict[Any, list[dict[str, Any]]] = {}
        for number in range(n_trials):
            trial = {
                "trial_id": first + 1 + number,
                "number": number,
                "study_id": study._study_id,
                "state": TrialState.PRUNED if number % 3 == 1 else TrialState.COMPLETE,
                "datetime_start": start + dt.timedelta(minutes=number),
                "datetime_complete": start + dt.timedelta(minutes=number, seconds=50.5),
            }
            tables.setdefault(models.TrialModel, []).append(trial)
            for model, row in _rows_of(trial, n_steps, source):
                tables.setdefault(model, []).append({"trial_id": trial["trial_id"], **row})
        for model, rows in tables.items():
            connection.execute(sa.insert(model.__table__), rows)


def _rows_of(
    trial: dict[str, Any], n_steps: int, source: random.Random
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield the rows of the other tables: which table, and what stands in it."""
    curve = [1 / (step + 1) + source.random() / 10 for step in range(1, n_steps + 1)]
    for step, value in enumerate(curve, start=1):
        row = {"step": step, "intermediate_value": value, "intermediate_value_type": "FINITE"}
        yield models.TrialIntermediateValueModel, row
    if trial["state"] == TrialState.COMPLETE:
        yield (
            models.TrialValueModel,
            {"objective": 0, "value": min(curve), "value_type": "FINITE"},
        )
    for name, distribution in SPACE.items():
        yield (
            models.TrialParamModel,
            {
                "param_name": name,
                "param_value": distribution.to_internal_repr(_draw(distribution, source)),
                "distribution_json": distribution_to_json(distribution),
            },
        )
    attributes = {
        "output_dir": f"outputs/2026-01-31/{trial['number']}",
        "best_epoch": n_steps,
        "metrics": {"val_mse": min(curve), "test_mse": source.random(), "test_r2": 0.5},
    }
    for key, content in attributes.items():
        yield models.TrialUserAttributeModel, {"key": key, "value_json": json.dumps(content)}


def _draw(distribution: BaseDistribution, source: random.Random) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return source.choice(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if distribution.log:
        return float(low * (high / low) ** source.random())
    if step is None:
        return source.uniform(low, high)
    return low + step * source.randrange(round((high - low) / step) + 1)


def main(url: str, name: str, n_trials: int, n_steps: int) -> None:
    """Fill a study that is there."""
    storage = RDBStorage(url)
    store_trials(storage, optuna.load_study(study_name=name, storage=storage), n_trials, n_steps)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
