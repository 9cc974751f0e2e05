"""What a training is told, what changes while it runs, and what it comes to.

All that changes is in `TrainingState`, and so all that a checkpoint has to keep.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn
from torch.optim import Optimizer

from tunectl.training.device import RandomStates
from tunectl.training.schedules import Schedule
from tunectl.training.stopping import Ending, StopRules
from tunectl.training.tensors import split_batch

Precision = Literal["fp32", "bf16"]
StateDict = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class FitPlan:
    """How a training goes.

    Args:
        epochs: Passes over the training split.
        batch_size: Samples per step.
        seed: Of shuffling and dropout.
        metric: The ranking metric that says which epoch is best.
        direction: The direction in which it is better.
        precision: fp32, or bf16 for mixed precision.
        batch_parts: Parts that each batch is computed in, one after another; with more than one,
            evaluation takes no more samples at a time than there are in a part.
        explosion: The training has exploded when `val_mse` is more than so many times that of
            always answering the mean.
        clip_norm: Gradients of a step that have a larger norm are scaled down to it.
        stop: When the training ends before its last epoch.
    """

    epochs: int
    batch_size: int
    seed: int
    metric: str
    direction: Literal["minimize", "maximize"]
    precision: Precision = "fp32"
    batch_parts: int = 1
    explosion: float = math.inf
    clip_norm: float | None = None
    stop: StopRules = field(default_factory=StopRules)

    @property
    def part_size(self) -> int:
        """Samples that are computed at a time."""
        return math.ceil(self.batch_size / self.batch_parts)

    def split(self, index: Tensor) -> Sequence[Tensor]:
        """Return the parts of a batch."""
        return split_batch(index, self.batch_parts, batch_size=self.batch_size)


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """What one epoch reached.

    Args:
        epoch: 1-based.
        train_loss: Mean loss of its training samples, each as seen just before its step.
        metrics: Ranking metrics on the validation split.
    """

    epoch: int
    train_loss: float
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class BestEpoch:
    """The best epoch so far.

    Args:
        epoch: 1-based; the earliest of several that are as good.
        value: The metric.
        metrics: All its ranking metrics.
        weights: Its `state_dict`, copied to the CPU.
    """

    epoch: int
    value: float
    metrics: Mapping[str, float]
    weights: StateDict


@dataclass(kw_only=True)
class EpochPosition:
    """How far the epoch under way has come.

    Args:
        batch: Batches done.
        losses: Their losses, on the device.
        sizes: Their numbers of samples.
        norms: Norms of their gradients, on the device; empty where these are not clipped.
        random: Random states to go on with; None where the epoch goes on in this process.
    """

    batch: int = 0
    losses: list[Tensor] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    norms: list[Tensor] = field(default_factory=list)
    random: RandomStates | None = None


@dataclass(kw_only=True)
class TrainingState:
    """All that changes in a training, and so all that has to be saved to take it up again.

    Args:
        model: The network, on its device.
        optimizer: Of its parameters.
        schedule: Of the learning rate; None where it stays as it is.
        epoch: Epochs done.
        histories: `train_loss`, the `learning_rate` of the last step, each ranking metric and,
            where gradients are clipped, the largest `gradient_norm` before that: one value per
            epoch.
        best: The best epoch so far.
        position: Where the next epoch has come to.
        trained_s: Seconds that the training has taken.
    """

    model: nn.Module
    optimizer: Optimizer
    schedule: Schedule | None = None
    epoch: int = 0
    histories: dict[str, list[float]] = field(default_factory=dict)
    best: BestEpoch | None = None
    position: EpochPosition = field(default_factory=EpochPosition)
    trained_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What a training reached.

    Args:
        best: The best epoch and its weights.
        epochs: Epochs trained.
        histories: As in `TrainingState`.
        ended_by: Why it ended before its last epoch; None where it did not.
        overfits_from: The first epoch at which it was seen to overfit, if any.
    """

    best: BestEpoch
    epochs: int
    histories: Mapping[str, list[float]]
    ended_by: Ending | None = None
    overfits_from: int | None = None
