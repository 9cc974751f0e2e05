"""Where a trial's directory lies, seen from a project folder that may not be the one that ran it.

Recorded is a path relative to the folder of the project that claimed the trial. Several projects,
on one machine or on several, may share a study, and a project folder may have been moved since.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.studies import attributes
from tunectl.studies.claimant import Claimant, claimant_of
from tunectl.studies.times import utc

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tunectl.studies.records import Told


def recorded_path(path: Path, project: Path) -> str:
    """Return a path as it is recorded: relative to the project folder where it lies inside."""
    return str(path.relative_to(project) if path.is_relative_to(project) else path)


def directory_of(trial: FrozenTrial, project: Path) -> TrialDir | None:
    """Return the directory recorded with a trial, None where none is recorded or it is gone."""
    return next(_candidates(trial, project), None)


def own_directory(study_name: str, trial: FrozenTrial, project: Path) -> TrialDir | None:
    """Return a trial's directory if it is its own: a copied study's is still the first one's."""
    return next(own_directories(study_name, trial, project), None)


def own_directories(study_name: str, trial: FrozenTrial, project: Path) -> Iterator[TrialDir]:
    """Yield every folder that may be a trial's own directory, the one in this project first.

    There are two where a project folder was copied while it shares its database with the first.
    """
    for directory in _candidates(trial, project):
        info = directory.read_info()
        named = (info.get("study", study_name), info.get("number", trial.number))
        if named == (study_name, trial.number):
            yield directory


class Places:
    """Says where the directories of a study's trials are.

    Args:
        project: Absolute path of the project folder.
    """

    def __init__(self, project: Path) -> None:
        self._project = project
        self._mine: set[Claimant | None] = {None}

    def of(self, trial: Told) -> str | None:
        """Return where a trial's directory is.

        Returns:
            A path, relative to the project folder where it lies inside; `host:path` for one that is
            on another machine; None where none is recorded.
        """
        recorded = trial.user_attrs.get(attributes.OUTPUT_DIR)
        if not isinstance(recorded, str):
            return None
        claimed_by = claimant_of(trial)
        # One trial tells for all of the same claimant, since summaries read thousands.
        if claimed_by in self._mine or claimed_by is None:
            return recorded
        if self._is_mine(claimed_by, trial, recorded):
            self._mine.add(claimed_by)
            return recorded
        there = Path(claimed_by.project) / recorded
        return str(there) if claimed_by.is_here else f"{claimed_by.host}:{there}"

    def _is_mine(self, claimed_by: Claimant, trial: Told, recorded: str) -> bool:
        """Whether a claimant's project folder is this one, perhaps under another name."""
        if claimed_by.is_here and claimed_by.project == str(self._project):
            return True
        return _names(TrialDir(self._project / recorded), claimed_by, trial)


def _candidates(trial: FrozenTrial, project: Path) -> Iterator[TrialDir]:
    """Yield the folders that are where a trial's directory may be."""
    recorded = trial.user_attrs.get(attributes.OUTPUT_DIR)
    if not isinstance(recorded, str):
        return
    claimed_by = claimant_of(trial)
    here = TrialDir(project / recorded)
    is_here = here.path.is_dir()
    if claimed_by is not None and not (claimed_by.is_here and claimed_by.project == str(project)):
        # A trial of another project may have begun here in the same second.
        is_here = is_here and _names(here, claimed_by, trial)
    if is_here:
        yield here
    if claimed_by is not None and claimed_by.project != str(project):
        there = TrialDir(Path(claimed_by.project) / recorded)
        if there.path.is_dir() and there.path != here.path:
            yield there


def _names(directory: TrialDir, claimed_by: Claimant, trial: Told) -> bool:
    """Whether a folder says that it is the directory of a certain trial, or of its original."""
    info = directory.read_info()
    if not info:  # lost, or not written yet: its configuration names it too
        config = directory.read_config()
        named = config and (config.study.name, config.number)
        return named == (claimed_by.study, trial.number)
    if info.get("study") != claimed_by.study:
        return False
    # A copied trial may have another number, but it has the times of the first one.
    started_at = utc(trial.datetime_start)
    return info.get("number") == trial.number or info.get("started_at", "") == started_at
