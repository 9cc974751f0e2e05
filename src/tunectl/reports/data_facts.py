"""The data of a trial as they are now: shapes, fingerprints, and whether they are still the same.

A trial directory holds the truth and the predictions of its test split, which tells whether the
files are those that the network was trained on.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.image_run import ImageRun
from tunectl.config.schema import TrialConfig
from tunectl.config.signal_run import RegressionRun
from tunectl.errors import DataError
from tunectl.training.data import Split, split_indices
from tunectl.training.data_files import (
    BLOCK_VALUES,
    DataFile,
    OpenDataset,
    as_floats,
    is_there,
    open_dataset,
)
from tunectl.training.image_data import load_images, split_by_class
from tunectl.training.image_files import image_files

if TYPE_CHECKING:
    from tunectl.training.packaged import PackagedNet

# How far the bundle may be from the trial, in standard deviations of a target: another device or
# reduced precision shows, other data show much more.
TOLERANCE = {"fp32": 0.02, "bf16": 0.2}


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """One of the two data files.

    Args:
        shown: Its path as the user wrote it.
        shape: All that is in it.
        dtype: NumPy's name for the type of its values.
        sha256: Of the file's bytes.
    """

    shown: str
    shape: tuple[int, ...]
    dtype: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """The data that a trial was trained on.

    Args:
        x: The signals' file.
        t: The targets' file; None where it is in the same one.
        split: Which samples were for what.
        sample_shape: Of one sample as recorded.
    """

    x: FileFacts
    t: FileFacts | None
    split: Split
    sample_shape: tuple[int, ...]


def look_at_data(
    directory: TrialDir, config: TrialConfig, project: Path, network: PackagedNet
) -> DataFacts | None:
    """Return what is known of a completed trial's data.

    Args:
        directory: The trial's folder.
        config: The trial's configuration.
        project: Absolute path of the project folder.
        network: The trial's network.

    Returns:
        None where the files are gone, or are not those of the training any more.
    """
    run = config.run
    if isinstance(run, ImageRun):
        tolerance = TOLERANCE[config.runtime.precision]
        return look_at_images(directory, run, project, network, tolerance)
    if not isinstance(run, RegressionRun):
        return None
    if not is_there(run.dataset, project):
        return None  # looking must not make them
    opened = open_dataset(run.dataset, project)
    if opened.problems or opened.recorded is None or opened.t is None:
        return None
    split = split_indices(opened.limit, run.data_split)
    try:
        y_true = np.load(directory.truth_file, allow_pickle=False)
        y_pred = np.load(directory.predictions_file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    tolerance = TOLERANCE[config.runtime.precision]
    if not _are_the_same(opened, split, y_true, y_pred, network, tolerance):
        return None
    return DataFacts(
        x=_facts(opened.x_file, opened.recorded),
        t=_facts(opened.t_file, opened.t),
        split=split,
        sample_shape=opened.recorded.shape[1:],
    )


def look_at_images(
    directory: TrialDir, run: ImageRun, project: Path, network: PackagedNet, tolerance: float
) -> DataFacts | None:
    """Return what is known of a completed trial's images; see `look_at_data`.

    Their fingerprint is that of all files together: names within the folder, and bytes.

    Args:
        directory: The trial's folder.
        run: The trial's configuration.
        project: Absolute path of the project folder.
        network: The trial's network.
        tolerance: How far its probabilities may be from the trial's, in their standard deviations.
    """
    if run.dataset.source == "digits" and not (project / "data" / "digits").is_dir():
        return None  # looking must not make them
    try:
        images = load_images(run.dataset, project)
        y_true = np.load(directory.truth_file, allow_pickle=False)
        y_pred = np.load(directory.predictions_file, allow_pickle=False)
        files = image_files(run.dataset, project)
        digest = _digest(files, project / Path(run.dataset.path or "").expanduser())
    except (DataError, OSError, ValueError, EOFError):
        return None
    split = split_by_class(images.labels, run.data_split)
    if not np.array_equal(images.labels[split.test], y_true):
        return None
    if images.shape != network.input_shape:
        return None
    found = network.classify(images.x[split.test])
    if found.shape != y_pred.shape:
        return None
    if not (np.abs(found - y_pred) <= tolerance * y_pred.std(axis=0) + 1e-4).all():
        return None
    count, channels, height, width = images.x.shape
    shapes = {"grey": (height, width), "channels_last": (height, width, channels)}
    sample_shape = shapes.get(images.layout, (channels, height, width))
    shown = str(run.dataset.path or run.dataset.x_path or run.dataset.source)
    kind = f"{len(files)} files" if run.dataset.source == "folder" else str(images.x.dtype)
    facts = FileFacts(shown=shown, shape=(count, *sample_shape), dtype=kind, sha256=digest)
    return DataFacts(x=facts, t=None, split=split, sample_shape=sample_shape)


def _digest(files: Sequence[Path], root: Path) -> str:
    """Return the fingerprint of files: their paths within a folder, and their bytes."""
    digest = hashlib.sha256()
    for file in files:
        name = file.relative_to(root) if file.is_relative_to(root) else Path(file.name)
        content = file.read_bytes()
        digest.update(f"{name.as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _are_the_same(
    opened: OpenDataset,
    split: Split,
    y_true: NDArray[np.float32],
    y_pred: NDArray[np.float32],
    network: PackagedNet,
    tolerance: float,
) -> bool:
    """Whether the test split has the trial's targets, and the network its predictions there."""
    from tunectl.training.prediction import fits, predict_signals

    x = opened.recorded
    assert x is not None and opened.t is not None
    shown = opened.x_file.shown
    if not np.array_equal(as_floats(opened.t[split.test]), y_true):
        return False
    if not fits(network, x.shape[1:]):
        return False
    try:
        # Rows picked from a mapped file are a copy, so only so many at a time.
        size = max(1, BLOCK_VALUES // math.prod(x.shape[1:]))
        parts = [split.test[start : start + size] for start in range(0, len(split.test), size)]
        predicted = (predict_signals(network, x[rows], shown) for rows in parts)
        found = np.concatenate([batch for batches in predicted for batch in batches])
    except DataError:
        return False
    if found.shape != y_pred.shape:
        return False
    spread = np.maximum(y_true.std(axis=0), 1e-6 * np.abs(y_true).max(axis=0))
    return bool((np.abs(found - y_pred) <= tolerance * spread + 1e-4 * np.abs(y_pred)).all())


def _facts(file: DataFile, array: NDArray[np.float32]) -> FileFacts:
    with file.path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileFacts(shown=file.shown, shape=array.shape, dtype=str(array.dtype), sha256=digest)
