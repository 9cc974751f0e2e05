"""The signals or rows of a trial as they are now, and whether they are still the same.

A trial directory holds the truth and the predictions of its test split, which tells whether the
files are those that the network was trained on.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.signal_run import RegressionRun
from tunectl.errors import DataError
from tunectl.objectives.data_facts import DataFacts, FileFacts
from tunectl.training.data import Split, split_indices
from tunectl.training.data_files import (
    BLOCK_VALUES,
    DataFile,
    OpenDataset,
    as_floats,
    is_there,
    open_dataset,
)

if TYPE_CHECKING:
    from tunectl.training.packaged import PackagedNet


def signal_data_facts(
    directory: TrialDir, run: RegressionRun, project: Path, network: PackagedNet, tolerance: float
) -> DataFacts | None:
    """Return what is known of a completed trial's signals and targets; see `Traceable`.

    Args:
        directory: The trial's folder.
        run: The trial's configuration.
        project: Absolute path of the project folder.
        network: The trial's network.
        tolerance: How far its predictions may be from the trial's, in standard deviations.
    """
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
    if not _are_the_same(opened, split, y_true, y_pred, network, tolerance):
        return None
    return DataFacts(
        x=_facts(opened.x_file, opened.recorded),
        t=_facts(opened.t_file, opened.t),
        split=split,
        sample_shape=opened.recorded.shape[1:],
    )


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
