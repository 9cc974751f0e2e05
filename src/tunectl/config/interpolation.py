"""Merging layers and resolving `${…}`, as OmegaConf does, which is only asked about the latter.

It takes as long to import as all the rest of the configuration, and most files have no
interpolation. This module knows neither files nor the schema.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tunectl.config.tree import KeyPath, drop, leaves

MAX_INTERPOLATIONS = 1000


def prune(values: dict[str, Any]) -> list[tuple[KeyPath, str]]:
    """Take out of `values`, in place, what OmegaConf cannot read.

    Returns:
        Path and message of each value taken out.
    """
    failures: list[tuple[KeyPath, str]] = []
    texts = [(path, text) for path, text in leaves(values) if isinstance(text, str)]
    interpolated = [(path, text) for path, text in texts if "${" in text]
    for path, text in texts:
        message = "is still to be filled in ('???')" if text == "???" else None
        if "${" in text:
            message = _syntax_message(text)
            if len(interpolated) > MAX_INTERPOLATIONS:
                message = f"there are more than {MAX_INTERPOLATIONS} interpolations"
        if message:
            failures.append((path, message))
            drop(values, path)
    return failures


def merge(layers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge layers, the weakest first: mappings key by key, anything else replaced.

    Args:
        layers: Nested values that have been through `prune`; what a later layer replaces is
            taken out of the earlier ones.
    """
    for index, layer in enumerate(layers):
        for lower in layers[:index]:
            _give_way(lower, layer)
    merged: dict[str, Any] = {}
    for layer in layers:
        _lay_over(merged, layer)
    return {str(key): value for key, value in merged.items()}


def _lay_over(merged: dict[Any, Any], upper: Mapping[Any, Any]) -> None:
    """Put values over others, in place; of both, mappings stand only where the other has one."""
    for key, value in upper.items():
        if isinstance(value, Mapping):
            _lay_over(merged.setdefault(key, {}), value)
        else:
            merged[key] = _plain(value)


def _plain(value: Any) -> Any:
    """Return a value with lists and mappings of its own."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _give_way(lower: dict[str, Any], upper: Mapping[str, Any]) -> None:
    """Take out of `lower` what `upper` replaces, so that it moves to where it was written last."""
    for key, value in upper.items():
        below = lower.get(key)
        if isinstance(below, dict) and isinstance(value, Mapping):
            _give_way(below, value)
        else:
            lower.pop(key, None)


def resolve(
    tree: Mapping[str, Any], sections: Collection[str], *, scope: str = ""
) -> tuple[dict[str, Any], list[tuple[KeyPath, str]]]:
    """Resolve the interpolations of some sections.

    Args:
        tree: The whole merged tree, which interpolations may refer to.
        sections: Top-level keys whose values are wanted.
        scope: Where a key may be looked for, as part of a sentence, if not everywhere.

    Returns:
        The plain values of those sections, without what could not be resolved, and the path and
        message of each of those.
    """
    wanted = {key: value for key, value in tree.items() if key in sections}
    if not any(isinstance(leaf, str) and "${" in leaf for _, leaf in leaves(wanted)):
        return wanted, []  # OmegaConf takes its time, and most files have no interpolation
    from tunectl.config.resolving import resolve_all

    return resolve_all(tree, sections, scope)


def _syntax_message(text: str) -> str | None:
    from tunectl.config.resolving import syntax_message

    return syntax_message(text)
