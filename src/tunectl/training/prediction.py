"""Predictions of a packaged network for signals in files that may be larger than memory.

It knows neither studies nor where predictions go.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tunectl.errors import DataError, Problem
from tunectl.training.data_files import DataFile, Floats, Tally, map_file
from tunectl.training.new_images import ImageForm, are_images, open_new_images


class SignalNetwork(Protocol):
    """What predictions are made with."""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample as recorded, all channels: (C, L) or (C, H, W)."""

    @property
    def factor(self) -> int:
        """The last axis may be longer by less than this."""

    @property
    def looked_at(self) -> tuple[int, ...]:
        """The recorded channels (axis 1) that it looks at; empty for all."""

    @property
    def target_names(self) -> Sequence[str]:
        """One per target."""

    @property
    def images(self) -> ImageForm | None:
        """How it takes images; None for a network that takes none, or does not know."""

    def predict(self, signals: Floats) -> Floats:
        """Return targets (N, T) in their own units, of signals as recorded."""


class Recorded(Protocol):
    """Signals or images as recorded, read when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all samples."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Return some of them; raises DataError."""


BATCH_VALUES = 2**20
BATCH_SAMPLES = 256


def open_signals(path: Path, shown: str, network: SignalNetwork) -> Recorded:
    """Open signals, mapped into memory, or images, and make sure that a network can read them.

    Args:
        path: An .npy file; for a network that takes images also what `open_new_images` takes.
        shown: Its path as the user wrote it.
        network: The network.

    Returns:
        The signals (N, C, L) or (N, C, H, W), all channels; none of their values has been read.

    Raises:
        DataError: it is no such file, or its shape or type is another.
    """
    problems: list[Problem] = []
    signals: Recorded | None
    if network.images is not None and are_images(path):
        signals = open_new_images(path, shown, network.images)
    else:
        signals = map_file(DataFile("", shown, path), problems)
    if signals is not None and not fits(network, signals.shape[1:]):
        what = "signals" if network.images is None else "images"
        message = f"{what} must be {shape_text(network)}, but their shape is {signals.shape}"
        problems.append(Problem(file=shown, message=message))
    if problems or signals is None:
        raise DataError(problems)
    return signals


def fits(network: SignalNetwork, sample_shape: Sequence[int]) -> bool:
    """Return whether samples of this shape are what a network was trained on."""
    if len(sample_shape) != len(network.sample_shape):
        return False
    *others, length = sample_shape
    *wanted, trained = network.sample_shape
    return others == wanted and trained <= length < trained + network.factor


def shape_text(network: SignalNetwork) -> str:
    """Return the shape of the signals that a network takes, for people: `(N, 4, 128)`."""
    *others, length = network.sample_shape
    last = length + network.factor - 1
    axis = str(length) if last == length else f"{length} to {last}"
    return "(" + ", ".join(["N", *map(str, others), axis]) + ")"


def predict_signals(network: SignalNetwork, signals: Recorded, shown: str) -> Iterator[Floats]:
    """Predict batch by batch; no more than a batch of signals is in memory at a time.

    Args:
        network: In evaluation mode.
        signals: (N, C, L) or (N, C, H, W), of a shape that the network fits.
        shown: What to call them in a message.

    Yields:
        Targets (n, T) of the next samples, in their own units.

    Raises:
        DataError: a value that the network looks at is no number, or its prediction is none.
    """
    kept = network.looked_at
    size = max(1, min(BATCH_SAMPLES, BATCH_VALUES // math.prod(signals.shape[1:])))
    for start in range(0, len(signals), size):
        # A copy of its own: a mapped file can neither be written nor trusted to stay as it is.
        with np.errstate(over="ignore", invalid="ignore"):
            batch = np.array(signals[start : start + size], dtype=np.float32, order="C")
        looked_at = batch[:, list(kept)] if kept else batch
        _refuse_non_finite(looked_at, start, kept, shown)
        targets = network.predict(batch)
        if not np.isfinite(targets).all():
            sample = start + int(np.argmin(np.isfinite(targets).all(axis=1)))
            message = f"the prediction for sample {sample} is not finite: its signals are too large"
            raise DataError([Problem(file=shown, message=message)])
        yield targets


def _refuse_non_finite(batch: Floats, start: int, columns: tuple[int, ...], shown: str) -> None:
    tally = Tally(columns)
    tally.count(start, batch)
    problems = tally.problems(DataFile("", shown, Path(shown)))
    if problems:
        looked_at = f"(looked at: samples 0 to {start + len(batch) - 1})"
        raise DataError(
            [Problem(file=shown, message=f"{one.message} {looked_at}") for one in problems]
        )
