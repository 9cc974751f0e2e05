"""What a trial runs: the program's own objectives, and what it takes to write another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunectl.objectives.trial import Trial

__all__ = ["Trial"]


def __getattr__(name: str) -> object:
    # Only who writes `from tunectl.objectives import Trial` waits for what it needs.
    if name == "Trial":
        from tunectl.objectives.trial import Trial

        return Trial
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
