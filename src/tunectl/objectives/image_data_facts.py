"""The images of a trial as they are now, and whether they are still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.image_run import ImageRun
from tunectl.errors import DataError
from tunectl.objectives.data_facts import DataFacts, FileFacts
from tunectl.training.image_data import load_images, split_by_class
from tunectl.training.image_files import image_files

if TYPE_CHECKING:
    from tunectl.training.packaged import PackagedNet


def image_data_facts(
    directory: TrialDir, run: ImageRun, project: Path, network: PackagedNet, tolerance: float
) -> DataFacts | None:
    """Return what is known of a completed trial's images; see `Traceable`.

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
