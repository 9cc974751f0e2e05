"""Trials whose worker is gone: find them, so that they are taken up under their own number.

A live worker holds the lock of its trial directory. A trial that the database calls running while
that lock is free, or that has no directory although no claim is under way, was interrupted. What
another machine or another project folder runs in the same database is not ours to judge.
"""

from __future__ import annotations

import platform
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from tunectl.artifacts.study_dir import StudyDir
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.studies import attributes
from tunectl.studies.sqlite_file import claims_file
from tunectl.studies.storage import sqlite_path


def claim_lock(url: str, folder: StudyDir) -> Path:
    """Return the file that is locked while a trial of a study is claimed.

    It stands beside a SQLite database, so that all project folders that use one share it.
    """
    database = sqlite_path(url)
    return folder.lock_file if database is None else claims_file(database)


def claimant(study_name: str, project: Path) -> dict[str, str]:
    """Return who claims a trial, as it is stored with the trial."""
    return {"study": study_name, "host": platform.node(), "project": str(project)}


def directory_of(trial: FrozenTrial, project: Path) -> TrialDir | None:
    """Return the directory recorded with a trial, None where none is recorded or it is gone."""
    recorded = trial.user_attrs.get(attributes.OUTPUT_DIR)
    if not isinstance(recorded, str):
        return None
    path = project / recorded
    return TrialDir(path) if path.is_dir() else None


def own_directory(study_name: str, trial: FrozenTrial, project: Path) -> TrialDir | None:
    """Return a trial's directory if it is its own: a copied study's is still the first one's."""
    directory = directory_of(trial, project)
    if directory is None:
        return None
    info = directory.read_info()
    named = (info.get("study", study_name), info.get("number", trial.number))
    return directory if named == (study_name, trial.number) else None


def interrupted_trials(study: optuna.Study, project: Path) -> list[FrozenTrial]:
    """Return the running trials that nobody runs, oldest first.

    The caller holds the claim lock, so that no trial is between being asked for and having its
    directory locked.
    """
    name = study.study_name
    abandoned = [trial for trial in _running(study) if _is_abandoned(name, trial, project)]
    if not abandoned:
        return []
    # A worker ends its trial before it lets go of the lock: what still runs now has no worker.
    still = {trial.number for trial in _running(study)}
    return [trial for trial in abandoned if trial.number in still]


def _running(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def _is_abandoned(name: str, trial: FrozenTrial, project: Path) -> bool:
    directory = own_directory(name, trial, project)
    if directory is not None:
        with directory.locked() as free:
            return free
    claimed_by = trial.user_attrs.get(attributes.CLAIMED_BY)
    if not isinstance(claimed_by, dict) or claimed_by.get("study") != name:
        return True  # never claimed, or copied from another study
    return bool(claimed_by == claimant(name, project))
