"""Whether a training has come to its end before its last epoch: it gains no more, or it overfits.

All of it is read off the histories, so that a training which is taken up again decides the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

WINDOW = 10
"""Epochs that are averaged to see where a curve goes."""
LEAST_CHANGE = 0.01
"""Share by which two averages must differ."""

Ending = Literal["early_stopping", "overfitting"]


@dataclass(frozen=True, kw_only=True)
class StopRules:
    """When a training ends early.

    Args:
        patience: After so many epochs without a gain in the study's metric; 0 means never.
        min_delta: How much better than the best so far counts as a gain.
        on_overfitting: As soon as it overfits.
    """

    patience: int = 0
    min_delta: float = 0.0
    on_overfitting: bool = False


def ending_of(
    rules: StopRules,
    histories: Mapping[str, Sequence[float]],
    *,
    metric: str,
    direction: str,
    error: str,
) -> Ending | None:
    """Return why a training ends with the epochs that it has behind it, None where it goes on.

    Args:
        rules: When it ends.
        histories: `train_loss` and each ranking metric, one value per epoch.
        metric: The one by which the best epoch is chosen.
        direction: The direction in which it is better.
        error: The one that falls while the network learns.
    """
    values = histories.get(metric, ())
    if rules.patience:
        behind = epochs_without_gain(values, direction=direction, min_delta=rules.min_delta)
        if behind >= rules.patience:
            return "early_stopping"
    if rules.on_overfitting and overfits_from(histories, error) is not None:
        return "overfitting"
    return None


def epochs_without_gain(values: Sequence[float], *, direction: str, min_delta: float) -> int:
    """Return how many epochs ago a metric last got better by more than `min_delta`."""
    sign = -1.0 if direction == "maximize" else 1.0
    best, at = float("inf"), -1
    for index, value in enumerate(values):
        if sign * value < best - min_delta:
            best, at = sign * value, index
    return len(values) - 1 - at if len(values) else 0


def overfits_from(histories: Mapping[str, Sequence[float]], error: str) -> int | None:
    """Return the first epoch at which a training was seen to overfit, None where it was not.

    It overfits when the mean training loss of the last ten epochs is lower than that of the ten
    before, while the mean validation error is higher, each by more than one per cent.

    Args:
        histories: `train_loss` and each ranking metric, one value per epoch.
        error: The metric that falls while the network learns.
    """
    losses, errors = (np.asarray(histories.get(name, ()), float) for name in ("train_loss", error))
    if len(errors) < 2 * WINDOW or len(losses) != len(errors):
        return None
    kernel = np.full(WINDOW, 1 / WINDOW)
    loss, rise = (np.convolve(values, kernel, mode="valid") for values in (losses, errors))
    falls = loss[WINDOW:] < (1 - LEAST_CHANGE) * loss[:-WINDOW]
    rises = rise[WINDOW:] > (1 + LEAST_CHANGE) * rise[:-WINDOW]
    both = falls & rises
    return 2 * WINDOW + int(np.argmax(both)) if both.any() else None
