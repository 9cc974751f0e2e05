"""The names that a configuration may have, read off the schema, and the nearest one to a wrong one.

This module knows no values: neither files nor what stands in them.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from tunectl.config.schema import Surroundings, TrainingRun
from tunectl.config.search_schema import Search
from tunectl.config.section import Section

SPEC_TYPES = ("int", "float", "categorical")
SPEC_NAMES = ("type", "low", "high", "step", "log", "choices", "when")
SPEC_SYNONYMS = {"min": "low", "max": "high"}
SPACE = "params_to_tune"
BASE = "base_params"

_MODELS: tuple[type[Surroundings | TrainingRun | Search], ...] = (
    Surroundings,
    TrainingRun,
    Search,
)


def section_type(info: FieldInfo) -> type[Section] | None:
    """Return the section that a field holds, None for a field with a value."""
    annotation = info.annotation
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return None


def is_open(info: FieldInfo) -> bool:
    """Return whether a field is a mapping with keys that the schema does not know."""
    return get_origin(info.annotation) is dict


def holds_more(info: FieldInfo) -> bool:
    """Return whether a field is a section or a free mapping rather than a single value."""
    return section_type(info) is not None or is_open(info)


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


@cache
def all_leaves() -> Mapping[str, FieldInfo]:
    """Return the fields with a value of all three files, by dotted key."""
    return {key: info for model in _MODELS for key, info in leaves(model).items()}


@cache
def tunable() -> Mapping[str, FieldInfo]:
    """Return the fields that a search may propose: those of a training run's sections."""
    return {key: info for key, info in leaves(TrainingRun).items() if "." in key}


def model_of(name: str) -> type[Surroundings | TrainingRun | Search] | None:
    """Return the model of the file that a top-level key belongs to."""
    return next((model for model in _MODELS if name in model.model_fields), None)


def file_of(name: str) -> str | None:
    """Return the usual name of the file that a top-level key belongs to."""
    if name == BASE:
        return "optuna_params.yaml"
    names = {Surroundings: "config.yaml", TrainingRun: "params.yaml", Search: "optuna_params.yaml"}
    model = model_of(name)
    return None if model is None else names[model]


def top_names() -> list[str]:
    """Return every top-level key of the three files."""
    return [name for model in _MODELS for name in model.model_fields] + [BASE]


def field_at(model: type[Section], parts: Sequence[str]) -> FieldInfo | None:
    """Return the section or value at a path, None if the schema has none there."""
    info: FieldInfo | None = None
    section: type[Section] | None = model
    for part in parts:
        info = section.model_fields.get(part) if section is not None else None
        if info is None:
            return None
        section = section_type(info)
    return info


def is_known(parts: Sequence[str]) -> bool:
    """Return whether something may stand at a path of the three files."""
    model = model_of(parts[0])
    if model is None:
        return False
    for length in range(1, len(parts) + 1):
        info = field_at(model, parts[:length])
        if info is None:
            return False
        if is_open(info):
            return True
    return True


def leaf_at(key: str) -> FieldInfo | None:
    """Return the field that a dotted key, or an item of its list, belongs to."""
    found = all_leaves()
    return found.get(key) or found.get(key.rpartition(".")[0])


def is_nullable(key: str) -> bool:
    """Return whether the value at a dotted key may be null."""
    info = all_leaves().get(key)
    return info is not None and NoneType in get_args(info.annotation)


def limits_of(key: str) -> tuple[float, float]:
    """Return the least and the largest number that may stand at a dotted key.

    Returns:
        Infinite where the schema sets none. Whether the limit itself is valid is left open.
    """
    info = all_leaves().get(key)
    least, most = -math.inf, math.inf
    for rule in info.metadata if info is not None else ():
        least = max(least, getattr(rule, "ge", least), getattr(rule, "gt", least))
        most = min(most, getattr(rule, "le", most), getattr(rule, "lt", most))
    return least, most


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


def unknown_at(parts: Sequence[str]) -> str:
    """Return the sentence for an unknown dotted key: the names of the section that it stops in."""
    model = model_of(parts[0])
    if model is None:
        return unknown(".".join(parts), top_names(), all_leaves())
    section: type[Section] = model
    for depth, part in enumerate(parts):
        info = section.model_fields.get(part)
        inner = section_type(info) if info is not None else None
        if inner is None:
            return unknown(".".join(parts[depth:]), section.model_fields, all_leaves())
        section = inner
    return unknown(parts[-1], section.model_fields, all_leaves())


def unknown_tunable(key: str) -> str:
    """Return the sentence for a parameter of no such key: the names of its section, or sections."""
    section = key.partition(".")[0]
    same = [name for name in tunable() if name.startswith(f"{section}.")]
    sections = dict.fromkeys(f"{name.partition('.')[0]}.…" for name in tunable())
    return unknown(key, same or sections, tunable())
