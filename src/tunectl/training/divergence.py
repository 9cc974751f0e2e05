"""Whether a training has diverged: its numbers are not finite, or they have exploded.

It looks at `val_mse`, which is measured on standardised targets whatever the network is fitted to
and however the loss is weighted, and so has a scale: always answering the mean gives about 1. The
training loss has none, so of it only whether it is finite counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tunectl.errors import DivergedError, ObjectiveError

DIVERGED = "the training has diverged; a smaller training.learning_rate may help"


def constant_mse(true_std: NDArray[np.float64]) -> float:
    """Return the `val_mse` of always answering the training split's mean, but at least 1.

    It is less where the validation split happens to lie close to that mean, which is no reason to
    expect more of a network.

    Args:
        true_std: Validation targets (N, T), standardised with training statistics.
    """
    return max(1.0, float(np.mean(np.square(true_std))))


def check_gradients(epoch: int, norm: float) -> None:
    """Make sure that the gradients of an epoch were good to step along.

    Args:
        epoch: 1-based.
        norm: The largest norm of the gradients of its steps, before they were clipped.

    Raises:
        DivergedError: it is no finite number.
    """
    if not math.isfinite(norm):
        raise DivergedError(f"the gradients exploded in epoch {epoch}, norm {norm}: {DIVERGED}")


def check_epoch(
    epoch: int, values: Mapping[str, float], *, metric: str, explosion: float, constant: float
) -> None:
    """Make sure that an epoch's numbers are good to go on with.

    Args:
        epoch: 1-based.
        values: `train_loss` and each ranking metric.
        metric: The one that says which epoch is best.
        explosion: How many times that of a constant guess `val_mse` may be.
        constant: The `val_mse` of a constant guess.

    Raises:
        DivergedError: they are not finite, or `val_mse` has exploded.
        ObjectiveError: the metric does not exist on these data.
    """
    for name in ("val_mse", "train_loss", metric):
        if math.isfinite(values[name]):
            continue
        where = f"{name} is {values[name]} in epoch {epoch}"
        if name == "val_r2":
            raise ObjectiveError(f"{where}: every target is constant in the validation split")
        raise DivergedError(f"{where}: {DIVERGED}")
    if values["val_mse"] > explosion * constant:
        raise DivergedError(
            f"val_mse is {values['val_mse']:.3g} in epoch {epoch}, more than {explosion:g} times "
            f"that of a constant guess: {DIVERGED}"
        )
