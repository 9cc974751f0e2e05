"""Whether MLflow has what a study has: a look that changes nothing, neither here nor there."""

from __future__ import annotations

from dataclasses import dataclass

import optuna

from tunectl.errors import TrackingError
from tunectl.tracking.destination import Destination
from tunectl.tracking.memory import recall
from tunectl.tracking.runs import ended_runs
from tunectl.tracking.service import connect, mlflow_errors


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far MLflow has what a study has.

    Args:
        missing: The ended trials that have no run there, or one that has not ended.
        n_ended: Trials that have ended.
        reason: Why MLflow could not be looked at, None where it could.
    """

    missing: tuple[int, ...] = ()
    n_ended: int
    reason: str | None = None


def compare(study: optuna.Study, destination: Destination) -> Agreement | None:
    """Look whether MLflow has the study's ended trials.

    Args:
        study: The study.
        destination: The MLflow.

    Returns:
        What was found, None for a study that was never mirrored.
    """
    memory = recall(study)
    if memory is None:
        return None
    ended = [one for one in study.get_trials(deepcopy=False) if one.state.is_finished()]
    database = destination.database
    if database is not None and not database.exists():  # a client would make it
        return Agreement(missing=tuple(one.number for one in ended), n_ended=len(ended))
    try:
        with mlflow_errors(destination):
            client = connect(destination)
            found = client.get_experiment_by_name(destination.experiment)
            experiment_id = found.experiment_id if found else None
            there = ended_runs(client, experiment_id, memory.study_id) if experiment_id else set()
    except TrackingError as error:
        return Agreement(n_ended=len(ended), reason=str(error))
    missing = tuple(one.number for one in ended if one.number not in there)
    return Agreement(missing=missing, n_ended=len(ended))
