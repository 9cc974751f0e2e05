"""The data of a training: samples in memory, their split, and the scaling fitted on one part of it.

It reads what `dataset` selects, once per process, and knows nothing of networks or of PyTorch.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunectl.config.signal_run import DataSplit, SignalDataset
from tunectl.errors import DataError, Problem
from tunectl.training.data_files import (
    BLOCK_VALUES,
    DataFile,
    Floats,
    OpenDataset,
    Tally,
    as_floats,
    find_files,
    open_dataset,
    read_blocks,
)

Indices = NDArray[np.int64]

KEPT_SELECTIONS = 2
"""Selections of data that stay in memory between trials: two, so that a search which goes back and
forth between two settings reads neither again."""


@dataclass(frozen=True)
class Samples:
    """The selected data. They are shared between trials: read them, never write into them.

    Args:
        x: Signals (N, C, L) or (N, C, H, W), 32-bit floats.
        t: Targets (N, T) in their own units, 32-bit floats.
    """

    x: Floats
    t: Floats


@dataclass(frozen=True)
class Split:
    """Which samples are for what; each set of indices is in ascending order.

    Args:
        train: To fit on.
        valid: To measure the metric on.
        test: To be used once, after training.
    """

    train: Indices
    valid: Indices
    test: Indices


@dataclass(frozen=True)
class Scaler:
    """Brings each column (axis 1) to mean 0 and standard deviation 1.

    Args:
        mean: Mean of each column.
        scale: Standard deviation of each column (of the population), 1 where it is constant.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    @classmethod
    def fit(cls, values: Floats, rows: Indices) -> Scaler:
        """Measure mean and scale over some samples, in double precision, block by block.

        The blocks' moments are merged after Chan, Golub and LeVeque, "Algorithms for computing the
        sample variance" (The American Statistician 37, 1983), so no copy of the data is made.

        Args:
            values: (N, C) or (N, C, …).
            rows: Indices of the samples to look at; no other is.
        """
        axes = (0, *range(2, values.ndim))
        columns = values.shape[1]
        count, mean, squares = 0, np.zeros(columns), np.zeros(columns)
        low, high = np.full(columns, np.inf), np.full(columns, -np.inf)
        per_row = max(1, values[0].size)
        step = max(1, BLOCK_VALUES // per_row)
        for start in range(0, len(rows), step):
            block = values[rows[start : start + step]].astype(np.float64)
            size = block.size // columns
            block_mean = block.mean(axis=axes)
            delta = block_mean - mean
            total = count + size
            squares += block.var(axis=axes) * size + delta**2 * (count * size / total)
            mean += delta * (size / total)
            count = total
            low, high = (
                np.minimum(low, block.min(axis=axes)),
                np.maximum(high, block.max(axis=axes)),
            )
        scale = np.sqrt(squares / count)
        # Rounding gives a constant column a tiny spread, which would blow it up: compare exactly.
        scale = np.where((low == high) | (scale < 1e-30), 1.0, scale)
        return cls(tuple(mean.tolist()), tuple(scale.tolist()))

    def standardise(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return (N, T) values in own units as multiples of the scale around the mean."""
        wide = np.asarray(values, dtype=np.float64)
        return np.asarray((wide - np.array(self.mean)) / np.array(self.scale))

    def restore(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return standardised (N, T) values in their own units."""
        wide = np.asarray(values, dtype=np.float64)
        return np.asarray(wide * np.array(self.scale) + np.array(self.mean))

    def to_json(self) -> dict[str, list[float]]:
        """Return mean and scale as plain values."""
        return {"mean": list(self.mean), "scale": list(self.scale)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Scaler:
        """Return the scaler that `to_json` wrote.

        Raises:
            KeyError: mean or scale is missing.
        """
        mean, scale = document["mean"], document["scale"]
        return cls(tuple(float(value) for value in mean), tuple(float(value) for value in scale))


def split_sizes(n: int, shares: DataSplit) -> tuple[int, int, int]:
    """Return how many of `n` samples are for training, validation and test; they sum to `n`.

    Each gets the whole part of its share; what is left goes to those that lost most by it.
    """
    exact = [n * share for share in (shares.train, shares.valid, shares.test)]
    sizes = [int(size + 1e-9) for size in exact]
    by_loss = sorted(range(3), key=lambda part: sizes[part] - exact[part])
    for part in by_loss[: n - sum(sizes)]:
        sizes[part] += 1
    return sizes[0], sizes[1], sizes[2]


def split_indices(n: int, shares: DataSplit) -> Split:
    """Split `n` samples at random, the same way for the same seed.

    Args:
        n: Number of samples.
        shares: Share of each part, and the seed.
    """
    order = np.random.default_rng(shares.seed).permutation(n).astype(np.int64)
    n_train, n_valid, _ = split_sizes(n, shares)
    train, valid, test = np.split(order, [n_train, n_train + n_valid])
    return Split(np.sort(train), np.sort(valid), np.sort(test))


_Key = tuple[object, ...]
_cache: OrderedDict[_Key, Samples] = OrderedDict()
_cache_lock = threading.Lock()


def load_dataset(dataset: SignalDataset, project: Path) -> Samples:
    """Read what `dataset` selects, or return it from memory if the files have not changed.

    Only the kept channels of the used samples are read, block by block, and only the result is
    held: (N, C, …, L // downsample_factor), each value the mean of so many neighbours on the last
    axis; what is left over at its end is dropped.

    Args:
        dataset: What the user selected.
        project: The project folder.

    Raises:
        DataError: with everything that is wrong with the files.
        StorageError: the demonstration data cannot be written.
    """
    with _cache_lock:
        key = _cache_key(dataset, find_files(dataset, project))
        if key is not None and key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
        while len(_cache) >= KEPT_SELECTIONS:
            _cache.popitem(last=False)
        samples = _read(dataset, project)
        if key is not None:
            _cache[key] = samples
        return samples


def forget_datasets() -> None:
    """Let go of the data that are kept in memory."""
    with _cache_lock:
        _cache.clear()


def downsample(x: Floats, factor: int) -> Floats:
    """Return means of `factor` neighbours along the last axis; a remainder is dropped."""
    if factor == 1:
        return x
    length = x.shape[-1] // factor
    grouped = x[..., : length * factor].reshape(*x.shape[:-1], length, factor)
    return np.asarray(grouped.mean(axis=-1, dtype=np.float32))


def downsample_problems(dataset: SignalDataset, opened: OpenDataset) -> list[Problem]:
    """Return what is wrong with the downsampling, if anything."""
    if opened.x is None or opened.x.shape[-1] >= dataset.downsample_factor:
        return []
    length, factor = opened.x.shape[-1], dataset.downsample_factor
    message = f"{factor} is larger than the last axis, which has {length} values"
    return [Problem(key="dataset.downsample_factor", message=message)]


def _cache_key(dataset: SignalDataset, files: tuple[DataFile, DataFile]) -> _Key | None:
    """Return what the selection depends on; None if a file cannot be looked at."""
    try:
        stats = [file.path.stat() for file in files]
    except OSError:
        return None
    stamps = tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)
    paths = tuple(str(file.path.resolve()) for file in files)
    dropped = tuple(sorted(set(dataset.drop_channels)))
    return (paths, stamps, dropped, dataset.limit_samples, dataset.downsample_factor)


def _read(dataset: SignalDataset, project: Path) -> Samples:
    opened = open_dataset(dataset, project)
    problems = [*opened.problems, *downsample_problems(dataset, opened)]
    if problems:
        raise DataError(problems)
    assert opened.x is not None and opened.t is not None
    factor = dataset.downsample_factor
    *axes, length = opened.x.shape[2:]
    x = np.empty((opened.limit, len(opened.channels), *axes, length // factor), dtype=np.float32)
    x_tally, t_tally = Tally(opened.channels), Tally()
    for start, block in read_blocks(opened):
        x_tally.count(start, block)
        x[start : start + len(block)] = downsample(block, factor)
    t = np.array(as_floats(opened.t[: opened.limit]))  # a copy: the file may change in the meantime
    t_tally.count(0, t)
    problems = [*x_tally.problems(opened.x_file), *t_tally.problems(opened.t_file)]
    if problems:
        raise DataError(problems)
    return Samples(x, t)
