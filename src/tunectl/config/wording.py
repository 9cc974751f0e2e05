"""How pydantic's findings are said to a user: plain sentences, no library's jargon.

This module knows neither files nor lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import ValidationError

from tunectl.config import fields
from tunectl.config.layout import Layout, layout_for
from tunectl.config.runs import DEFAULT_OBJECTIVE, RUNS
from tunectl.config.values import describe, number, shown

_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping with a type",
}
_LIMIT = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something wrong with one value.

    Args:
        key: Dotted key within what was validated; empty for the whole of it.
        message: What is wrong, one sentence without a full stop.
    """

    key: str
    message: str


def findings(
    error: ValidationError, prefix: str = "", layout: Layout | None = None
) -> Iterator[Finding]:
    """Yield what pydantic found, in sentences, one per key.

    Args:
        error: From validating a section or a parameter.
        prefix: Dotted key of what was validated, for looking up the field's documentation.
        layout: Where to look it up; by default that of the default objective.
    """
    known = layout or layout_for(RUNS[DEFAULT_OBJECTIVE])
    seen: set[str] = set()
    details: list[dict[str, Any]] = [
        dict(detail) for detail in error.errors(include_url=False, include_input=True)
    ]
    for detail in details:
        key = ".".join(_key_parts(detail["loc"]))
        # A union reports each of its members, and a list with a bad item also reports its length.
        if key in seen or any(other.startswith(f"{key}.") for other in seen if key):
            continue
        seen.add(key)
        whole = ".".join(part for part in (prefix, key) if part)
        yield Finding(key=key, message=_sentence(detail, whole, known))


def _key_parts(loc: tuple[int | str, ...]) -> list[str]:
    parts = [str(part) for part in loc]
    if parts and parts[0] in fields.SPEC_TYPES:
        parts = parts[1:]  # which member of the union of parameters it is
    if "choices" in parts:
        parts = parts[: parts.index("choices") + 2]  # what follows is a member of a union again
    return parts


def _sentence(detail: dict[str, Any], key: str, layout: Layout) -> str:
    kind = detail["type"]
    context = detail.get("ctx", {})
    value = detail["input"]
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return f"unknown key {shown(str(detail['loc'][-1]))}"
    if kind in ("string_too_short", "too_short"):
        return f"must not be empty{_meaning(key, layout)}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        given = value.get("type") if isinstance(value, dict) else value
        return f"type must be int, float or categorical, not {describe(given)}"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    said = str(value) if kind in _LIMIT and is_number else describe(value)
    wish = _wish(kind, context, key, layout)
    # A list of the valid names need not be explained by the same list.
    meaning = "" if kind == "literal_error" else _meaning(key, layout)
    return f"{wish}, not {said}{meaning}"


def _wish(kind: str, context: dict[str, Any], key: str, layout: Layout) -> str:
    if ".choices." in key:
        return "expected true, false, null, a finite number or text"
    if kind == "finite_number":
        return "must be a finite number"
    if kind in _LIMIT:
        name, words = _LIMIT[kind]
        return f"must be {words} {number(context[name])}"
    if kind == "literal_error":
        return f"must be {_alternatives(key, context, layout)}"
    # A library update may bring kinds that this table does not have yet.
    expected = _EXPECTED.get(kind, "something else")
    return f"expected {expected}{' or null' if layout.is_nullable(key) else ''}"


def _alternatives(key: str, context: dict[str, Any], layout: Layout) -> str:
    info = layout.leaf_at(key)
    if info is None:
        return str(context["expected"])
    annotation = info.annotation
    if get_origin(annotation) is tuple:  # one of the items of a list
        annotation = get_args(annotation)[0]
    names = [str(name).lower() for name in get_args(annotation)]
    return " or ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _meaning(key: str, layout: Layout) -> str:
    info = layout.leaf_at(key)
    if info is None or not info.description:
        return ""
    # What more there is to say of a value that is good helps nobody whose value is not.
    first, _, _ = info.description.partition("; ")
    return f" – {info.description if ':' in first else first}"
