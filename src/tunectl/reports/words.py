"""Numbers, times and values as people read them, the same in a terminal and on a page."""

from __future__ import annotations

from typing import Any


def number(value: float | None) -> str:
    """Return a metric's value for people."""
    return "–" if value is None else f"{value:.5g}"


def duration(seconds: float | None) -> str:
    """Return a duration for people: `3.1 s`, `4:05`, `2:04:05`."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def value_text(value: Any) -> str:
    """Return a parameter's value for people, as it would stand in YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
