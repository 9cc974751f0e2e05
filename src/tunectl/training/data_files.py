"""Two .npy files that nobody vouches for: opened as memory maps, and looked at block by block.

It finds everything that is wrong with the files and with what `dataset` selects of them. It never
unpickles and never holds more than one block. It knows nothing of models or of splits.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunectl.config.signal_run import SignalDataset
from tunectl.errors import Problem

MAGIC = b"\x93NUMPY"
BLOCK_VALUES = 4 * 2**20  # 16 MB of 32-bit floats

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class DataFile:
    """One of the two files.

    Args:
        key: The configuration key that names it.
        shown: Its path as the user wrote it.
        path: Where it is.
    """

    key: str
    shown: str
    path: Path

    def problem(self, message: str) -> Problem:
        """Return a problem of this file."""
        return Problem(message=message, file=self.shown, key=self.key)


@dataclass(frozen=True)
class OpenDataset:
    """The files, mapped into memory, and what is selected of them.

    Args:
        x_file: The signals' file.
        t_file: The targets' file.
        x: Signals (N, C, L) or (N, C, H, W); None where they cannot be used at all.
        t: Targets (N, T), likewise.
        channels: The channels that are kept.
        limit: Number of samples that are used.
        problems: What is wrong, without a look at the values.
        is_table: The file has rows (N, F), which are seen here as signals (N, F, 1).
    """

    x_file: DataFile
    t_file: DataFile
    x: NDArray[Any] | None
    t: NDArray[Any] | None
    channels: tuple[int, ...]
    limit: int
    problems: tuple[Problem, ...]
    is_table: bool = False

    @property
    def recorded(self) -> NDArray[Any] | None:
        """The signals in the shape that the file has."""
        return self.x[..., 0] if self.is_table and self.x is not None else self.x

    @property
    def selected_bytes(self) -> int:
        """Bytes that hold the selected signals in their file."""
        if self.x is None:
            return 0
        per_channel = math.prod(self.x.shape[2:]) * self.x.itemsize
        return self.limit * len(self.channels) * per_channel


def find_files(dataset: SignalDataset, project: Path) -> tuple[DataFile, DataFile]:
    """Return the files of signals and targets; the demonstration data are made if missing.

    Args:
        dataset: What the user selected.
        project: The project folder that paths are relative to.

    Raises:
        StorageError: the demonstration data cannot be written.
    """
    if dataset.source == "npy":
        given = (("dataset.x_path", dataset.x_path), ("dataset.t_path", dataset.t_path))
        x_file, t_file = (
            DataFile(key, str(shown), project / Path(str(shown)).expanduser())
            for key, shown in given
        )
        return x_file, t_file
    from tunectl.demo.dataset import ensure_dataset
    from tunectl.demo.embedded import ensure_embedded

    folder = made_folder(dataset, project)
    made_by_us = dataset.source == "demo"
    paths = ensure_dataset(folder) if made_by_us else ensure_embedded(dataset.source, folder)
    x_file, t_file = (DataFile("dataset.source", _relative(path, project), path) for path in paths)
    return x_file, t_file


def made_folder(dataset: SignalDataset, project: Path) -> Path:
    """Return where the files of a source are made that is not the user's own."""
    return project / "data" / dataset.source


def is_there(dataset: SignalDataset, project: Path) -> bool:
    """Whether a look at the data makes no files."""
    return dataset.source == "npy" or made_folder(dataset, project).is_dir()


def open_dataset(dataset: SignalDataset, project: Path) -> OpenDataset:
    """Open both files and check everything that can be seen without reading values.

    Args:
        dataset: What the user selected.
        project: The project folder.

    Raises:
        StorageError: the demonstration data cannot be written.
    """
    x_file, t_file = find_files(dataset, project)
    problems: list[Problem] = []
    x = map_file(x_file, problems)
    t = map_file(t_file, problems)
    if x is not None and x.ndim not in dataset.shapes:
        wanted = f"signals must be {' or '.join(dataset.shapes.values())}"
        problems.append(x_file.problem(f"{wanted}, but its shape is {x.shape}"))
        x = None
    if t is not None and t.ndim not in (1, 2):
        problems.append(t_file.problem(f"targets must be (N, T), but its shape is {t.shape}"))
        t = None
    if t is not None:
        t = t.reshape(len(t), -1) if t.ndim == 1 else t
    if x is not None and t is not None and len(x) != len(t):
        message = f"has {len(t)} samples, but {x_file.shown} has {len(x)}"
        problems.append(t_file.problem(message))
    is_table = x is not None and x.ndim == 2
    if x is not None and is_table:
        x = x[..., np.newaxis]
    channels = _kept_channels(dataset, x, problems)
    counts = [len(array) for array in (x, t) if array is not None]
    limit = min([*counts, *([dataset.limit_samples] if dataset.limit_samples else [])], default=0)
    return OpenDataset(x_file, t_file, x, t, channels, limit, tuple(problems), is_table)


def map_file(file: DataFile, problems: list[Problem]) -> NDArray[Any] | None:
    """Map an .npy file of numbers into memory; no value is read.

    Args:
        file: The file.
        problems: Where to note why it cannot be mapped.

    Returns:
        The array, None where there is a problem.
    """
    reason = _why_not_a_file(file.path)
    if reason is None:
        try:
            array = np.lib.format.open_memmap(file.path, mode="r")
        except OSError as error:
            reason = f"cannot be read: {error.strerror or error}"
        except Exception as error:  # the header is the file's own text: anything may be wrong
            reason = _why_not_an_array(file.path, error)
        else:
            reason = _why_not_usable(array)
            if reason is None:
                return array
    problems.append(file.problem(reason))
    return None


def read_blocks(opened: OpenDataset) -> Iterator[tuple[int, Floats]]:
    """Read the selected signals block by block.

    Args:
        opened: Files whose signals can be used.

    Yields:
        The first sample's index and the block (n, C, …) of kept channels as 32-bit floats.
    """
    assert opened.x is not None
    x, kept = opened.x, list(opened.channels)
    per_sample = max(1, len(kept) * int(np.prod(x.shape[2:], dtype=np.int64)))
    rows = max(1, BLOCK_VALUES // per_sample)
    for start in range(0, opened.limit, rows):
        # A list of channels makes this a copy of just those, so that others are never read.
        block = as_floats(x[start : min(start + rows, opened.limit), kept])
        _let_go(x)
        yield start, block


def _let_go(x: NDArray[Any]) -> None:
    """Give back the memory of what was read of a mapped file, or it would grow to all of it."""
    mapped = getattr(x, "_mmap", None)
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def as_floats(values: NDArray[Any]) -> Floats:
    """Return 32-bit floats; what is too large for them becomes infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


def find_value_problems(opened: OpenDataset) -> list[Problem]:
    """Look at every selected value, one block at a time.

    Args:
        opened: The files; one that cannot be used is passed over.

    Returns:
        One problem for NaN and one for infinities in each file that has any.
    """
    problems: list[Problem] = []
    if opened.x is not None and opened.channels:
        tally = Tally(opened.channels)
        for start, block in read_blocks(opened):
            tally.count(start, block)
        problems += tally.problems(opened.x_file)
    if opened.t is not None:
        tally = Tally()
        tally.count(0, as_floats(opened.t[: opened.limit]))
        problems += tally.problems(opened.t_file)
    return problems


@dataclass
class Tally:
    """Counts values that are no numbers, and remembers where the first one stood.

    Args:
        columns: What each index on axis 1 is called in the file; empty if it is the same.
    """

    columns: tuple[int, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def count(self, start: int, block: Floats) -> None:
        """Count those of a block that begins with sample `start`."""
        if bool(np.isfinite(block).all()):
            return
        for name, is_bad in (("NaN", np.isnan), ("infinite", np.isinf)):
            bad = is_bad(block)
            found = int(np.count_nonzero(bad))
            if found and name not in self.first:
                place = [int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape)]
                place[0] += start
                place[1] = self.columns[place[1]] if self.columns else place[1]
                self.first[name] = tuple(place)
            self.counts[name] = self.counts.get(name, 0) + found

    def problems(self, file: DataFile) -> list[Problem]:
        """Return what was found, as problems of that file."""
        return [
            file.problem(_count_text(count, name, self.first[name]))
            for name, count in self.counts.items()
            if count
        ]


def _count_text(count: int, name: str, place: tuple[int, ...]) -> str:
    kind = "infinite or too large for a 32-bit float" if name == "infinite" else name
    if count == 1:
        return f"1 value is {kind}, at index {place}"
    return f"{count} values are {kind}, the first at index {place}"


def _why_not_a_file(path: Path) -> str | None:
    try:
        if path.is_dir():
            return "is a folder, not an .npy file"
        if not path.exists():
            return "no such file"
        if not path.is_file():
            return "is not a regular file"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return None


def _why_not_an_array(path: Path, error: Exception) -> str:
    with path.open("rb") as stream:
        start = stream.read(len(MAGIC))
    if not start:
        return "is empty"
    if start != MAGIC:
        return "is not an .npy file, whatever its name says"
    if "Python objects" in str(error):
        return "holds Python objects, which are never loaded; save it as an array of numbers"
    if "EOF" in str(error) or "greater than file size" in str(error):
        return "is truncated: it is shorter than its own header says"
    return f"has a damaged header: {error}"


def _why_not_usable(array: NDArray[Any]) -> str | None:
    if array.dtype.kind not in "iuf":
        names = {"c": "complex numbers", "b": "booleans"}
        what = names.get(array.dtype.kind, f"values of type {array.dtype}")
        return f"holds {what}; integers or floats are needed"
    if array.size == 0:
        return f"is empty: its shape is {array.shape}"
    return None


def _kept_channels(
    dataset: SignalDataset, x: NDArray[Any] | None, problems: list[Problem]
) -> tuple[int, ...]:
    if x is None:
        return ()
    there = x.shape[1]
    dropped = sorted(set(dataset.drop_channels))
    key = "dataset.drop_channels"
    unknown = [channel for channel in dropped if channel >= there]
    if unknown:
        have = "only channel 0" if there == 1 else f"channels 0 to {there - 1}"
        listed = ", ".join(str(channel) for channel in unknown)
        verb = "channel {} does" if len(unknown) == 1 else "channels {} do"
        message = f"{verb.format(listed)} not exist; the signals have {have}"
        problems.append(Problem(key=key, message=message))
    kept = tuple(channel for channel in range(there) if channel not in dropped)
    if not kept:
        message = f"drops all {there} channels, so nothing is left to learn from"
        problems.append(Problem(key=key, message=message))
    return kept


def _relative(path: Path, project: Path) -> str:
    return str(path.relative_to(project)) if path.is_relative_to(project) else str(path)
