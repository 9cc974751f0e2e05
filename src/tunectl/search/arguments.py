"""Whether a value from a file fits the annotation of an argument, before the class sees it.

Optuna's classes take whatever they are given and fail in the middle of a trial. It knows
annotations as text only: half of Optuna's name what exists for type checkers alone.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

_FITS: dict[str, Callable[[Any], bool]] = {
    "Any": lambda _: True,
    "None": lambda value: value is None,
    "bool": lambda value: isinstance(value, bool),
    "dict": lambda value: isinstance(value, Mapping),
    "float": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "list": lambda value: isinstance(value, list | tuple),
    "ndarray": lambda value: isinstance(value, list | tuple),
    "str": lambda value: isinstance(value, str),
    "tuple": lambda value: isinstance(value, list | tuple),
}
_SAME = {"Mapping": "dict", "Sequence": "list", "Iterable": "list", "Dict": "dict", "List": "list"}
_WORDS = {
    "None": "null",
    "bool": "true or false",
    "dict": "a mapping",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "ndarray": "a list of lists of numbers",
    "str": "a text",
    "tuple": "a list",
}


def fitting(annotation: str, value: Any, *, foreign: bool = False) -> str | None:
    """Say what is wrong with a value, None where nothing is.

    Args:
        annotation: The argument's annotation, for example `int | None`.
        value: What the file has.
        foreign: Let types pass that we do not know, as a class of someone else's may have.
    """
    try:
        members = _members(ast.parse(annotation, mode="eval").body)
    except SyntaxError:
        return None
    known = [name for name in members if name in _FITS]
    if any(_FITS[name](value) for name in known):
        return None
    strange = [name for name in members if name not in _FITS and not _is_literal(name)]
    if strange and foreign:
        return None
    literals = [ast.literal_eval(name) for name in members if _is_literal(name)]
    if any(value == one and type(value) is type(one) for one in literals):
        return None
    if strange and set(known) <= {"None"}:
        return "takes a Python object, which a file cannot hold; leave it out"
    words = [_WORDS[name] for name in known if name in _WORDS]
    words += [repr(one) for one in literals]
    return f"must be {' or '.join(words)}, not {value!r}"


def _members(node: ast.expr) -> list[str]:
    """Return the plain names of the types in a union; literals as they are written."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_members(node.left), *_members(node.right)]
    if isinstance(node, ast.Constant):
        return ["None"] if node.value is None else _of_text(node.value)
    if isinstance(node, ast.Subscript):
        (outer,) = _members(node.value)
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if outer == "Literal":
            return [ast.unparse(one) for one in inner]
        if outer == "Optional":
            return [*_members(node.slice), "None"]
        if outer == "Union":
            return [name for one in inner for name in _members(one)]
        return [outer]
    name = ast.unparse(node).rpartition(".")[2]
    return [_SAME.get(name, name)]


def _of_text(value: object) -> list[str]:
    """Return the types of an annotation that is quoted once more."""
    return _members(ast.parse(value, mode="eval").body) if isinstance(value, str) else [repr(value)]


def _is_literal(name: str) -> bool:
    return name[:1] in "'\"-0123456789" or name in ("True", "False")
