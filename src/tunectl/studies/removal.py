"""Deleting a study, and only what belongs to it."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import optuna
from optuna.storages import RDBStorage

from tunectl.artifacts.study_dir import ProjectTree, StudyDir
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.errors import StorageError
from tunectl.studies import attributes
from tunectl.studies.claim_lock import claim_lock
from tunectl.studies.directories import directory_of
from tunectl.studies.heartbeat import is_silent
from tunectl.studies.lifecycle import delete_study, load_study, study_names
from tunectl.studies.recovery import running_trials

log = logging.getLogger(__name__)


def remove_study(
    storage: RDBStorage, url: str, study: optuna.Study, tree: ProjectTree, *, artifacts: bool
) -> int:
    """Delete a study from the database, its own summaries and, if asked, its trial directories.

    Args:
        storage: The database.
        url: Its URL.
        study: The study.
        tree: Where its files stand.
        artifacts: Delete its trial directories as well.

    Returns:
        How many trial directories were deleted; those that another study shares are kept.

    Raises:
        StorageError: one of its trials is running; nothing was deleted.
    """
    folder = tree.study(study.study_name)
    with claim_lock(url, study.study_name, folder)():
        _refuse_if_running(study, tree.project)
        directories = _own_directories(storage, study, tree)
        delete_study(storage, study.study_name)
    _forget_projections(study.study_name, tree, directories if artifacts else [])
    if artifacts:
        for directory in directories:
            _remove_directory(directory.path, tree.outputs_root)
    _remove_folder(folder)
    return len(directories) if artifacts else 0


def _own_directories(storage: RDBStorage, study: optuna.Study, tree: ProjectTree) -> list[TrialDir]:
    """Return the directories of a study that no other study of the database points to.

    A copied or migrated study shares those of the first one, whose trials they describe.
    """
    name = study.study_name
    shared = {
        trial.user_attrs.get(attributes.OUTPUT_DIR)
        for other in study_names(storage)
        if other != name
        for trial in load_study(storage, other).get_trials(deepcopy=False)
    }
    found = [
        directory_of(trial, tree.project)
        for trial in study.get_trials(deepcopy=False)
        if trial.user_attrs.get(attributes.OUTPUT_DIR) not in shared
    ]
    return [one for one in found if one is not None and one.read_info().get("study") == name]


def _refuse_if_running(study: optuna.Study, project: Path) -> None:
    """Raise if a worker is known to be alive. One that is only not known to be dead is no reason:
    nobody could delete the study ever again.
    """
    for one in running_trials(study, project):
        if one.is_locked and one.directory is not None:
            where = str(one.directory.path)
        elif one.silent_s is not None and not is_silent(one.silent_s) and one.claimed_by:
            where = f"{one.claimed_by.project} on {one.claimed_by.host}"
        else:
            continue
        raise StorageError(f"study {study.study_name!r} is running in {where}; stop it first")


def _remove_directory(path: Path, outputs_root: Path) -> None:
    """Remove a trial directory: two levels below the root of trial directories, nothing else."""
    if path.is_symlink() or path.resolve().parent.parent != outputs_root.resolve():
        log.warning("%s is no trial directory of %s, so it is left as it is", path, outputs_root)
        return
    shutil.rmtree(path, ignore_errors=True)
    day = path.parent
    if day != outputs_root and not any(day.iterdir()):
        day.rmdir()


def _remove_folder(folder: StudyDir) -> None:
    """Remove a study's own folder, but not what somebody put in the place of its link."""
    if folder.best_link.is_symlink() or not folder.best_link.exists():
        shutil.rmtree(folder.path, ignore_errors=True)
        return
    log.warning("%s is not a link, so it is left as it is", folder.best_link)
    for path in folder.path.iterdir():
        if path.is_file() or path.is_symlink():
            path.unlink()


def _forget_projections(name: str, tree: ProjectTree, removed: list[TrialDir]) -> None:
    """Remove what speaks of the study as the one last tuned, and a link whose target goes."""
    try:
        last = json.loads(tree.summary_file.read_text(encoding="utf-8")).get("study_name")
    except (OSError, ValueError, AttributeError):
        last = None
    if last == name:
        for file in (tree.summary_file, tree.best_info_file, tree.outputs_summary_file):
            file.unlink(missing_ok=True)
    link = tree.best_link
    if link.is_symlink() and (
        last == name or any(link.resolve() == one.path.resolve() for one in removed)
    ):
        link.unlink()
