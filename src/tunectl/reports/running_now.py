"""Which trials are running now, where, and how far they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from tunectl.config.schema import Settings
from tunectl.errors import StorageError
from tunectl.reports.effort import planned_epochs
from tunectl.studies.claim_lock import Lock
from tunectl.studies.claimant import claimant_of
from tunectl.studies.recovery import RunningTrial, running_trials
from tunectl.studies.server_lock import LockBusyError
from tunectl.studies.times import spent_s


@dataclass(frozen=True, kw_only=True)
class RunningNow:
    """A trial that the database calls running.

    Args:
        number: Its number.
        host: The machine of the worker that claimed it, None for another program's.
        is_interrupted: Whether nobody runs it any more; the next call takes it up.
        epochs: Epochs that it has reported.
        planned: Epochs that it is to train, None where that is not known.
        value: The last value that it has reported.
        spent_s: Seconds for which it has run.
    """

    number: int
    host: str | None
    is_interrupted: bool
    epochs: int
    planned: int | None
    value: float | None
    spent_s: float


def look_at_running(study: optuna.Study, project: Path, claims: Lock) -> list[RunningTrial]:
    """Return the running trials while nobody is between asking for one and locking its directory.

    Args:
        study: The study.
        project: Absolute path of the project folder.
        claims: The lock of the study's claims.

    Raises:
        LockBusyError: somebody is, and does not come to an end.
    """
    if not study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        return []
    try:
        with claims():
            return running_trials(study, project)
    except LockBusyError:
        raise
    except StorageError:  # nothing can be written here, so nobody claims anything either
        return running_trials(study, project)


def running_now(
    study: optuna.Study, project: Path, claims: Lock, settings: Settings | None = None
) -> Sequence[RunningNow]:
    """Return the trials that the database calls running, by number.

    Args:
        study: The study.
        project: Absolute path of the project folder.
        claims: The lock of the study's claims. Where it is not to be had, whether a trial is
            interrupted is not looked for.
        settings: The configuration stored with the study.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    try:
        seen = {one.trial.number: one for one in look_at_running(study, project, claims)}
    except LockBusyError:
        seen = {}
    planned = planned_epochs(study.get_trials(deepcopy=False), settings)
    return [_describe(trial, seen.get(trial.number), planned) for trial in running]


def _describe(
    trial: FrozenTrial,
    found: RunningTrial | None,
    planned: Callable[[FrozenTrial], int | None],
) -> RunningNow:
    last, claimed_by = trial.last_step, claimant_of(trial)
    return RunningNow(
        number=trial.number,
        host=claimed_by.host if claimed_by is not None else None,
        is_interrupted=found is not None and found.is_interrupted,
        epochs=len(trial.intermediate_values),
        planned=planned(trial),
        value=trial.intermediate_values[last] if last is not None else None,
        spent_s=spent_s(trial),
    )
