"""The demonstration data set on the disk: written whole or not at all, and only over its own kind.

The signals' file comes last, and goes first when a set is replaced: where both files stand, they
belong together. It knows files and the simulator's arrays, nothing of training or of the
configuration.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from tunectl.artifacts import atomic
from tunectl.demo import rig
from tunectl.demo.rig import Layout, Recording, simulate
from tunectl.errors import StorageError, UsageError

DEFAULT_SAMPLES = 120
DEFAULT_SEED = 42
FEWEST_SAMPLES = 20  # fewer cannot be split into three parts that mean anything

X_NAME, T_NAME = "x_train.npy", "t_train.npy"
DESCRIPTION_NAME, README_NAME, LOCK_NAME = "dataset.json", "README.txt", ".lock"
MADE_BY = "tunectl demo"


def write_dataset(
    folder: Path, layout: Layout = "1d", samples: int = DEFAULT_SAMPLES, seed: int = DEFAULT_SEED
) -> tuple[Path, Path]:
    """Simulate the rig and write what it recorded.

    Args:
        folder: Where; made if missing. An earlier demonstration data set is replaced.
        layout: `1d` for signals (N, 4, pulses), `2d` for (N, 4, pulses, time).
        samples: N, 20 to 10,000.
        seed: 0 or more; the same seed gives the same bytes.

    Returns:
        The files of signals and targets.

    Raises:
        UsageError: an argument is out of its range, `folder` is a file, or it holds data that are
            not a demonstration.
        StorageError: the folder cannot be written.
    """
    if samples < FEWEST_SAMPLES:
        raise UsageError(f"samples must be at least {FEWEST_SAMPLES}, not {samples}")
    rig.check_arguments(layout, samples, seed)
    with _locked(folder):
        return _make(folder, layout, samples, seed)


def ensure_dataset(folder: Path) -> tuple[Path, Path]:
    """Return the files of signals and targets; made with the default values if they are not there.

    Args:
        folder: Where they stand. Several processes may ask at once: one makes them.

    Returns:
        The files of signals and targets.

    Raises:
        UsageError: `folder` is a file, or it holds one of the two files and not by our hand.
        StorageError: the folder cannot be written.
    """
    if _is_complete(folder):
        return _files(folder)
    with _locked(folder):
        if _is_complete(folder):  # another process was first
            return _files(folder)
        return _make(folder, "1d", DEFAULT_SAMPLES, DEFAULT_SEED)


def _files(folder: Path) -> tuple[Path, Path]:
    return folder / X_NAME, folder / T_NAME


def _is_complete(folder: Path) -> bool:
    return all(file.is_file() for file in _files(folder))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Make the folder and hold its lock; what the disk refuses becomes an error of ours."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / LOCK_NAME):
            yield
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror or error}") from error


def _make(folder: Path, layout: Layout, samples: int, seed: int) -> tuple[Path, Path]:
    _refuse_foreign_files(folder)
    recording = simulate(layout, samples, seed)
    x_file, t_file = _files(folder)
    x_file.unlink(missing_ok=True)
    description = _describe(recording, layout, seed)
    atomic.write_json(folder / DESCRIPTION_NAME, description)
    atomic.write_text(folder / README_NAME, _readme(description))
    _save(t_file, recording.t)
    _save(x_file, recording.x)
    return x_file, t_file


def _refuse_foreign_files(folder: Path) -> None:
    """Raise where a file would be lost that cannot be simulated again."""
    try:
        description = json.loads((folder / DESCRIPTION_NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        description = None
    if isinstance(description, dict) and description.get("made_by") == MADE_BY:
        return
    for name in (X_NAME, T_NAME, DESCRIPTION_NAME, README_NAME):
        if (folder / name).exists():
            raise UsageError(
                f"{folder / name} was not made by `{MADE_BY}` and is not overwritten; "
                "move it away or choose another folder"
            )


def _describe(recording: Recording, layout: Layout, seed: int) -> dict[str, object]:
    signals = {
        "1d": ["sample", "channel", "pulse"],
        "2d": ["sample", "channel", "pulse", "time within the pulse"],
    }
    pulse_step = 1 if layout == "1d" else rig.PULSE_STEP_2D
    return {
        "made_by": MADE_BY,
        "what": "simulated ultrasonic recordings of a three-phase pipe flow (no real measurement)",
        "layout": layout,
        "samples": len(recording.x),
        "seed": seed,
        "x": {
            "file": X_NAME,
            "shape": list(recording.x.shape),
            "dtype": str(recording.x.dtype),
            "axes": signals[layout],
            "content": "gated echo energy" if layout == "1d" else "echo envelope",
            "unit": "V²·µs" if layout == "1d" else "V",
            "pulse_interval_s": pulse_step / rig.PULSE_RATE_HZ,
            "time_interval_us": None if layout == "1d" else rig.US_PER_TIME,
        },
        "channels": {
            "0": "first transducer",
            "1": f"rubbish, clipped at ±{rig.RUBBISH_LIMIT:g}; to be dropped",
            "2": f"second transducer, {rig.TRANSDUCER_SPACING_M * 1000:g} mm downstream",
            "3": f"rubbish, clipped at ±{rig.RUBBISH_LIMIT:g}; to be dropped",
        },
        "t": {
            "file": T_NAME,
            "shape": list(recording.t.shape),
            "dtype": str(recording.t.dtype),
            "target_names": list(recording.target_names),
            "units": ["m/s"] * 3 + ["1"] * 3,
        },
    }


def _readme(description: Mapping[str, object]) -> str:
    """Return the description for people: its YAML under two lines of prose."""
    return (
        f"Demonstration data, made by `{MADE_BY}`: signals in {X_NAME}, targets in {T_NAME}.\n"
        "Velocities are superficial (volume flow over the pipe's area); fractions sum to 1.\n\n"
        f"{atomic.to_yaml(description)}"
    )


def _save(path: Path, values: npt.NDArray[np.float32]) -> None:
    with atomic.replacing(path) as beside, beside.open("wb") as out:
        np.save(out, values, allow_pickle=False)
