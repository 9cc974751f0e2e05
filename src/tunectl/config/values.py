"""How single values are said to a user, and which of them cannot be stored."""

from __future__ import annotations

INT_64 = range(-(2**63), 2**63)
_LONGEST_SHOWN = 60


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


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
