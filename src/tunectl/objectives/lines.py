"""Lines of a stream of bytes, as a person would have read them; memory stays bounded."""

from __future__ import annotations

LONGEST = 4000
"""Bytes of a line that are kept."""


class Lines:
    """Cuts one stream into lines.

    Bytes that are no UTF-8 are written as `\\xff`. Of a line that is drawn over again, as progress
    bars do with carriage returns, what stood there last is kept.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._is_cut = False

    def feed(self, block: bytes) -> list[str]:
        """Return the lines that a block of bytes completes."""
        *whole, rest = block.split(b"\n")
        lines: list[str] = []
        for line in whole:
            self._add(line)
            lines += self.finish()
        self._add(rest)
        return lines

    def finish(self) -> list[str]:
        """Return the line under way, none if nothing stands in it."""
        line = self._rest.removesuffix(b"\r").rpartition(b"\r")[2]
        text = line.decode("utf-8", "backslashreplace").rstrip()
        mark = " …" if self._is_cut else ""
        self._rest, self._is_cut = b"", False
        return [f"{text}{mark}"] if text else []

    def _add(self, part: bytes) -> None:
        whole = self._rest + part
        # A return at the very end may be half of an end of line, or the next drawing's beginning.
        start = whole.rfind(b"\r", 0, -1) + 1
        if start:
            whole, self._is_cut = whole[start:], False
        if len(whole) > LONGEST:
            # The last byte tells whether the line is about to be drawn over.
            whole, self._is_cut = whole[:LONGEST] + whole[-1:] * whole.endswith(b"\r"), True
        self._rest = whole
