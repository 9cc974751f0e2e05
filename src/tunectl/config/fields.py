"""What a field of the schema is, and the nearest name to a wrong one.

This module knows no values and no files; which fields there are is for `layout.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from tunectl.config.section import Section

SPEC_TYPES = ("int", "float", "categorical")
SPEC_NAMES = ("type", "low", "high", "step", "log", "choices", "when")
SPEC_SYNONYMS = {"min": "low", "max": "high"}
SPACE = "params_to_tune"
BASE = "base_params"

ANYTHING = FieldInfo(annotation=Any)
"""What stands for a key of the user's own, of which the schema knows nothing."""


def section_type(info: FieldInfo) -> type[Section] | None:
    """Return the section that a field holds, None for a field with a value."""
    annotation = info.annotation
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return None


def is_open(info: FieldInfo) -> bool:
    """Return whether a field may be a mapping with keys that the schema does not know."""
    return info is ANYTHING or get_origin(info.annotation) is dict


def holds_more(info: FieldInfo) -> bool:
    """Return whether a field is a section or a free mapping rather than a single value."""
    return section_type(info) is not None or get_origin(info.annotation) is dict


def child(model: type[Section], name: str) -> FieldInfo | None:
    """Return the field of that name, None where the section may have none."""
    if name in model.model_fields:
        return model.model_fields[name]
    return ANYTHING if model.model_config.get("extra") == "allow" else None


@cache
def leaves(model: type[Section]) -> Mapping[str, FieldInfo]:
    """Return the fields with a value below `model`, by dotted key."""
    found: dict[str, FieldInfo] = {}
    for name, info in model.model_fields.items():
        section = section_type(info)
        if section is None:
            found[name] = info
        else:
            found.update({f"{name}.{key}": leaf for key, leaf in leaves(section).items()})
    return found


def base_type(info: FieldInfo) -> object:
    """Return a field's type without `None` and without what is annotated to it."""
    annotation: object = info.annotation
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        kept = [member for member in get_args(annotation) if member is not NoneType]
        return kept[0] if len(kept) == 1 else annotation
    return annotation


def spec_types(info: FieldInfo) -> tuple[str, ...]:
    """Return the types of parameter that can propose values for a field, the best one first."""
    if info is ANYTHING:
        return SPEC_TYPES
    wanted = base_type(info)
    if wanted is int:
        return ("int", "categorical")
    return ("float", "int", "categorical") if wanted is float else ("categorical",)


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """Return the valid name that `name` was most likely meant to be, None if none is near."""
    candidates = list(valid)
    # A file of junk may have very long keys, and difflib takes its time with those.
    if len(name) > 100:
        return None
    last = name.rpartition(".")[2]
    for candidate in candidates:
        if candidate.rpartition(".")[2] == last:
            return candidate
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    return close[0] if close else None


def unknown(name: str, valid: Iterable[str], elsewhere: Iterable[str] = ()) -> str:
    """Return the sentence for an unknown key.

    Args:
        name: The key as written, below its section.
        valid: The names that may stand in its place.
        elsewhere: Full keys of other places, for something that stands in the wrong section.
    """
    names = list(valid)
    likely = nearest(name, names) or nearest(name, elsewhere)
    question = f", did you mean '{likely}'?" if likely else ";"
    return f"unknown key{question} valid here: {', '.join(names) or 'nothing'}"
