"""Selections of large data, each in one file that all workers of a machine map into memory.

A selection is made once, by the first worker that needs it, and shared by all others and by all
later trials: none of them reads the user's files again, and the machine holds one copy. Everything
here can be deleted at any time. Where no file can be kept, `fetch` says why in the log, once, and
the caller keeps the selection in its own memory.

A file is a header, the signals and the targets, 32-bit floats in C order. It is written beside its
place and renamed, so it is there whole or not at all. Whoever maps it holds a shared lock on it, so
that nobody takes it away to make room.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import json
import logging
import math
import os
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from tunectl.artifacts import atomic

log = logging.getLogger(__name__)

FORMAT = 2
HEADER_BYTES = 4096
SUFFIX = ".data"
LOCK_NAME = ".lock"

PATIENCE_S = 600.0
"""How long to wait for another process that makes a selection; it may have been paused."""
WORD_S = 10.0
"""After so long the log says what is waited for."""

_EDGE_BYTES = 2**16
_BLOCK_BYTES = 2**22
_FLOAT = np.dtype(np.float32)
# Programs for backups and for version control pass a folder over that has these.
_SIGNS = {
    "CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# Selections of data, made by tunectl. They can be deleted at any time.\n",
    ".gitignore": "*\n",
}

Floats = NDArray[np.float32]
Arrays = tuple[Floats, Floats]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What the content of a kept file depends on.

    Args:
        origin: The values that are read, as plain values: files, their state, what of them.
        factor: How far they are downsampled.
    """

    origin: Mapping[str, object]
    factor: int

    @property
    def fingerprint(self) -> str:
        """What tells it from all others, and this format from others."""
        return _digest({"origin": self.origin_fingerprint, "factor": self.factor})

    @property
    def origin_fingerprint(self) -> str:
        """The same of what is read, however it is downsampled."""
        return _digest({"format": FORMAT, "order": sys.byteorder, **self.origin})


@dataclass(frozen=True, kw_only=True)
class Making:
    """How a selection is made.

    Args:
        x_shape: Shape of its signals.
        t: Its targets.
        blocks: Reads its signals from the first sample to the last, some at a time; what it raises
            ends the making, and nothing is kept.
    """

    x_shape: tuple[int, ...]
    t: Floats
    blocks: Callable[[], Iterator[Floats]]

    @property
    def n_bytes(self) -> int:
        """Bytes of its file."""
        return HEADER_BYTES + math.prod(self.x_shape) * _FLOAT.itemsize + self.t.nbytes


class DataCache:
    """A folder of selections.

    Args:
        folder: Where it is; made when there is something to keep.
        most_bytes: With more than this, files go that were not used for longest. One that is
            larger by itself is kept all the same: it is the one that needs it most.
        left_free_bytes: What must be left free on the disk.
    """

    def __init__(self, folder: Path, *, most_bytes: int, left_free_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._left_free_bytes = left_free_bytes

    def has_read(self, selection: Selection) -> bool:
        """Whether the values of a selection have been read and found sound, whatever the factor."""
        wanted = selection.origin_fingerprint
        return any(_header(file).get("origin") == wanted for file in self._files())

    def find(self, selection: Selection) -> Arrays | None:
        """Return a selection that has been made, None where there is none.

        Returns:
            Signals and targets. Signals are mapped, not read: writing into them changes neither the
            file nor what others see.
        """
        path = self._path(selection)
        try:
            with path.open("rb") as file:
                # The mapping keeps the file open, and so the lock, until it is let go.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                arrays = _map(file, selection)
        except OSError:
            return None
        if arrays is not None:
            with suppress(OSError):
                os.utime(path)
        return arrays

    def fetch(self, selection: Selection, making: Making) -> Arrays | None:
        """Return a selection, made now if it has not been; None where it cannot be kept in a file.

        Of several processes that ask at once one makes it and the others wait.

        Args:
            selection: Which one.
            making: How it is made.
        """
        found = self.find(selection)
        if found is not None:
            return found
        try:
            self._prepare_folder()
            with _held(FileLock(self._folder / LOCK_NAME)):
                found = self.find(selection)  # another process was first
                return found or self._make(selection, making)
        except Timeout:
            _say_why_not(f"another process does not let go of {self._folder / LOCK_NAME}")
        except (OSError, NotImplementedError) as error:  # the latter where files have no locks
            reason = error.strerror if isinstance(error, OSError) else None
            _say_why_not(f"{self._folder}: {reason or error}")
        return None

    def _make(self, selection: Selection, making: Making) -> Arrays | None:
        for left in atomic.leftovers(self._folder):  # nobody else writes here now
            left.unlink(missing_ok=True)
        self._make_room(making.n_bytes)
        with atomic.replacing(self._path(selection)) as beside, beside.open("r+b") as out:
            _write(out, making, selection)
        log.info("kept %.3g GB of data for all workers in %s", making.n_bytes / 1e9, self._folder)
        return self.find(selection)

    def _make_room(self, n_bytes: int) -> None:
        """Let files go, first that which was not used for longest, but none that is in use.

        Raises:
            OSError: there is no room.
        """
        kept = sorted(
            ((file.stat().st_mtime, file.stat().st_size, file) for file in self._files()),
            key=lambda one: one[0],
        )
        used = sum(size for _, size, _ in kept)
        for _, size, file in kept:
            if used + n_bytes <= self._most_bytes and self._has_free(n_bytes):
                return
            used -= size if _remove_unused(file) else 0
        if not self._has_free(n_bytes):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _has_free(self, n_bytes: int) -> bool:
        return shutil.disk_usage(self._folder).free >= n_bytes + self._left_free_bytes

    def _files(self) -> Iterator[Path]:
        return (path for path in self._folder.glob(f"*{SUFFIX}") if path.is_file())

    def _path(self, selection: Selection) -> Path:
        return self._folder / f"{selection.fingerprint[:24]}{SUFFIX}"

    def _prepare_folder(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for name, text in _SIGNS.items():
            if not (self._folder / name).exists():
                (self._folder / name).write_text(text, encoding="utf-8")


def _digest(document: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _write(out: BinaryIO, making: Making, selection: Selection) -> None:
    """Write a selection to an empty file."""
    out.seek(HEADER_BYTES)
    checksum = 0
    for block in itertools.chain(making.blocks(), [making.t]):
        content = np.ascontiguousarray(block, dtype=_FLOAT).data.cast("B")
        checksum = zlib.crc32(content, checksum)
        out.write(content)
    out.flush()
    header = {
        "fingerprint": selection.fingerprint,
        "origin": selection.origin_fingerprint,
        "x": list(making.x_shape),
        "t": list(making.t.shape),
        "edges": _edges(out, making.n_bytes),
        "all": checksum,
    }
    out.seek(0)
    out.write(json.dumps(header).encode().ljust(HEADER_BYTES))
    _sound.add(_identity(out, checksum))  # renaming changes nothing of it


def _header(path: Path) -> Mapping[str, Any]:
    """Return what a file says of itself, nothing where it cannot be read."""
    try:
        with path.open("rb") as file:
            return _parse_header(file.read(HEADER_BYTES))
    except OSError:
        return {}


def _parse_header(content: bytes) -> Mapping[str, Any]:
    try:
        header = json.loads(content)
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}


def _map(file: BinaryIO, selection: Selection) -> Arrays | None:
    """Return what a file holds, None if it is not what it should be."""
    header = _parse_header(file.read(HEADER_BYTES))
    if header.get("fingerprint") != selection.fingerprint:
        return None
    x_shape, t_shape = tuple(header["x"]), tuple(header["t"])
    x_bytes, t_bytes = (math.prod(shape) * _FLOAT.itemsize for shape in (x_shape, t_shape))
    size = HEADER_BYTES + x_bytes + t_bytes
    if os.fstat(file.fileno()).st_size != size or header["edges"] != _edges(file, size):
        return None
    identity = _identity(file, header["all"])
    if identity not in _sound:  # once in a process, 0.5 s for a GB
        if header["all"] != _checksum(file):
            return None
        _sound.add(identity)
    # Private pages, so that PyTorch takes them for its own; none is ever written to.
    x = np.memmap(file, _FLOAT, mode="c", offset=HEADER_BYTES, shape=x_shape)
    file.seek(size - t_bytes)
    t = np.frombuffer(bytearray(file.read(t_bytes)), dtype=_FLOAT).reshape(t_shape)
    return np.asarray(x), t


@contextmanager
def _held(lock: FileLock) -> Iterator[None]:
    """Hold a lock that another process may have for long, and say what is waited for.

    Raises:
        Timeout: after `PATIENCE_S`.
    """
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            lock.acquire(timeout=min(WORD_S, max(0.0, until - time.monotonic())))
            break
        except Timeout:
            if time.monotonic() >= until:
                raise
            log.info("waits for another process, which makes a file of the data for all workers")
    try:
        yield
    finally:
        lock.release()


_sound: set[tuple[int, int, int]] = set()
"""Files that this process has made or read from the first byte to the last."""


def _identity(file: BinaryIO, checksum: int) -> tuple[int, int, int]:
    stat = os.fstat(file.fileno())
    return stat.st_dev, stat.st_ino, checksum


def _checksum(file: BinaryIO) -> int:
    """Return a checksum of all that stands behind the header."""
    checksum = 0
    file.seek(HEADER_BYTES)
    while block := file.read(_BLOCK_BYTES):
        checksum = zlib.crc32(block, checksum)
    return checksum


def _edges(file: BinaryIO, size: int) -> int:
    """Return a checksum of the first and the last of what stands behind the header."""
    checksum = 0
    for start in (HEADER_BYTES, max(HEADER_BYTES, size - _EDGE_BYTES)):
        file.seek(start)
        checksum = zlib.crc32(file.read(_EDGE_BYTES), checksum)
    return checksum


def _remove_unused(file: Path) -> bool:
    """Delete a file unless somebody has it mapped; return whether it is gone."""
    try:
        with file.open("r+b") as held:  # over NFS, such a lock needs a file that may be written
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


_said: set[str] = set()


def _say_why_not(reason: str) -> None:
    if reason not in _said:
        _said.add(reason)
        log.warning("each worker holds the data in its own memory, no file for all: %s", reason)
