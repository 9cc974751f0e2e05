"""What trials left in their directories, as optuna-dashboard shows it: as artifacts of the trials.

Nothing of it is stored. The database is read through a view that has the files of each trial among
its attributes, so a trial that ends while the page is open has its figures at once, and a study
that was looked at is the study that it was.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Container
from pathlib import Path
from typing import BinaryIO, NoReturn

from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import BaseStorage, RDBStorage, _CachedStorage
from optuna.trial import FrozenTrial, TrialState

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.studies.directories import directory_of

# Optuna's own prefix of a trial's attribute that names a file, see `optuna.artifacts`.
ATTR = "artifacts:"
IMAGE = "image/png"
TEXT = "text/plain; charset=utf-8"


class TrialFiles:
    """The files of trials, each with a name that the page can ask for it by.

    Args:
        storage: The database.
        project: Absolute path of the project folder.
    """

    def __init__(self, storage: BaseStorage, project: Path) -> None:
        self._storage = storage
        self._project = project
        self._places: dict[int, TrialDir] = {}

    def attributes_of(self, trial: FrozenTrial) -> dict[str, str]:
        """Return the attributes that Optuna would have stored for a trial's files."""
        return {
            f"{ATTR}{identity}": json.dumps(
                {
                    "artifact_id": identity,
                    "filename": file.name,
                    "mimetype": IMAGE if file.suffix == ".png" else TEXT,
                    "encoding": None,
                }
            )
            for identity, file in self._named(trial).items()
        }

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open a file.

        Raises:
            ArtifactNotFound: there is none of that name, or not any more.
        """
        try:
            trial = self._storage.get_trial(int(artifact_id.partition("-")[0], 16))
            return self._named(trial)[artifact_id].open("rb")
        except (KeyError, ValueError, OSError) as error:
            raise ArtifactNotFound("not found") from error

    def write(self, artifact_id: str, content_body: BinaryIO) -> NoReturn:  # noqa: ARG002 - Optuna's
        """Refuse; it is for looking only."""
        raise PermissionError(artifact_id)

    def remove(self, artifact_id: str) -> NoReturn:
        """Refuse; it is for looking only."""
        raise PermissionError(artifact_id)

    def _named(self, trial: FrozenTrial) -> dict[str, Path]:
        directory = self._places.get(trial._trial_id) or directory_of(trial, self._project)
        if directory is None:
            return {}
        self._places[trial._trial_id] = directory
        files = [*directory.figures(), *directory.texts()]
        # The page takes names of hexadecimal digits only.
        places = {file: str(file.relative_to(directory.path)).encode().hex() for file in files}
        return {f"{trial._trial_id:x}-{place}": file for file, place in places.items()}


class StorageWithFiles(_CachedStorage):
    """A database as it is, but for the files among the attributes of its trials.

    Args:
        backend: The database.
        files: The files.
    """

    def __init__(self, backend: RDBStorage, files: TrialFiles) -> None:
        super().__init__(backend)
        self._files = files

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return a study's trials with their files."""
        trials = super().get_all_trials(study_id, deepcopy=deepcopy, states=states)
        return [self._dressed(trial) for trial in trials]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial with its files."""
        return self._dressed(super().get_trial(trial_id))

    def _dressed(self, trial: FrozenTrial) -> FrozenTrial:
        attributes = self._files.attributes_of(trial)
        if not attributes:
            return trial
        dressed = copy.copy(trial)  # the one given is the cache's
        dressed._system_attrs = {**trial._system_attrs, **attributes}
        return dressed
