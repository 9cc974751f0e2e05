"""What a trial left in its directory that figures are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.studies.attributes import BEST_EPOCH
from tunectl.studies.directories import directory_of

Values = NDArray[np.floating]
Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """A trial as its figures show it.

    Args:
        number: Its number.
        metric: The metric shown.
        curves: `train_loss` and the metric, one value per epoch; empty where nothing is known.
        best_epoch: 1-based; None where there is none.
        y_pred: (N, T) predictions of the test split in the targets' own units, None without them.
        y_true: (N, T) the truth, likewise.
        target_names: One for each of the T targets.
        confusion: (K, K) how often each class (row) of the test split was taken for each, None
            for a trial that has not told classes apart.
        classes: One name for each of the K classes.
        has_directory: Whether its directory can be read from here.
    """

    number: int
    metric: str
    curves: Mapping[str, Sequence[float]]
    best_epoch: int | None
    y_pred: Values | None
    y_true: Values | None
    target_names: Sequence[str]
    confusion: Counts | None = None
    classes: Sequence[str] = ()
    has_directory: bool = True


def read_record(
    trial: FrozenTrial, project: Path, metric: str, target_names: Sequence[str]
) -> TrialRecord:
    """Read what a trial left; what is missing or damaged is left out.

    Args:
        trial: The trial as it is stored.
        project: Absolute path of the project folder.
        metric: The metric shown.
        target_names: Names of the targets, where they are known.
    """
    directory = directory_of(trial, project)
    document = directory.read_metrics() if directory is not None else {}
    curves = _curves(document, trial, metric)
    confusion, classes = _confusion(document)
    y_pred, y_true = _predictions(directory)
    count = 0 if y_pred is None else y_pred.shape[1]
    is_named = len(target_names) == count
    best_epoch = trial.user_attrs.get(BEST_EPOCH)
    return TrialRecord(
        number=trial.number,
        metric=metric,
        curves=curves,
        best_epoch=best_epoch if isinstance(best_epoch, int) else None,
        y_pred=y_pred,
        y_true=y_true,
        target_names=tuple(target_names) if is_named else [f"target_{i}" for i in range(count)],
        confusion=confusion,
        classes=classes,
        has_directory=directory is not None,
    )


def _curves(
    document: Mapping[str, Any], trial: FrozenTrial, metric: str
) -> dict[str, Sequence[float]]:
    """Return the histories of `metrics.json`; of a trial without it what it reported."""
    histories = _histories(document)
    curves: dict[str, Sequence[float]] = {
        key: histories[key] for key in ("train_loss", metric) if key in histories
    }
    if metric not in curves and trial.intermediate_values:
        curves[metric] = [trial.intermediate_values[s] for s in sorted(trial.intermediate_values)]
    return curves


def _histories(document: Mapping[str, Any]) -> dict[str, list[float]]:
    try:
        return {
            str(name): [float("nan") if value is None else float(value) for value in values]
            for name, values in document["histories"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def _confusion(document: Mapping[str, Any]) -> tuple[Counts | None, Sequence[str]]:
    """Return the confusion matrix and the names of its classes."""
    try:
        matrix = np.asarray(document["confusion"], dtype=np.int64)
        names = tuple(map(str, document["per_class"]))
    except (ValueError, TypeError, KeyError, OverflowError):
        return None, ()
    if not names or matrix.shape != (len(names), len(names)) or (matrix < 0).any():
        return None, ()
    return matrix, names


def _predictions(directory: TrialDir | None) -> tuple[Values | None, Values | None]:
    if directory is None:
        return None, None
    try:
        y_pred = np.load(directory.predictions_file, allow_pickle=False)
        y_true = np.load(directory.truth_file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None, None
    is_whole = y_pred.ndim == 2 and y_pred.shape == y_true.shape and y_pred.size > 0
    if not is_whole or not (np.isfinite(y_pred).all() and np.isfinite(y_true).all()):
        return None, None
    return y_pred, y_true
