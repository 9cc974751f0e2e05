"""Nested values as YAML gives them: walking through them, and taking one out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

KeyPath = tuple[str, ...]


def leaves(values: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield path and value of everything that is no mapping or list."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from leaves(value, (*path, str(key)))
    elif isinstance(values, list | tuple):
        for index, value in enumerate(values):
            yield from leaves(value, (*path, str(index)))
    else:
        yield path, values


def drop(values: Any, path: KeyPath) -> None:
    """Take a value out, in place; of a list the whole list, or its other items would move up."""
    for part in path[:-1]:
        inner = values.get(part) if isinstance(values, dict) else None
        if isinstance(inner, list):
            values.pop(part)
            return
        values = inner
    if isinstance(values, dict):
        values.pop(path[-1], None)
