"""Deleting a study, and only what belongs to it."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.storages import RDBStorage

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.errors import StorageError
from tunectl.studies.lifecycle import delete_study
from tunectl.studies.recovery import directory_of

log = logging.getLogger(__name__)


def remove_study(
    storage: RDBStorage, study: optuna.Study, tree: ProjectTree, *, artifacts: bool
) -> None:
    """Delete a study from the database, its own summaries and, if asked, its trial directories.

    Args:
        storage: The database.
        study: The study.
        tree: Where its files stand.
        artifacts: Delete its trial directories as well.

    Raises:
        StorageError: one of its trials is running; nothing was deleted.
    """
    folder = tree.study(study.study_name)
    folder.path.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.lock_file):
        found = (directory_of(trial, tree.project) for trial in study.get_trials(deepcopy=False))
        directories = [one for one in found if one is not None]
        _refuse_if_running(study.study_name, directories)
        delete_study(storage, study.study_name)
    _forget_links(tree, directories if artifacts else [])
    if artifacts:
        for directory in directories:
            _remove_directory(directory.path, tree.outputs_root)
    shutil.rmtree(folder.path, ignore_errors=True)


def _refuse_if_running(name: str, directories: list[TrialDir]) -> None:
    for directory in directories:
        with directory.locked() as free:
            if not free:
                raise StorageError(f"study {name!r} is running in {directory.path}; stop it first")


def _remove_directory(path: Path, outputs_root: Path) -> None:
    """Remove a trial directory, but never anything outside the root of trial directories."""
    if not path.resolve().is_relative_to(outputs_root.resolve()):
        log.warning("%s lies outside %s, so it is left as it is", path, outputs_root)
        return
    shutil.rmtree(path, ignore_errors=True)
    day = path.parent
    if day != outputs_root and not any(day.iterdir()):
        day.rmdir()


def _forget_links(tree: ProjectTree, removed: list[TrialDir]) -> None:
    """Remove the link to the best trial where its target is about to go."""
    link = tree.best_link
    if link.is_symlink() and any(link.resolve() == one.path.resolve() for one in removed):
        link.unlink()
