"""What the user's own code prints, in whatever way: it is kept off the program's standard output.

Python's streams are replaced, and the file descriptors below them too, which programs that the
code starts and libraries in C write to. The program's own standard error is on another descriptor
(see `cli.streams`), so that its messages and its display come through meanwhile.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tunectl.objectives.lines import Lines

Say = Callable[[str], None]

BLOCK = 1 << 16
MOST_LEFT = 1 << 20
"""Bytes that are read after the code has ended; no pipe holds more."""
PATIENCE_S = 5.0


class PrintedStream(io.TextIOBase):
    """`sys.stdout` or `sys.stderr` of the user's code, the same object each time.

    What keeps it, as a logging handler made by an import does, writes to the trial that runs.

    Args:
        number: Of its file descriptor.
    """

    def __init__(self, number: int) -> None:
        self.outside: Any = None
        """What stands in its place otherwise; the program's own messages go there."""
        self._number = number
        self._say: Say | None = None
        self._rest = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the trial's log."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """What has no place in it is written as its number."""
        return "backslashreplace"

    @property
    def buffer(self) -> io.FileIO:
        """The stream of bytes below it."""
        return io.FileIO(self._number, "w", closefd=False)

    def fileno(self) -> int:
        """Return the descriptor, which a program may be given."""
        return self._number

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Say the whole lines; a line that is drawn over again counts once, as it ends."""
        if self._say is None:
            if self.outside is not None:
                self.outside.write(text)
            return len(text)
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._put(line)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back but the line under way."""
        if self._say is None and self.outside is not None:
            self.outside.flush()

    def close(self) -> None:
        """Say what is left; it stays open."""
        self._put(self._rest)
        self._rest = ""

    def begin(self, say: Say | None, outside: Any) -> None:
        """Take what is printed from here on.

        Args:
            say: What takes a line; None where `outside` takes it as it comes.
            outside: The stream that stood in its place.
        """
        self._say, self.outside = say, outside

    def end(self) -> None:
        """Say what is left; what is still written goes to the stream outside."""
        self.close()
        self._say = None

    def _put(self, line: str) -> None:
        shown = line.rstrip("\r").rpartition("\r")[2].rstrip()
        if shown and self._say is not None:
            self._say(shown)


_OUT, _ERR = PrintedStream(1), PrintedStream(2)


@contextlib.contextmanager
def printed_to(say: Say) -> Iterator[None]:
    """Let each line that is printed within the block be said, whoever prints it.

    Args:
        say: Takes a line; called on another thread for what comes by a file descriptor.
    """
    with (
        _Pipe(say) as pipe,
        _in_place_of(1, pipe.writing),
        _in_place_of(2, pipe.writing),
        _streams(say, sys.stdout, sys.stderr),
    ):
        yield


@contextlib.contextmanager
def printed_to_stderr() -> Iterator[None]:
    """Let what is printed within the block end on standard error: standard output has results."""
    with _in_place_of(1, 2), _streams(None, sys.stderr, sys.stderr):
        yield


@contextlib.contextmanager
def _streams(say: Say | None, out: Any, err: Any) -> Iterator[None]:
    before = sys.stdout, sys.stderr
    _OUT.begin(say, out)
    _ERR.begin(say, err)
    sys.stdout, sys.stderr = _OUT, _ERR
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        _OUT.end()
        _ERR.end()
        _OUT.outside = before[0]


@contextlib.contextmanager
def _in_place_of(number: int, other: int) -> Iterator[None]:
    """Let one file descriptor be another one within the block; one that is closed stays so."""
    try:
        kept = os.dup(number)
    except OSError:
        yield
        return
    try:
        _flush()
        with contextlib.suppress(OSError):
            os.dup2(other, number)
        yield
    finally:
        _flush()
        os.dup2(kept, number)
        os.close(kept)


def _flush() -> None:
    """Have written what buffers hold, Python's and those of libraries in C."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)


class _Pipe:
    """Reads what comes by file descriptors, on a thread: whoever writes never waits for long.

    A process that the code has left behind may hold the pipe for ever; it is read on then, and what
    it says is dropped.

    Args:
        say: Takes a line.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._reading, self.writing = os.pipe()
        self._waiting, self._waking = os.pipe()
        os.set_blocking(self._reading, False)
        self._is_read = threading.Event()

    def __enter__(self) -> _Pipe:
        threading.Thread(target=self._read, name="printed", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.writing)
        os.close(self._waking)
        self._is_read.wait(PATIENCE_S)

    def _read(self) -> None:
        try:
            self._say_all()
        finally:
            self._is_read.set()
            os.close(self._waiting)
        os.set_blocking(self._reading, True)
        with contextlib.suppress(OSError):
            while os.read(self._reading, BLOCK):
                pass
        os.close(self._reading)

    def _say_all(self) -> None:
        lines, left, is_over = Lines(), MOST_LEFT, False
        while left > 0:
            if not is_over:
                ready = select.select([self._reading, self._waiting], [], [])[0]
                is_over = self._waiting in ready
            try:
                block = os.read(self._reading, BLOCK)
            except BlockingIOError:
                if is_over:
                    break
                continue
            if not block:
                break
            left -= len(block) if is_over else 0
            for line in lines.feed(block):
                self._say(line)
        for line in lines.finish():
            self._say(line)
