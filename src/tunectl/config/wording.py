"""How values and pydantic's findings are said to a user: plain sentences, no library's jargon.

This module knows neither files nor lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import ValidationError

from tunectl.config import fields

INT_64 = range(-(2**63), 2**63)
_LONGEST_SHOWN = 60
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


def describe(value: object) -> str:
    """Return words for a value: what it is and, if it is short enough to help, what it says."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {shown(value)}"
    return "a mapping" if isinstance(value, dict) else "a list"


def shown(text: str) -> str:
    """Return `text` in quotes, shortened, with nothing in it that a terminal would obey."""
    short = text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."
    return f"'{short}'" if short.isprintable() else ascii(short)


def number(value: float) -> str:
    """Return a number as one would write it: no needless digits, none lost."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def flaw_of(value: object) -> str | None:
    """Return why a scalar cannot be stored or passed on, None if it can."""
    if isinstance(value, int) and value not in INT_64:
        return "the whole number is too large (64 bits at most)"
    if isinstance(value, str) and ("\0" in value or not _is_unicode(value)):
        return "the text has a character that cannot be stored (NUL or half a surrogate pair)"
    return None


def findings(error: ValidationError, prefix: str = "") -> Iterator[Finding]:
    """Yield what pydantic found, in sentences, one per key.

    Args:
        error: From validating a section or a parameter.
        prefix: Dotted key of what was validated, for looking up the field's documentation.
    """
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
        yield Finding(key=key, message=_sentence(detail, whole))


def _key_parts(loc: tuple[int | str, ...]) -> list[str]:
    parts = [str(part) for part in loc]
    if parts and parts[0] in fields.SPEC_TYPES:
        parts = parts[1:]  # which member of the union of parameters it is
    if "choices" in parts:
        parts = parts[: parts.index("choices") + 2]  # what follows is a member of a union again
    return parts


def _sentence(detail: dict[str, Any], key: str) -> str:
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
        return f"must not be empty{_meaning(key)}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        given = value.get("type") if isinstance(value, dict) else value
        return f"type must be int, float or categorical, not {describe(given)}"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    said = str(value) if kind in _LIMIT and is_number else describe(value)
    wish = _wish(kind, context, key)
    # A list of the valid names need not be explained by the same list.
    meaning = "" if kind == "literal_error" else _meaning(key)
    return f"{wish}, not {said}{meaning}"


def _wish(kind: str, context: dict[str, Any], key: str) -> str:
    if ".choices." in key:
        return "expected true, false, null, a finite number or text"
    if kind == "finite_number":
        return "must be a finite number"
    if kind in _LIMIT:
        name, words = _LIMIT[kind]
        return f"must be {words} {number(context[name])}"
    if kind == "literal_error":
        return f"must be {_alternatives(key, context)}"
    # A library update may bring kinds that this table does not have yet.
    expected = _EXPECTED.get(kind, "something else")
    return f"expected {expected}{' or null' if fields.is_nullable(key) else ''}"


def _alternatives(key: str, context: dict[str, Any]) -> str:
    info = fields.leaf_at(key)
    if info is None:
        return str(context["expected"])
    annotation = info.annotation
    if get_origin(annotation) is tuple:  # one of the items of a list
        annotation = get_args(annotation)[0]
    names = [str(name).lower() for name in get_args(annotation)]
    return " or ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _meaning(key: str) -> str:
    info = fields.leaf_at(key)
    return f" – {info.description}" if info is not None and info.description else ""


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
