"""What is minimised in training. It is never what a study compares; `metrics.py` has that."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class WeightedClassLoss(nn.Module):
    """Mean over the samples of the cross entropy times the weight of the sample's class.

    It is divided by the number of samples and not by the sum of their weights, so that the losses
    of the parts of a batch, joined by their numbers of samples, are the loss of the batch.

    Args:
        weights: One per class, (K,).
        label_smoothing: Share of a target that is given to all classes alike.
    """

    weights: Tensor

    def __init__(self, weights: Tensor, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self._label_smoothing = label_smoothing

    def forward(self, scores: Tensor, classes: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            scores: (B, K).
            classes: (B,), the number of each sample's class.
        """
        each = functional.cross_entropy(
            scores, classes, reduction="none", label_smoothing=self._label_smoothing
        )
        return (each * self.weights[classes]).mean()


class WeightedMSELoss(nn.Module):
    """Mean squared error with one weight per target.

    For predictions ŷ and targets y of shape (B, T) it is

        1 / (B · T) · Σ_i Σ_j  w_j · (ŷ_ij − y_ij)²

    The weights are used as they are: they are not brought to a sum of 1 or T, so that all weights
    times ten make the loss ten times as large.

    Args:
        weights: One per target, none negative.

    Raises:
        ValueError: there is no weight, or one is negative.
    """

    weights: Tensor

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        if not weights or any(not weight >= 0 for weight in weights):
            raise ValueError(f"weights must be numbers of at least 0, not {list(weights)}")
        self.register_buffer("weights", torch.tensor(list(weights), dtype=torch.float32))

    def forward(self, predicted: Tensor, true: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            predicted: (B, T).
            true: (B, T).

        Raises:
            ValueError: the shapes do not fit each other or the weights.
        """
        if predicted.shape != true.shape or predicted.shape[1:] != self.weights.shape:
            raise ValueError(
                f"predictions {tuple(predicted.shape)} and targets {tuple(true.shape)} must both "
                f"be (B, {len(self.weights)}), as there are {len(self.weights)} weights"
            )
        return ((predicted - true).square() * self.weights).mean()
