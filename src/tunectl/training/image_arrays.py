"""Images and labels in arrays, as `.npy`, `.npz` and IDX files hold them; nothing is unpickled.

A file's header is compared with its size before anything is read, since nobody vouches for it. The
images themselves are read when they are asked for, of `.npy` and plain IDX only those wanted.
"""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tunectl.errors import DataError, Problem
from tunectl.training.data_files import DataFile, map_file

_T = TypeVar("_T")
Rows = NDArray[np.int64]
Read = Callable[[Rows | None], NDArray[Any]]

NPZ_PAIRS = (("x", "y"), ("x", "t"), ("images", "labels"), ("x_train", "y_train"))
_IDX_TYPES = {
    0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"
}  # fmt: skip
_DEFLATED_MOST = 1100
"""A byte that was compressed with zlib stands for fewer bytes than this."""
_BLOCK_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class OpenArrays:
    """Images that can be read, and their labels.

    Args:
        shape: Of all images.
        dtype: Of their values.
        labels: The class of each.
        read: Returns the images of some rows, or all; raises DataError.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    labels: NDArray[Any]
    read: Read


def open_npy(files: Sequence[DataFile]) -> OpenArrays:
    """Open two `.npy` files.

    Raises:
        DataError: one cannot be read.
    """
    problems: list[Problem] = []
    x = map_file(files[0], problems)
    labels = _read_text(files[1].path)
    if labels is None:
        labels = map_file(files[1], problems)
    if x is None or labels is None:
        raise DataError(problems)
    mapped = x
    return OpenArrays(
        shape=x.shape,
        dtype=x.dtype,
        labels=np.array(labels),
        read=lambda rows: np.array(mapped if rows is None else mapped[rows]),
    )


def _read_text(path: Path) -> NDArray[np.str_] | None:
    """Return the text in an .npy file, None where it holds something else or cannot be read."""
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # what is wrong with it is said by whoever maps it
        return None
    is_text = isinstance(values, np.ndarray) and values.dtype.kind == "U"
    return np.array(values) if is_text else None


# -- archives ------------------------------------------------------------------------------------


def open_npz(files: Sequence[DataFile]) -> OpenArrays:
    """Open an `.npz` archive.

    Raises:
        DataError: it cannot be read, or has no images and labels.
    """
    (file,) = files
    there: list[str] = []
    pair: tuple[str, str] | None = None
    try:
        with zipfile.ZipFile(file.path) as archive:
            there = [name.removesuffix(".npy") for name in archive.namelist()]
            pair = next((pair for pair in NPZ_PAIRS if set(pair) <= set(there)), None)
            if pair is not None:
                shape, dtype = _member_header(archive, pair[0], file.path)
                labels = _member(archive, pair[1], file.path)
    except MemoryError:
        raise
    except Exception as error:  # the archive is the file's own text: anything may be wrong
        raise _unreadable(file, ".npz", error) from error
    if pair is None:
        wanted = " or ".join(" and ".join(pair) for pair in NPZ_PAIRS)
        held = ", ".join(there) or "nothing"
        raise DataError([file.problem(f"needs {wanted}, but holds {held}")])
    name = pair[0]

    def read(rows: Rows | None) -> NDArray[Any]:
        try:
            with zipfile.ZipFile(file.path) as archive:
                x = _member(archive, name, file.path)
        except MemoryError:
            raise
        except Exception as error:
            raise _unreadable(file, ".npz", error) from error
        return x if rows is None else x[rows]

    return OpenArrays(shape=shape, dtype=dtype, labels=labels, read=read)


def read_npz_images(file: DataFile) -> NDArray[Any]:
    """Return the images of an `.npz` archive, whatever labels it has.

    They are called as in a training, or are the only array there is.

    Raises:
        DataError: it cannot be read, or which array is meant cannot be told.
    """
    try:
        with zipfile.ZipFile(file.path) as archive:
            there = [name.removesuffix(".npy") for name in archive.namelist()]
            known = [name for name, _ in NPZ_PAIRS if name in there]
            name = (known or there)[0] if known or len(there) == 1 else None
            if name is not None:
                return _member(archive, name, file.path)
    except MemoryError:
        raise
    except Exception as error:  # the archive is the file's own text: anything may be wrong
        raise _unreadable(file, ".npz", error) from error
    wanted = " or ".join(dict.fromkeys(name for name, _ in NPZ_PAIRS))
    raise DataError([file.problem(f"needs {wanted}, but holds {', '.join(there) or 'nothing'}")])


def _member_header(
    archive: zipfile.ZipFile, name: str, path: Path
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of an array of an archive that can be as long as it says.

    Raises:
        ValueError: it cannot.
    """
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        is_first = version == (1, 0)
        read = np.lib.format.read_array_header_1_0 if is_first else (
            np.lib.format.read_array_header_2_0
        )  # fmt: skip
        shape, _, dtype = read(stream)
    size = math.prod(shape) * dtype.itemsize
    if size > info.file_size or info.file_size > _DEFLATED_MOST * path.stat().st_size:
        raise ValueError(f"{name} is shorter than its header says, {shape}")
    return shape, dtype


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> NDArray[Any]:
    _member_header(archive, name, path)
    with archive.open(f"{name}.npy") as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


# -- the format that MNIST is in -----------------------------------------------------------------


def open_idx(files: Sequence[DataFile]) -> OpenArrays:
    """Open two IDX files, also compressed with gzip.

    Raises:
        DataError: one cannot be read.
    """
    x, labels = (_guarded(file, _idx_header) for file in files)
    return OpenArrays(
        shape=x.shape,
        dtype=x.dtype,
        labels=_guarded(files[1], lambda path: _idx_values(path, labels, None)),
        read=lambda rows: _guarded(files[0], lambda path: _idx_values(path, x, rows)),
    )


def read_idx_images(file: DataFile) -> NDArray[Any]:
    """Return the images of an IDX file, also compressed with gzip.

    Raises:
        DataError: it cannot be read.
    """
    return _guarded(file, lambda path: _idx_values(path, _idx_header(path), None))


@dataclass(frozen=True)
class _IdxHeader:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_zipped: bool

    @property
    def n_bytes(self) -> int:
        """Of the values."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def offset(self) -> int:
        """Where the values begin."""
        return 4 + 4 * len(self.shape)


def _guarded(file: DataFile, work: Callable[[Path], _T]) -> _T:
    """Return what `work` makes of a file; whatever it says of damage names the file."""
    try:
        return work(file.path)
    except MemoryError:
        raise
    except Exception as error:  # gzip, zlib and struct each have errors of their own
        raise _unreadable(file, "IDX", error) from error


def _idx_header(path: Path) -> _IdxHeader:
    with path.open("rb") as plain:
        is_zipped = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        stream: Any = gzip.GzipFile(fileobj=plain) if is_zipped else plain
        zero, kind, axes = struct.unpack(">HBB", stream.read(4))
        if zero or kind not in _IDX_TYPES or not 1 <= axes <= 4:
            raise ValueError("it does not begin as an IDX file does")
        shape = struct.unpack(f">{axes}I", stream.read(4 * axes))
    header = _IdxHeader(shape, np.dtype(_IDX_TYPES[kind]), is_zipped)
    there, wanted = path.stat().st_size, header.offset + header.n_bytes
    if (wanted != there and not is_zipped) or wanted > _DEFLATED_MOST * there:
        raise ValueError(f"its length is not what its header says, {shape}")
    return header


def _idx_values(path: Path, header: _IdxHeader, rows: Rows | None) -> NDArray[Any]:
    values: NDArray[Any]
    if header.is_zipped:
        content = bytearray()
        with gzip.open(path) as stream:
            stream.read(header.offset)
            while len(content) <= header.n_bytes and (block := stream.read(_BLOCK_BYTES)):
                content += block
        if len(content) != header.n_bytes:
            raise ValueError(f"its length is not what its header says, {header.shape}")
        values = np.frombuffer(content, header.dtype).reshape(header.shape)
    elif not header.n_bytes:
        values = np.zeros(header.shape, header.dtype)
    else:
        values = np.memmap(path, header.dtype, "r", offset=header.offset, shape=header.shape)
    return np.array(values if rows is None else values[rows], dtype=header.dtype.newbyteorder("="))


def _unreadable(file: DataFile, kind: str, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    message = f"cannot be read as {kind}: {reason or type(error).__name__}"
    return DataError([file.problem(message)])
