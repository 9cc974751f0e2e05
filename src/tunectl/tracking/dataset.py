"""The data set of a study as MLflow knows it: a fingerprint of its two files, and their shapes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunectl.config.signal_run import SignalDataset
from tunectl.training.data_files import find_files, is_there

BLOCK = 2**22
LONGEST_DIGEST = 36  # of MLflow's


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """A data set.

    Args:
        name: Of the file of signals.
        digest: The same for the same bytes in both files.
        source: Where the signals are, JSON.
        schema: Types and shapes, JSON as MLflow has it.
        profile: Number of samples and shapes, JSON.
        changed_s: When one of the files was last written, in seconds since 1970.
    """

    name: str
    digest: str
    source: str
    schema: str
    profile: str
    changed_s: float


def describe_dataset(dataset: object, project: Path) -> DatasetFacts | None:
    """Return what MLflow is told of signals and targets, None where there are none to be read.

    Args:
        dataset: The run's `dataset`.
        project: Absolute path of the project folder.
    """
    if not isinstance(dataset, SignalDataset):
        return None
    if not is_there(dataset, project):
        return None  # it is made for training, not for telling of it
    files = find_files(dataset, project)
    try:
        arrays = [np.load(file.path, mmap_mode="r", allow_pickle=False) for file in files]
        digest = hashlib.sha256()
        for file in files:
            digest.update(_content_digest(file.path))
        changed_s = max(file.path.stat().st_mtime for file in files)
    except (OSError, ValueError):
        return None
    x, t = arrays
    return DatasetFacts(
        name=files[0].path.name,
        digest=digest.hexdigest()[:LONGEST_DIGEST],
        source=json.dumps({"uri": files[0].shown}),
        schema=json.dumps({"mlflow_tensorspec": {"features": _spec(x), "targets": _spec(t)}}),
        profile=json.dumps(
            {
                "n_samples": len(x),
                "features": {"file": files[0].shown, "shape": list(x.shape)},
                "targets": {"file": files[1].shown, "shape": list(t.shape)},
            }
        ),
        changed_s=changed_s,
    )


def _content_digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.digest()


def _spec(array: NDArray[Any]) -> str:
    shape = [-1, *array.shape[1:]]
    spec = {"type": "tensor", "tensor-spec": {"dtype": str(array.dtype), "shape": shape}}
    return json.dumps([spec])
