"""Resolving `${…}` by OmegaConf; `interpolation.py` says when, since OmegaConf takes its time.

Each interpolation is resolved once, after those that it names, and its result is bounded: a file
cannot make this take for ever. This module knows neither files nor the schema.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from omegaconf import Container, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import (
    GrammarParseError,
    InterpolationKeyError,
    OmegaConfBaseException,
    UnsupportedInterpolationType,
)

from tunectl.config.tree import KeyPath, drop, leaves
from tunectl.config.values import shown

MAX_LENGTH = 4096
MAX_VALUES = 10_000
_REFERENCE = re.compile(r"\$\{\s*(\.*)([A-Za-z_][\w.\-]*)?\s*\}")
_FAILURES = (OmegaConfBaseException, RecursionError, ValueError, TypeError, ArithmeticError)


def resolve_all(
    tree: Mapping[str, Any], sections: Collection[str], scope: str
) -> tuple[dict[str, Any], list[tuple[KeyPath, str]]]:
    """Resolve the interpolations of some sections; see `interpolation.resolve`."""
    resolver = _Resolver(OmegaConf.create(dict(tree)), sections, scope)
    resolver.run()
    plain = OmegaConf.to_container(resolver.tree, resolve=False)
    assert isinstance(plain, dict)
    wanted = {str(key): value for key, value in plain.items() if key in sections}
    for path, _ in resolver.failures:
        drop(wanted, path)
    return wanted, resolver.failures


def syntax_message(text: str) -> str | None:
    """Return why a text with an interpolation cannot be read, None if it can."""
    try:
        OmegaConf.create({"value": text})
    except _FAILURES as error:
        return _message(error, text)
    return None


class _Resolver:
    def __init__(self, tree: DictConfig, sections: Collection[str], scope: str) -> None:
        self.tree = tree
        self._scope = scope
        self.failures: list[tuple[KeyPath, str]] = []
        plain = OmegaConf.to_container(tree, resolve=False)
        self._pending: dict[KeyPath, str] = {
            path: text
            for path, text in leaves(plain)
            if path[0] in sections and isinstance(text, str) and "${" in text
        }

    def run(self) -> None:
        while self._pending:
            self._settle(next(iter(self._pending)))

    def _settle(self, path: KeyPath) -> None:
        """Replace one interpolation by its value, after those that it refers to."""
        text = self._pending.pop(path)
        for reference in _references(text, path):
            for other in list(self._pending):
                if other in self._pending and _overlap(other, reference):
                    self._settle(other)
        message = self._replace(path, text)
        if message:
            self.failures.append((path, message))
            # Otherwise each that refers to it would be worked out again, and fail again.
            container, key = self._at(path)
            container[key] = None

    def _replace(self, path: KeyPath, text: str) -> str | None:
        if len(text) > MAX_LENGTH:
            return f"is longer than {MAX_LENGTH} characters"
        container, key = self._at(path)
        try:
            value: Any = container[key]  # resolves
            if isinstance(value, Container):
                value = OmegaConf.to_container(value, resolve=True)
            if _is_too_large(value):
                return "becomes too large once it is filled in"
            container[key] = value
        except _FAILURES as error:
            return _message(error, text, self._scope)
        return None

    def _at(self, path: KeyPath) -> tuple[Any, Any]:
        container: Any = self.tree
        for part in path[:-1]:
            container = container[int(part) if isinstance(container, ListConfig) else part]
        return container, int(path[-1]) if isinstance(container, ListConfig) else path[-1]


def _references(text: str, path: KeyPath) -> Iterator[KeyPath]:
    """Yield the paths that an interpolation names literally; OmegaConf alone finds others."""
    for dots, name in _REFERENCE.findall(text):
        above = path[: -len(dots)] if dots else ()
        yield (*above, *(part for part in name.split(".") if part))


def _overlap(path: KeyPath, other: KeyPath) -> bool:
    shorter = min(len(path), len(other))
    return path[:shorter] == other[:shorter]


def _is_too_large(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) > MAX_LENGTH
    return isinstance(value, dict | list) and (
        sum(1 for _ in leaves(value)) > MAX_VALUES or _length(value) > MAX_LENGTH * 10
    )


def _length(value: Any) -> int:
    return sum(len(leaf) for _, leaf in leaves(value) if isinstance(leaf, str))


def _message(error: Exception, text: str, scope: str = "") -> str:
    """Return what is wrong with an interpolation without OmegaConf's own vocabulary."""
    first = (str(error).splitlines() or [""])[0]
    if isinstance(error, RecursionError) or "Recursive interpolation" in first:
        return f"the interpolation {shown(text)} goes in a circle or too deep"
    if isinstance(error, GrammarParseError):
        return f"the interpolation {shown(text)} cannot be read"
    if isinstance(error, InterpolationKeyError):
        named = re.search(r"'([^']*)'", first)
        missing = named[0] if named else "a key"
        return f"the interpolation {shown(text)} refers to {missing}, which does not exist{scope}"
    if isinstance(error, UnsupportedInterpolationType):
        name = first.rpartition(" ")[2]
        return (
            f"the interpolation {shown(text)} needs a resolver {shown(name)}, which does not exist"
        )
    variable = re.search(r"Environment variable '([^']*)' not found", first)
    if variable:
        return f"the environment variable {variable[1]} is not set"
    return f"the interpolation {shown(text)} cannot be resolved"
