"""Trials whose worker is gone: find them, so that they are taken up under their own number.

A live worker holds the lock of its trial directory. A trial that the database calls running while
that lock is free, or that has no directory although no claim is under way, was interrupted.
"""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from tunectl.artifacts.trial_dir import TrialDir

OUTPUT_DIR_ATTR = "output_dir"


def directory_of(trial: FrozenTrial, project: Path) -> TrialDir | None:
    """Return the directory recorded with a trial, None where none is recorded or it is gone."""
    recorded = trial.user_attrs.get(OUTPUT_DIR_ATTR)
    if not isinstance(recorded, str):
        return None
    path = project / recorded
    return TrialDir(path) if path.is_dir() else None


def interrupted_trials(study: optuna.Study, project: Path) -> list[FrozenTrial]:
    """Return the running trials that nobody runs, oldest first.

    The caller holds the study's claim lock, so that no trial is between being asked for and
    having its directory locked.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [trial for trial in running if _is_abandoned(trial, project)]


def _is_abandoned(trial: FrozenTrial, project: Path) -> bool:
    directory = directory_of(trial, project)
    if directory is None:
        return True
    with directory.locked() as free:
        return free
