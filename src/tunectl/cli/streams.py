"""Standard output and standard error when nobody listens: a closed pipe, no stream, a full disk.

What is said on standard error is dropped then: a study must not end because its log did. Results
are different: a reader that has gone, as `head` does, ends the program quietly; a disk that is full
is an error.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

from tunectl.errors import OutputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Results(io.FileIO):
    """Standard output."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            _write_nowhere(self.fileno())
            raise SystemExit(0) from None
        except OSError as error:
            _write_nowhere(self.fileno())
            reason = f"standard output cannot be written: {error.strerror}"
            raise OutputError(reason) from error


class _Messages(io.FileIO):
    """Standard error."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def set_up_streams() -> None:
    """Make the program's streams what this module says; those of a test are left alone.

    Standard error gets a descriptor of its own: what stands on the usual one may be turned away
    for a while, with what the user's own code prints.

    What a terminal's character set does not have is printed as a question mark.
    """
    # Python has none where the descriptor was closed when it started.
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115
    sys.stdout = _over(sys.stdout, 1, _Results)
    sys.stderr = _over(sys.stderr, 2, _Messages)


def _over(stream: TextIO | None, number: int, kind: type[io.FileIO]) -> TextIO:
    """Return a stream to the same descriptor that fails in another way."""
    if stream is None:
        return _text(_raw(number, kind), "utf-8", line_buffering=True)
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if type(raw) is not io.FileIO:  # it is one of these already
        return stream
    by_line = stream.line_buffering or stream.write_through
    return _text(_raw(stream.fileno(), kind), stream.encoding, line_buffering=by_line)


def _raw(number: int, kind: type[io.FileIO]) -> io.FileIO:
    if kind is _Messages:
        with contextlib.suppress(OSError):
            return kind(os.dup(number), "w")
    return kind(number, "w", closefd=False)


def _text(raw: io.FileIO, encoding: str, *, line_buffering: bool) -> TextIO:
    buffered = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffered, encoding, errors="replace", line_buffering=line_buffering)


def _write_nowhere(number: int) -> None:
    # What is buffered still is written once more when Python ends, which must not fail again.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
