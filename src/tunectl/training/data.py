"""The data of a training: samples in memory, their split, and the scaling fitted on one part of it.

It reads what `dataset` selects, once per process, and large data once for all processes. It knows
nothing of networks or of PyTorch.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunectl.config.json_schema import FOLDER
from tunectl.config.signal_run import DataSplit, SignalDataset
from tunectl.errors import DataError, Problem
from tunectl.training.data_cache import DataCache, Making, Selection
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
KEPT_SCALERS = 8
"""Splits of a selection whose scaling is remembered."""

LARGE_BYTES = 32 * 2**20
"""Where more than this would have to be read, the selection is kept in a file for all workers."""
CACHE_BYTES = 16 * 10**9
"""What these files may take together."""
LEFT_FREE_BYTES = 2 * 10**9
"""So much of the disk they leave to the study, which a full one would stop."""


@dataclass(frozen=True)
class Samples:
    """The selected data. They are shared between trials: read them, never write into them.

    Args:
        x: Signals (N, C, L) or (N, C, H, W), 32-bit floats.
        t: Targets (N, T) in their own units, 32-bit floats.
    """

    x: Floats
    t: Floats
    _scalers: OrderedDict[bytes, tuple[Scaler, Scaler]] = field(
        default_factory=OrderedDict, repr=False
    )

    def scalers(self, rows: Indices) -> tuple[Scaler, Scaler]:
        """Return the scalers of signals and targets, fitted on some samples.

        Those of the last few splits are remembered; where splits are searched there are many.

        Args:
            rows: Indices of the samples to look at; no other is.
        """
        key = hashlib.sha256(rows.tobytes()).digest()
        found = self._scalers.pop(key, None)
        if found is None:
            found = Scaler.fit(self.x, rows), Scaler.fit(self.t, rows)
        self._scalers[key] = found  # as the last one
        while len(self._scalers) > KEPT_SCALERS:
            self._scalers.popitem(last=False)
        return found


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


_cache: OrderedDict[str, Samples] = OrderedDict()
_cache_lock = threading.Lock()


def load_dataset(dataset: SignalDataset, project: Path) -> Samples:
    """Read what `dataset` selects, or return what is kept of it if the files have not changed.

    Only the kept channels of the used samples are read, block by block, and only the result is
    held: (N, C, …, L // downsample_factor), each value the mean of so many neighbours on the last
    axis; what is left over at its end is dropped. Large data are not held but mapped from a file in
    the project, which all processes share.

    Args:
        dataset: What the user selected.
        project: The project folder.

    Raises:
        DataError: with everything that is wrong with the files.
        StorageError: the demonstration data cannot be written.
    """
    with _cache_lock:
        selection = _selection(dataset, find_files(dataset, project))
        name = selection.fingerprint if selection else None
        if name is not None and name in _cache:
            _cache.move_to_end(name)
            return _cache[name]
        while len(_cache) >= KEPT_SELECTIONS:
            _cache.popitem(last=False)
        samples = _read(dataset, project, selection)
        if name is not None:
            _cache[name] = samples
        return samples


def are_known_sound(dataset: SignalDataset, project: Path) -> bool:
    """Whether all values of a selection have been looked at before, which is remembered of large
    data whose files have not changed."""
    selection = _selection(dataset, find_files(dataset, project))
    return selection is not None and _data_cache(project).has_read(selection)


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


def _data_cache(project: Path) -> DataCache:
    return DataCache(
        project / FOLDER / "cache", most_bytes=CACHE_BYTES, left_free_bytes=LEFT_FREE_BYTES
    )


def _selection(dataset: SignalDataset, files: Sequence[DataFile]) -> Selection | None:
    """Return what the selection depends on; None if a file cannot be looked at."""
    stamps = _stamps(files)
    if stamps is None:
        return None
    origin = {
        "files": [str(file.path.resolve()) for file in files],
        "stamps": stamps,
        "dropped": sorted(set(dataset.drop_channels)),
        "limit": dataset.limit_samples,
    }
    return Selection(origin=origin, factor=dataset.downsample_factor)


def _stamps(files: Sequence[DataFile]) -> list[list[int]] | None:
    """Return what changes when a file does; None if one cannot be looked at."""
    try:
        stats = [file.path.stat() for file in files]
    except OSError:
        return None
    return [[stat.st_mtime_ns, stat.st_size, stat.st_ino] for stat in stats]


def _read(dataset: SignalDataset, project: Path, selection: Selection | None) -> Samples:
    opened = open_dataset(dataset, project)
    problems = [*opened.problems, *downsample_problems(dataset, opened)]
    if problems:
        raise DataError(problems)
    assert opened.x is not None and opened.t is not None
    factor = dataset.downsample_factor
    *axes, length = opened.x.shape[2:]
    x_shape = (opened.limit, len(opened.channels), *axes, length // factor)
    t = np.array(as_floats(opened.t[: opened.limit]))  # a copy: the file may change in the meantime
    making = Making(
        x_shape=x_shape, t=t, blocks=lambda: _checked_blocks(opened, factor, t, selection)
    )
    if selection is not None and opened.selected_bytes > LARGE_BYTES:
        kept = _data_cache(project).fetch(selection, making)
        if kept is not None:
            return Samples(*kept)
    x, start = np.empty(x_shape, dtype=np.float32), 0
    for block in making.blocks():
        x[start : start + len(block)] = block
        start += len(block)
    return Samples(x, t)


def _checked_blocks(
    opened: OpenDataset, factor: int, t: Floats, selection: Selection | None
) -> Iterator[Floats]:
    """Yield the selected signals, downsampled.

    Args:
        opened: The files.
        factor: How far the signals are downsampled.
        t: The selected targets.
        selection: What the files were before they were opened.

    Raises:
        DataError: in the end, when all values have been looked at: some are no numbers, or a file
            is not the one any more that was begun with.
    """
    files = (opened.x_file, opened.t_file)
    x_tally, t_tally = Tally(opened.channels), Tally()
    t_tally.count(0, t)
    for start, block in read_blocks(opened):
        x_tally.count(start, block)
        yield downsample(block, factor)
    problems = [*x_tally.problems(opened.x_file), *t_tally.problems(opened.t_file)]
    if selection is not None and selection.origin["stamps"] != _stamps(files):
        problems = [file.problem("was changed while it was read") for file in files]
    if problems:
        raise DataError(problems)
