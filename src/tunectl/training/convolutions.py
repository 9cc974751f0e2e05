"""How a CPU computes convolutions: PyTorch's own or oneDNN's, and how their numbers lie in memory.

oneDNN's are made for much work at a time; a call costs a tenth of a millisecond before it begins.
PyTorch's own begin at once, but take the samples of a batch one by one. Which is faster was
measured (see docs/performance.md) and is decided here by the sizes alone, never by a clock: the two
round differently, and a trial's numbers must not depend on what else the machine was doing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

# Its attributes have no types.
_onednn: Any = torch.backends.mkldnn

MOST_WIDTH = 400
"""Samples × width of the first layer: beyond, going through all weights for each sample is dear."""
MOST_POSITIONS_1D = 8192
"""Samples × positions."""
MOST_POSITIONS_2D = 8192
"""Samples² × positions."""


@dataclass(frozen=True, kw_only=True)
class Convolutions:
    """How the convolutions of a training are computed.

    Args:
        onednn: By oneDNN, where the device is a CPU.
        channels_last: The channels of a position lie side by side; for images.
    """

    onednn: bool = True
    channels_last: bool = False

    @classmethod
    def choose(
        cls,
        device: str,
        *,
        hidden: int,
        batch_size: int,
        input_shape: Sequence[int],
        precision: str = "fp32",
    ) -> Convolutions:
        """Return what is fastest.

        Args:
            device: The device of the training; only the CPU has a choice.
            hidden: Width of the first layer.
            batch_size: Samples that are computed at a time.
            input_shape: Of one sample: (C, L) or (C, H, W).
            precision: bf16 always takes oneDNN, which is made for it.
        """
        if device != "cpu":
            return cls()
        positions, is_image = math.prod(input_shape[1:]), len(input_shape) == 3
        if is_image:
            few = batch_size**2 * positions <= MOST_POSITIONS_2D
        else:
            few = batch_size * positions <= MOST_POSITIONS_1D
        if precision == "fp32" and few and hidden * batch_size <= MOST_WIDTH:
            return cls(onednn=False)
        return cls(channels_last=is_image)

    def arrange(self, model: nn.Module) -> None:
        """Bring the weights of a network, in place, into the order that suits."""
        if self.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Compute convolutions in this way while the block lasts."""
        before = _onednn.enabled
        try:
            _onednn.enabled = self.onednn
            yield
        finally:
            _onednn.enabled = before
