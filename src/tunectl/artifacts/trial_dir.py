"""A trial's own folder: the only module that knows what stands where in it.

It knows nothing of Optuna or of training; it makes the folder, names its files and writes them
atomically.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tunectl.artifacts import atomic
from tunectl.config.schema import TrialConfig
from tunectl.errors import StorageError

PARTS = ("weights", "logs", "checkpoints", "evaluation_plots")


@dataclass(frozen=True)
class TrialDir:
    """The folder of one trial.

    Args:
        path: Absolute path of the folder.
    """

    path: Path

    @classmethod
    def create(cls, outputs_root: Path, started_at: dt.datetime) -> TrialDir:
        """Make the folder of a trial that starts now.

        Args:
            outputs_root: Root of all trial directories; made if missing.
            started_at: Local time of the trial's start; names the folder to the second.

        Returns:
            A folder that nobody else has: a second trial in the same second gets `-2`.

        Raises:
            StorageError: the folder cannot be made.
        """
        day = outputs_root / f"{started_at:%Y-%m-%d}"
        try:
            day.mkdir(parents=True, exist_ok=True)
            directory = cls(_make_first_free(day, f"{started_at:%H-%M-%S}"))
            try:
                directory.make_parts()
            except OSError:
                directory.remove_unused()
                raise
        except OSError as error:
            raise StorageError(
                f"cannot make a trial directory in {outputs_root}: {error.strerror}"
            ) from error
        return directory

    def make_parts(self) -> None:
        """Make the folders within it that are not there.

        Raises:
            OSError: one cannot be made.
        """
        for part in PARTS:
            (self.path / part).mkdir(exist_ok=True)

    def remove_unused(self) -> None:
        """Remove it again, as far as nothing stands in it."""
        for folder in (*(self.path / part for part in PARTS), self.path):
            with suppress(OSError):  # not empty, or gone
                folder.rmdir()

    @property
    def is_there(self) -> bool:
        """Whether nobody has deleted it."""
        return self.path.is_dir()

    @property
    def config_file(self) -> Path:
        """The whole configuration that the trial ran with."""
        return self.path / "config.yaml"

    @property
    def info_file(self) -> Path:
        """What became of the trial."""
        return self.path / "trial_info.yaml"

    @property
    def metrics_file(self) -> Path:
        """Final metrics and histories."""
        return self.path / "metrics.json"

    @property
    def summary_file(self) -> Path:
        """The evaluation on the test split in words."""
        return self.path / "evaluation_summary.txt"

    @property
    def predictions_file(self) -> Path:
        """Test-split predictions (N, T) in the targets' own units."""
        return self.path / "y_pred.npy"

    @property
    def truth_file(self) -> Path:
        """Test-split targets (N, T) in their own units."""
        return self.path / "y_true.npy"

    @property
    def scaling_file(self) -> Path:
        """Mean and scale of inputs and targets, plain JSON."""
        return self.path / "scaling.json"

    @property
    def weights_file(self) -> Path:
        """`state_dict` of the best epoch."""
        return self.path / "weights" / "model_simplecnn_real.pth"

    @property
    def model_file(self) -> Path:
        """What it takes to build the network again and to give it its inputs."""
        return self.path / "model.json"

    @property
    def learning_curves_file(self) -> Path:
        """Figure of the training and validation loss by epoch."""
        return self.path / "learning_curves.png"

    @property
    def plots_dir(self) -> Path:
        """Figures of predicted over true values."""
        return self.path / "evaluation_plots"

    @property
    def checkpoints_dir(self) -> Path:
        """What a running trial needs for going on after an interruption."""
        return self.path / "checkpoints"

    @property
    def log_file(self) -> Path:
        """The trial's own log."""
        return self.path / "logs" / "trial.log"

    @property
    def params_file(self) -> Path:
        """The values that a program is to run with, for the program to read."""
        return self.path / "params.yaml"

    @property
    def stop_file(self) -> Path:
        """Appears when a program is to end, and says why."""
        return self.path / "stop"

    @property
    def reports_file(self) -> Path:
        """What a program has reported, a line of JSON per step."""
        return self.path / "logs" / "reports.jsonl"

    @property
    def program_lock_file(self) -> Path:
        """Locked as long as a program of this trial runs, also one whose worker is dead."""
        return self.path / ".program.lock"

    def figures(self) -> list[Path]:
        """Return its figures: the learning curves, the overview, then the others by name."""
        found = [*self.path.glob("[!.]*.png"), *self.plots_dir.glob("[!.]*.png")]
        first = (self.learning_curves_file, self.plots_dir / "overview.png")
        return sorted(found, key=lambda file: (file != first[0], file != first[1], str(file)))

    def texts(self) -> list[Path]:
        """Return what it has to read, for people rather than programs."""
        files = (self.summary_file, self.log_file, self.metrics_file)
        return [file for file in (*files, self.config_file, self.info_file) if file.is_file()]

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write `config.yaml`."""
        atomic.write_yaml(self.config_file, config)

    def read_config(self) -> TrialConfig | None:
        """Return `config.yaml`, None where there is none that can be read."""
        try:
            return TrialConfig.model_validate(
                yaml.safe_load(self.config_file.read_text(encoding="utf-8"))
            )
        except (OSError, ValueError, yaml.YAMLError):
            return None

    def forget_checkpoints(self) -> None:
        """Remove what a trial could go on from."""
        shutil.rmtree(self.checkpoints_dir, ignore_errors=True)
        with suppress(OSError):
            self.checkpoints_dir.mkdir()

    def write_info(self, info: Mapping[str, Any]) -> None:
        """Write `trial_info.yaml`."""
        atomic.write_yaml(self.info_file, info)

    def read_metrics(self) -> dict[str, Any]:
        """Return `metrics.json`, empty where there is none that can be read."""
        try:
            document = json.loads(self.metrics_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def read_info(self) -> dict[str, Any]:
        """Return `trial_info.yaml`, empty where there is none that can be read."""
        try:
            # The quick one, where there is one: `doctor` reads thousands.
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            info = yaml.load(self.info_file.read_text(encoding="utf-8"), loader)  # noqa: S506
        except (OSError, ValueError, yaml.YAMLError):
            return {}
        return info if isinstance(info, dict) else {}

    def newest_checkpoint(self) -> str | None:
        """Return the name of the newest checkpoint, None where there is none."""
        names = (file.name for file in self.checkpoints_dir.glob("[!.]*"))
        return max(names, default=None)

    def last_sign_s(self) -> float | None:
        """Return when something was last written here, in seconds since 1970; None for nothing."""
        files = (self.config_file, self.log_file, *self.checkpoints_dir.glob("*"))
        times = [file.stat().st_mtime for file in files if file.is_file()]
        return max(times, default=None)

    @property
    def is_link(self) -> bool:
        """Whether the folder, or that of its day, is a link that leads to somewhere else."""
        return self.path.is_symlink() or self.path.parent.is_symlink()

    def leftovers(self) -> list[Path]:
        """Return the half-written files of a process that was killed; see `atomic.leftovers`."""
        folders = (self.path, self.weights_file.parent, self.plots_dir)
        return [
            file
            for folder in folders
            if not folder.is_symlink()
            for file in atomic.leftovers(folder)
        ]

    def tidy(self) -> None:
        """Remove what a finished trial does not need: checkpoints, half files, empty folders."""
        shutil.rmtree(self.checkpoints_dir, ignore_errors=True)
        for file in self.leftovers():
            file.unlink(missing_ok=True)
        for folder in (self.weights_file.parent, self.plots_dir):
            with suppress(OSError):  # not empty, or gone
                folder.rmdir()

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the folder's lock, which the operating system lets go when the process dies.

        Yields:
            Whether the lock was free: False means that a live worker has the trial.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()


def _make_first_free(day: Path, name: str) -> Path:
    """Make `day/name`, or `day/name-2`, `-3` … if others were there first; mkdir decides a race."""
    number = 1
    while True:
        path = day / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path
