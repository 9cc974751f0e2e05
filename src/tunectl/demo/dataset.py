"""The demonstration data set on the disk: written whole, and only once.

It knows files and the simulator's arrays, nothing of training or of the configuration.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from tunectl.artifacts import atomic
from tunectl.demo.rig import Layout, Recording, simulate
from tunectl.errors import StorageError, UsageError

DEFAULT_SAMPLES = 120
DEFAULT_SEED = 42
FEWEST_SAMPLES = 20

X_NAME, T_NAME = "x_train.npy", "t_train.npy"


def write_dataset(
    folder: Path, layout: Layout = "1d", samples: int = DEFAULT_SAMPLES, seed: int = DEFAULT_SEED
) -> tuple[Path, Path]:
    """Simulate the rig and write what it recorded.

    Args:
        folder: Where; made if missing, earlier files of the same names are replaced.
        layout: `1d` for signals (N, 4, pulses), `2d` for (N, 4, pulses, time).
        samples: N.
        seed: Same seed, same bytes.

    Returns:
        The files of signals and targets.

    Raises:
        UsageError: too few or too many samples.
        StorageError: the folder cannot be written.
    """
    if samples < FEWEST_SAMPLES:
        raise UsageError(f"at least {FEWEST_SAMPLES} samples are needed, not {samples}")
    recording = simulate(layout, samples, seed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _write(folder, recording, layout, seed)
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror or error}") from error


def ensure_dataset(folder: Path) -> tuple[Path, Path]:
    """Return the files of signals and targets, made with the default values if they are not there.

    Args:
        folder: Where they stand; several processes may ask at once.

    Raises:
        StorageError: the folder cannot be written.
    """
    files = folder / X_NAME, folder / T_NAME
    if all(file.is_file() for file in files):
        return files
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if not all(file.is_file() for file in files):
                write_dataset(folder)
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror or error}") from error
    return files


def _write(folder: Path, recording: Recording, layout: Layout, seed: int) -> tuple[Path, Path]:
    """Write the description, then the targets, then the signals: with them it is complete."""
    description = {
        "what": "simulated three-phase pipe flow seen by two ultrasonic transducers",
        "layout": layout,
        "seed": seed,
        "x_shape": list(recording.x.shape),
        "t_shape": list(recording.t.shape),
        "target_names": list(recording.target_names),
        "units": "superficial velocities in m/s, volume fractions of 1",
        "channels": "0 and 2: transducers 9 mm apart; 1 and 3: clipped rubbish, to be dropped",
    }
    atomic.write_json(folder / "dataset.json", description)
    atomic.write_text(folder / "README.txt", _readme(description))
    files = folder / X_NAME, folder / T_NAME
    _save(files[1], recording.t)
    _save(files[0], recording.x)
    return files


def _readme(description: dict[str, object]) -> str:
    lines = [f"{key}: {json.dumps(value)}" for key, value in description.items()]
    return "\n".join(["Demonstration data, made by `tunectl demo`.", "", *lines, ""])


def _save(path: Path, values: npt.NDArray[np.float32]) -> None:
    with atomic.replacing(path) as beside, beside.open("wb") as out:
        np.save(out, values, allow_pickle=False)
