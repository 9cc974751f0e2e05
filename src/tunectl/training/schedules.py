"""How the learning rate changes while a network is trained; PyTorch's schedulers do the work.

Everything but `plateau` counts batches, so that warm-up and decay are smooth; `plateau` looks at
the validation error once an epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from tunectl.config.network_run import NetworkTraining

ONE_CYCLE_WARMUP = 0.3
"""Share of the steps in which `one_cycle` rises where no warm-up is asked for."""


class Schedule:
    """The learning rate of one training.

    Args:
        optimizer: Whose learning rate it sets, from the first step on.
        training: Which schedule, over how many epochs.
        steps_per_epoch: Batches of an epoch.
    """

    def __init__(
        self, optimizer: Optimizer, training: NetworkTraining, steps_per_epoch: int
    ) -> None:
        self._by_batch = _by_batch(optimizer, training, steps_per_epoch)
        self._plateau = (
            ReduceLROnPlateau(
                optimizer, factor=training.scheduler_factor, patience=training.scheduler_epochs
            )
            if training.scheduler == "plateau"
            else None
        )
        self._warmup_epochs = training.warmup_epochs
        self._optimizer = optimizer
        self._last_rate: float | None = None

    @property
    def last_rate(self) -> float:
        """The learning rate of the last step."""
        return _rate(self._optimizer) if self._last_rate is None else self._last_rate

    def after_batch(self) -> None:
        """Set the learning rate of the next step."""
        self._last_rate = _rate(self._optimizer)
        if self._by_batch is not None:
            self._by_batch.step()

    def after_epoch(self, epoch: int, error: float) -> None:
        """Set the learning rate of the next epoch.

        Args:
            epoch: 1-based number of the one that has ended.
            error: On the validation split; smaller is better.
        """
        if self._plateau is not None and epoch > self._warmup_epochs:
            self._plateau.step(error)

    def state_dict(self) -> dict[str, Any]:
        """Return where it stands, as plain values."""
        parts = {"by_batch": self._by_batch, "plateau": self._plateau}
        states = {name: part.state_dict() for name, part in parts.items() if part is not None}
        return {**states, "last_rate": self._last_rate}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where another one of the same training stood."""
        if self._by_batch is not None:
            self._by_batch.load_state_dict(state["by_batch"])
        if self._plateau is not None:
            self._plateau.load_state_dict(state["plateau"])
        self._last_rate = state.get("last_rate")


def make_schedule(
    optimizer: Optimizer, training: NetworkTraining, steps_per_epoch: int
) -> Schedule | None:
    """Return the schedule of a training, None where the learning rate stays as it is."""
    if training.scheduler == "none" and not training.warmup_epochs:
        return None
    return Schedule(optimizer, training, steps_per_epoch)


def _rate(optimizer: Optimizer) -> float:
    return float(optimizer.param_groups[0]["lr"])


def _by_batch(
    optimizer: Optimizer, training: NetworkTraining, steps_per_epoch: int
) -> LRScheduler | None:
    total = training.epochs * steps_per_epoch
    warmup = min(training.warmup_epochs * steps_per_epoch, total - 1)
    if training.scheduler == "one_cycle":
        return OneCycleLR(
            optimizer,
            max_lr=training.learning_rate,
            # One more than there are steps: the last call sets a rate that no step uses.
            total_steps=total + 1,
            cycle_momentum=False,  # it is named after the learning rate and changes nothing else
            pct_start=max(warmup / total, 1 / total) if warmup else ONE_CYCLE_WARMUP,
        )
    main: LRScheduler | None = None
    rise = LinearLR(optimizer, 1 / (warmup + 1), total_iters=warmup) if warmup else None
    if training.scheduler == "cosine":
        main = CosineAnnealingLR(optimizer, T_max=max(1, total - warmup))
    elif training.scheduler == "step":
        size = training.scheduler_epochs * steps_per_epoch
        main = StepLR(optimizer, step_size=size, gamma=training.scheduler_factor)
    if rise is None or main is None:
        return rise or main
    return SequentialLR(optimizer, [rise, main], milestones=[warmup])
