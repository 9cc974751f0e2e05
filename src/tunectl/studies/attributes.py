"""The user attributes that a trial carries in the database, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

OUTPUT_DIR = "output_dir"
ERROR = "error"
EPOCHS = "epochs"
PAUSED_S = "paused_s"
SPENT_S = "spent_s"
METRICS = "metrics"
CLAIMED_BY = "claimed_by"
DEATHS = "worker_deaths"
OUTSIDE = "driven_from_outside"
"""Whether a script, and no worker, is to say how the trial ends."""
BEST_EPOCH = "best_epoch"
MLFLOW_RUN_ID = "mlflow_run_id"

MLFLOW_STUDY = "tunectl:mlflow"
"""Of a study: by which its runs in MLflow are known."""


def epochs_of(trial: FrozenTrial) -> int:
    """Return how many epochs a trial trained, as far as is known."""
    stored = trial.user_attrs.get(EPOCHS)
    return stored if isinstance(stored, int) else len(trial.intermediate_values)
