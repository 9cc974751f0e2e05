"""Braces in a command: `{training.learning_rate}` becomes the value, any other brace stays."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from tunectl.config.fields import nearest
from tunectl.config.section import Scalar

# `{{name}}` is left alone, and so is `${name}`, which is the shell's.
_BRACE = re.compile(r"\{\{[^{}]*\}\}|\$\{[^{}]*\}|\{([A-Za-z_][\w.\-]*)\}")

OWN = (
    "trial_dir",
    "checkpoint_dir",
    "params_file",
    "stop_file",
    "project",
    "study",
    "number",
    "seed",
    "device",
)
"""What a brace may name beside a value of the run; such a value of the same name goes before it."""


def fill_in(text: str, values: Mapping[str, Any]) -> str:
    """Return a text with each brace replaced that names one of the values."""

    def value_of(brace: re.Match[str]) -> str:
        return text_of(values[brace[1]]) if brace[1] in values else brace[0]

    return _BRACE.sub(value_of, text)


def text_of(value: Scalar) -> str:
    """Return a single value as text: `true`, `null`, `0.001`; text stays as it is."""
    return value if isinstance(value, str) else json.dumps(value)


def names_in(texts: Sequence[str]) -> Iterator[str]:
    """Yield what stands in braces and could be a name, in order."""
    for text in texts:
        yield from (brace[1] for brace in _BRACE.finditer(text) if brace[1])


def meant_by(name: str, known: Collection[str]) -> str | None:
    """Return the known name that an unknown one in a brace was most likely meant to be.

    Only what looks like a key is taken for one: a brace of awk's or a shell's is none.
    """
    if name in known or ("." not in name and len(name) < 4):
        return None
    found = nearest(name, known)
    return found if found is not None and _is_close(name, found) else None


def _is_close(name: str, found: str) -> bool:
    """Whether one is the other mistyped, or its last part."""
    import difflib

    if found.rpartition(".")[2] == name.rpartition(".")[2]:
        return True
    return difflib.SequenceMatcher(None, name, found).ratio() > 0.75
