"""The project's tree around the trial directories: summaries, links and the folder of each study.

Everything here is a projection: it can be deleted and is written again from the database and the
trial directories.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tunectl.config.schema import Surroundings
from tunectl.config.search_schema import STUDY_NAME
from tunectl.errors import StorageError


@dataclass(frozen=True, kw_only=True)
class ProjectTree:
    """Where a project keeps what its studies leave.

    Args:
        project: Absolute path of the project folder.
        outputs_root: Absolute path of the root of the trial directories.
        optuna_dir: Absolute path of the folder of the database and the summaries.
    """

    project: Path
    outputs_root: Path
    optuna_dir: Path

    @classmethod
    def of(cls, project: Path, surroundings: Surroundings) -> ProjectTree:
        """Return the tree that `config.yaml` describes."""
        return cls(
            project=project,
            outputs_root=project / surroundings.paths.outputs_root,
            optuna_dir=project / surroundings.paths.optuna_dir,
        )

    @property
    def best_link(self) -> Path:
        """Link to the best trial of the study last tuned."""
        return self.outputs_root / "optuna_best"

    @property
    def outputs_summary_file(self) -> Path:
        """Copy of the summary of the study last tuned."""
        return self.outputs_root / "optuna_study_summary.json"

    @property
    def summary_file(self) -> Path:
        """Summary of the study last tuned."""
        return self.optuna_dir / "study_summary.json"

    @property
    def best_info_file(self) -> Path:
        """Best trial of the study last tuned."""
        return self.optuna_dir / "best_trial_info.yaml"

    def make_outputs_root(self) -> None:
        """Make the root of the trial directories and try whether it can be written to.

        Raises:
            StorageError: it cannot.
        """
        try:
            self.outputs_root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.outputs_root):
                pass
        except (FileExistsError, NotADirectoryError) as error:
            raise StorageError(
                f"no trial directory can be made in {self.outputs_root}: "
                f"{error.filename} is a file, not a folder"
            ) from error
        except OSError as error:
            raise StorageError(
                f"no trial directory can be made in {self.outputs_root}: {error.strerror}"
            ) from error

    def study(self, name: str) -> StudyDir:
        """Return the folder of a study; it need not exist."""
        return StudyDir(self.optuna_dir / "studies" / folder_name(name))


@dataclass(frozen=True)
class StudyDir:
    """The folder of one study.

    Args:
        path: Absolute path.
    """

    path: Path

    @property
    def summary_file(self) -> Path:
        """The study's summary."""
        return self.path / "study_summary.json"

    @property
    def best_info_file(self) -> Path:
        """The study's best trial."""
        return self.path / "best_trial_info.yaml"

    @property
    def best_link(self) -> Path:
        """Link to the directory of the study's best trial."""
        return self.path / "best"

    @property
    def plots_dir(self) -> Path:
        """The study's figures."""
        return self.path / "plots"

    @property
    def report_file(self) -> Path:
        """The study as a page."""
        return self.path / "report.html"

    @property
    def lock_file(self) -> Path:
        """Held while a trial of the study is claimed."""
        return self.path / ".claim.lock"


def folder_name(study_name: str) -> str:
    """Return a folder name for a study: its own name, or a safe one that no other study has.

    Other programs may have made studies whose names cannot be a folder's.
    """
    if STUDY_NAME.fullmatch(study_name):
        return study_name
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", study_name).lstrip("._-")[:60]
    digest = hashlib.sha256(study_name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{safe or 'study'}-{digest}"
