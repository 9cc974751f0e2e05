"""Where each value was written: a file and line, the command line, or nowhere (the default)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tunectl.config.values import shown
from tunectl.errors import Problem


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a value came from.

    Args:
        kind: `default` (built in), `file` or `override` (the command line).
        file: The file as the user would name it; only for `file`.
        line: 1-based line in it, where known.
        override: The whole override as typed; only for `override`.
    """

    kind: Literal["default", "file", "override"] = "default"
    file: str | None = None
    line: int | None = None
    override: str | None = None

    def __str__(self) -> str:
        if self.kind == "default":
            return "default"
        if self.kind == "override":
            return f"command line: {self.override}"
        return f"{self.file}:{self.line}" if self.line else str(self.file)


DEFAULT = Origin()


def find_origin(origins: Mapping[str, Origin], key: str) -> Origin:
    """Return where `key` was written: itself, something below it, or the section around it.

    Args:
        origins: By dotted key.
        key: Dotted key of a value, of an item of a list, or of a section. For a section an
            override of one of its values goes before the section's own line, because a file
            that was right before is seldom what is wrong.
    """
    below = [origin for other, origin in origins.items() if other.startswith(f"{key}.")]
    for origin in below:
        if origin.kind == "override":
            return origin
    while key:
        if key in origins:
            return origins[key]
        key = key.rpartition(".")[0]
    return below[0] if below else DEFAULT


def problem_at(
    origin: Origin,
    message: str,
    key: str | None = None,
    kind: Literal["unknown_key"] | None = None,
) -> Problem:
    """Return a problem with what stands at `origin`; see `Problem`."""
    if key is not None and not key.isprintable():
        key = ascii(key)
    if origin.kind == "override" and origin.override is not None:
        message = f"{message} (in the override {shown(origin.override)})"
    return Problem(message=message, file=origin.file, line=origin.line, key=key, kind=kind)
