"""How well classes are told apart: the numbers that trials are compared by, and those for people.

It knows NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunectl.config.search_schema import Direction
from tunectl.errors import DivergedError
from tunectl.training.data import Indices
from tunectl.training.divergence import DIVERGED

DIRECTIONS: Mapping[str, Direction] = {
    "val_acc": "maximize",
    "val_loss": "minimize",
    "val_f1": "maximize",
    "val_precision": "maximize",
    "val_recall": "maximize",
}
"""What a study may optimise, and which way."""


def probabilities(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return the probability of each class (N, K) of a network's scores (N, K)."""
    wide = np.asarray(scores, np.float64)
    grown = np.exp(wide - wide.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))


def confusion(labels: Indices, predicted: Indices, classes: int) -> NDArray[np.int64]:
    """Return how often each class (row) was taken for each (column), (K, K)."""
    counts = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def class_rows(matrix: NDArray[np.int64], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return precision, recall, F1 and number of images of each class.

    What would be divided by nothing (a class that is never answered) counts as 0.
    """
    hits, answered, there = matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1)
    return {
        name: {
            "precision": _share(hits[k], answered[k]),
            "recall": _share(hits[k], there[k]),
            "f1": _share(2 * hits[k], answered[k] + there[k]),
            "support": int(there[k]),
        }
        for k, name in enumerate(names)
    }


def class_metrics(
    scores: NDArray[Any], labels: Indices, names: Sequence[str], prefix: str
) -> dict[str, float]:
    """Measure scores (N, K) of images.

    Args:
        scores: The network's.
        labels: (N,), the truth.
        names: One per class.
        prefix: `val` or `test`.

    Returns:
        Accuracy; mean cross entropy (`loss`), without weights or smoothing; precision, recall and
        F1, means over the classes that are among the images.
    """
    wide = np.asarray(scores, np.float64)
    top = wide.max(axis=1)
    log_sum = top + np.log(np.exp(wide - top[:, None]).sum(axis=1))
    loss = float(np.mean(log_sum - wide[np.arange(len(labels)), labels]))
    matrix = confusion(labels, wide.argmax(axis=1), len(names))
    rows = [row for row in class_rows(matrix, names).values() if row["support"]]
    means = {
        key: float(np.mean([row[key] for row in rows])) for key in ("precision", "recall", "f1")
    }
    accuracy = float(matrix.trace() / matrix.sum())
    values = {"acc": accuracy, "loss": loss, **means}
    return {f"{prefix}_{name}": value for name, value in values.items()}


class ClassMeasure:
    """How well the validation split is told apart.

    Args:
        labels: Of the validation split.
        names: One per class.
        explosion: The training has exploded when `val_loss` is more than so many times that of
            answering all classes alike.
    """

    def __init__(self, labels: Indices, names: Sequence[str], explosion: float = math.inf) -> None:
        self._labels, self._names, self._explosion = labels, names, explosion

    @property
    def error(self) -> str:
        """The cross entropy."""
        return "val_loss"

    def metrics(self, outputs: NDArray[Any]) -> Mapping[str, float]:
        """Return the ranking metrics of scores (N, K)."""
        return class_metrics(outputs, self._labels, self._names, "val")

    def check(self, epoch: int, values: Mapping[str, float]) -> None:
        """Make sure that an epoch's numbers are good to go on with; see `Measure.check`."""
        for name in ("train_loss", "val_loss"):
            if not math.isfinite(values[name]):
                raise DivergedError(f"{name} is {values[name]} in epoch {epoch}: {DIVERGED}")
        constant = math.log(len(self._names))
        if values["val_loss"] > self._explosion * constant:
            raise DivergedError(
                f"val_loss is {values['val_loss']:.3g} in epoch {epoch}, more than "
                f"{self._explosion:g} times that of a constant guess: {DIVERGED}"
            )


def _share(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else 0.0
