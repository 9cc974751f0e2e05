"""What an epoch reached, measured on the validation split, and whether it is good to go on with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from tunectl.training.data import Indices
from tunectl.training.divergence import check_epoch, constant_mse
from tunectl.training.metrics import ranking_metrics
from tunectl.training.tensors import SampleTensors


class Measure(Protocol):
    """How a network's outputs for the validation split are measured."""

    @property
    def error(self) -> str:
        """The metric that falls while the network learns and rises when it overfits."""

    def metrics(self, outputs: NDArray[Any]) -> Mapping[str, float]:
        """Return the ranking metrics of outputs (N, T), one for each sample of the split."""

    def check(self, epoch: int, values: Mapping[str, float]) -> None:
        """Make sure that an epoch's numbers are good to go on with.

        Args:
            epoch: 1-based.
            values: `train_loss` and each ranking metric.

        Raises:
            DivergedError: they are not finite, or have exploded.
            ObjectiveError: the metric does not exist on these data.
        """


class RegressionMeasure:
    """Errors on targets standardised with training statistics.

    Args:
        data: The samples.
        rows: Those of the validation split.
        metric: The ranking metric that says which epoch is best.
        explosion: The training has exploded when `val_mse` is more than so many times that of
            always answering the mean.
    """

    def __init__(
        self, data: SampleTensors, rows: Indices, *, metric: str, explosion: float = math.inf
    ) -> None:
        self._data = data
        self._true_std = data.standard_targets(rows)
        self._constant = constant_mse(self._true_std)
        self._metric, self._explosion = metric, explosion

    @property
    def error(self) -> str:
        """The mean squared error."""
        return "val_mse"

    def metrics(self, outputs: NDArray[Any]) -> Mapping[str, float]:
        """Return the ranking metrics of outputs (N, T)."""
        return ranking_metrics(self._data.to_standard(outputs), self._true_std)

    def check(self, epoch: int, values: Mapping[str, float]) -> None:
        """Make sure that an epoch's numbers are good to go on with; see `Measure.check`."""
        check_epoch(
            epoch,
            values,
            metric=self._metric,
            explosion=self._explosion,
            constant=self._constant,
        )
