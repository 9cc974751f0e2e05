"""Samples as the network sees them: standardised inputs and targets on the device, by index.

It translates between the three units of targets: the network's own, standardised ones, and the
data set's. It knows neither networks nor optimisers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tunectl.training.data import Indices, Samples, Split
from tunectl.training.device import derive_seed

SHARE_OF_FREE_MEMORY = 0.5
SMALL_BYTES = 64 * 2**20
"""Signals of this size may be in memory twice."""
_SHUFFLING = 1


class TrainingData(Protocol):
    """Samples as a training needs them, on the device, by index."""

    @property
    def device(self) -> torch.device:
        """Where the network is."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample as the network sees it."""

    @property
    def n_bytes(self) -> int:
        """Memory of the samples."""

    def index(self, rows: Indices) -> Tensor:
        """Return rows as an index for the methods below."""

    def inputs(self, index: Tensor) -> Tensor:
        """Return inputs (B, …) of the network."""

    def training_inputs(self, index: Tensor) -> Tensor:
        """Return inputs for a training step, where they may differ from epoch to epoch.

        What is random about them is drawn from PyTorch's global generator of the CPU, whose state
        the training restores: one that is taken up again sees the same.
        """

    def targets(self, index: Tensor) -> Tensor:
        """Return what the loss compares the network's outputs with."""


class HeldTensors:
    """What data have in common that are held for a training.

    Args:
        device: Where the network is.
        x: Inputs (N, …), wherever there is room for them.
        targets: What the loss compares outputs with (N, …), on the device.
    """

    def __init__(self, device: torch.device, x: Tensor, targets: Tensor) -> None:
        self._device, self._x, self._targets = device, x, targets

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self._device

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample: (C, L) or (C, H, W)."""
        return tuple(self._x.shape[1:])

    @property
    def n_bytes(self) -> int:
        """Memory of inputs and targets."""
        return int(self._x.nbytes + self._targets.nbytes)

    def index(self, rows: Indices) -> Tensor:
        """Return rows as an index for the methods below, on the inputs' own device."""
        return torch.from_numpy(rows).to(self._x.device)

    def targets(self, index: Tensor) -> Tensor:
        """Return what the loss compares outputs with (B, …), on the device."""
        return self._targets.index_select(0, index.to(self._device))


class SampleTensors(HeldTensors):
    """All samples, at hand for a training.

    Small signals are standardised at once; large ones stay as they are, one copy for all, and are
    standardised batch by batch, which gives the same numbers. On a GPU they are moved there if they
    take no more than half of its free memory, else batch by batch.

    Args:
        samples: The data.
        split: Which of them are for training; scalers look at no others.
        normalize_targets: The network is fitted to standardised targets, else to their own units.
        device: Where the network is.
    """

    def __init__(
        self, samples: Samples, split: Split, *, normalize_targets: bool, device: str
    ) -> None:
        self._device = torch.device(device)
        self.input_scaler, self.target_scaler = samples.scalers(split.train)
        self.normalize_targets = normalize_targets
        self._t = samples.t
        fitted = self.target_scaler.standardise(samples.t) if normalize_targets else samples.t
        x = self._placed(torch.from_numpy(samples.x))
        super().__init__(self._device, x, self._tensor(fitted))
        shape = (1, -1, *(1 for _ in samples.x.shape[2:]))
        self._mean = self._tensor(self.input_scaler.mean).reshape(shape)
        self._scale = self._tensor(self.input_scaler.scale).reshape(shape)
        is_own = self._x.device.type != "cpu"  # moved, and so a copy
        self._is_standard = is_own or self._x.nbytes <= SMALL_BYTES
        if self._is_standard:
            self._x = self._standardise(self._x if is_own else self._x.clone())

    def inputs(self, index: Tensor) -> Tensor:
        """Return standardised signals (B, C, …) on the device."""
        x = self._x.index_select(0, index.to(self._x.device))
        if x.device != self.device:
            pinned = x.pin_memory() if self.device.type == "cuda" else x
            x = pinned.to(self.device, non_blocking=self.device.type == "cuda")
        return x if self._is_standard else self._standardise(x)

    def training_inputs(self, index: Tensor) -> Tensor:
        """Return the same; signals are trained on as they are."""
        return self.inputs(index)

    def own_targets(self, rows: Indices) -> NDArray[np.float32]:
        """Return targets (B, T) in the data set's own units."""
        return self._t[rows]

    def standard_targets(self, rows: Indices) -> NDArray[np.float64]:
        """Return targets (B, T) standardised with training statistics."""
        return self.target_scaler.standardise(self._t[rows])

    def to_standard(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return the network's outputs (B, T) standardised with training statistics."""
        if self.normalize_targets:
            return np.asarray(outputs, dtype=np.float64)
        return self.target_scaler.standardise(outputs)

    def to_own(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return the network's outputs (B, T) in the data set's own units."""
        if self.normalize_targets:
            return self.target_scaler.restore(outputs)
        return np.asarray(outputs, dtype=np.float64)

    def _standardise(self, x: Tensor) -> Tensor:
        return x.sub_(self._mean).div_(self._scale)

    def _tensor(self, values: Any) -> Tensor:
        return torch.tensor(np.asarray(values, dtype=np.float32), device=self.device)

    def _placed(self, x: Tensor) -> Tensor:
        if self.device.type != "cuda":
            return x.to(self.device)
        free_bytes, _ = torch.cuda.mem_get_info(self.device)
        fits = x.nbytes <= SHARE_OF_FREE_MEMORY * free_bytes
        return x.to(self.device) if fits else x


def epoch_batches(rows: Tensor, batch_size: int, *, seed: int, epoch: int) -> list[Tensor]:
    """Shuffle the samples of an epoch and cut them into batches.

    The order depends on seed and epoch alone, so a training that is taken up again needs to know
    nothing of the epochs before. A single sample left over at the end joins the batch before it:
    batch normalisation cannot learn from one alone.

    Args:
        rows: Indices of the training samples.
        batch_size: Samples per batch.
        seed: Of the training.
        epoch: 1-based.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, epoch, _SHUFFLING))
    # Drawn on the CPU, so that the order is the same on every device.
    order = torch.randperm(len(rows), generator=generator).to(rows.device)
    shuffled = rows[order]
    batches = list(torch.split(shuffled, batch_size))
    if len(batches) > 1 and batch_size > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def split_batch(index: Tensor, parts: int, *, batch_size: int) -> Sequence[Tensor]:
    """Cut a batch into parts of nearly equal size.

    A part has at least two samples, for the sake of batch normalisation, so that the smaller batch
    at the end of an epoch may have fewer parts; but where the batches themselves are so small that
    this would leave them whole, a part may be a single sample.

    Args:
        index: The samples of the batch.
        parts: How many parts; 1 leaves it whole.
        batch_size: Samples of a batch that is not the last.
    """
    smallest = 2 if batch_size >= 2 * parts else 1
    count = max(1, min(parts, len(index) // smallest))
    return [index] if count == 1 else torch.tensor_split(index, count)
