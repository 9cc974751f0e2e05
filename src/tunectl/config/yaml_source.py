"""Reading one YAML file: its plain values and the line of each, or what is wrong with it and where.

Nothing in a file is executed or looked up: tags other than those of plain values are errors. Plain
values are those of YAML 1.2 (`1e-5` is a number, `no` and `2026-01-31` are text). This module does
not know what the values mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import ReaderError

from tunectl.config.values import INT_64, flaw_of, shown
from tunectl.errors import ConfigError, Problem

MAX_BYTES = 1 << 20
MAX_NODES = 50_000
MAX_DEPTH = 32
_CORE = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_NULL = re.compile(r"~|null|Null|NULL|")
_MERGE = re.compile("<<")


@dataclass(frozen=True, kw_only=True)
class Document:
    """What one file says.

    Args:
        values: Plain nested values; the keys of every mapping are text.
        lines: 1-based line of each key and list item, by its path from the top; the items of a
            list are named "0", "1" …
        problems: What is wrong with single lines of it; their values are left out.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's idea of what plain text is a number or a boolean."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


# The order counts: what looks like a whole number must not become a float.
for _name, _pattern, _first in (
    ("bool", _BOOL, "tTfF"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("null", _NULL, "~nN"),
    ("merge", _MERGE, "<"),
):
    _anchored = re.compile(rf"(?:{_pattern.pattern})\Z")
    _Loader.add_implicit_resolver(f"{_CORE}{_name}", _anchored, list(_first))
_Loader.add_implicit_resolver(f"{_CORE}null", re.compile(r"\Z"), [""])


class _FlawError(Exception):
    """Something that is wrong at a line, so that nothing of the file can be used."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


def read(path: Path, *, name: str, if_missing: str = "there is no such file") -> Document:
    """Read a YAML file.

    Args:
        path: The file.
        name: What the user calls it; used in messages.
        if_missing: What to say where it does not exist.

    Returns:
        Its values and lines; an empty file is an empty mapping.

    Raises:
        ConfigError: it cannot be read, is not YAML, or is not a mapping.
    """
    try:
        return _parse(_read_text(path, if_missing), name)
    except _FlawError as flaw:
        problem = Problem(message=flaw.message, file=name, line=flaw.line)
        raise ConfigError([problem]) from flaw.__cause__


def read_list(path: Path, *, name: str) -> Document:
    """Read a YAML file that is a list, or a single mapping, which is taken for a list of one.

    Args:
        path: The file.
        name: What the user calls it; used in messages.

    Returns:
        The items, named "0", "1" …, and their lines; an empty file is an empty list.

    Raises:
        ConfigError: it cannot be read, is not YAML, or is neither list nor mapping.
    """
    try:
        return _parse_list(_read_text(path, "there is no such file"), name)
    except _FlawError as flaw:
        problem = Problem(message=flaw.message, file=name, line=flaw.line)
        raise ConfigError([problem]) from flaw.__cause__


def read_scalar(text: str) -> bool | int | float | str | None:
    """Return what a text means as a value in YAML; in quotes it is text whatever it says.

    Raises:
        ValueError: it cannot be stored, for example a whole number of more than 64 bits.
    """
    plain = text.strip()
    if len(plain) > 1 and plain[0] == plain[-1] and plain[0] in "'\"":
        node = yaml.compose(plain, Loader=_Loader)
        value: Any = node.value if isinstance(node, yaml.ScalarNode) else plain
    else:
        resolvers = _Loader.yaml_implicit_resolvers.get(plain[:1], [])
        tags = (tag for tag, pattern in resolvers if pattern.match(plain))
        value = _plain(next(tags, f"{_CORE}str").removeprefix(_CORE), plain)
    flaw = flaw_of(value)
    if flaw:
        raise ValueError(flaw)
    return value  # type: ignore[no-any-return]


def _read_text(path: Path, if_missing: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise _FlawError(if_missing, None) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _FlawError(f"cannot be read: {reason}", None) from error
    if len(content) > MAX_BYTES:
        raise _FlawError("is larger than 1 MiB, which no configuration is", None)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _FlawError("is not UTF-8 text; save it as UTF-8", line) from error


def _parse(text: str, name: str) -> Document:
    root = _compose(text)
    if root is None:
        return Document()
    if not isinstance(root, yaml.MappingNode):
        message = "must be a mapping at the top level, lines of the form `key: value`"
        raise _FlawError(message, root.start_mark.line + 1)
    reader = _Reader()
    try:
        values = reader.mapping(root, ())
    except RecursionError as error:
        raise _FlawError("is nested too deeply", None) from error
    return reader.document(values, name)


def _parse_list(text: str, name: str) -> Document:
    root = _compose(text)
    if root is None:
        return Document()
    if not isinstance(root, yaml.SequenceNode | yaml.MappingNode):
        raise _FlawError("must be a list of mappings, or a mapping", root.start_mark.line + 1)
    reader = _Reader()
    try:
        if isinstance(root, yaml.SequenceNode):
            values = reader.items(root)
        else:
            reader.lines[("0",)] = _line_of(root)
            values = {"0": reader.mapping(root, ("0",))}
    except RecursionError as error:
        raise _FlawError("is nested too deeply", None) from error
    return reader.document(values, name)


def _compose(text: str) -> yaml.Node | None:
    """Return the document's root, None for an empty one."""
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise _syntax_flaw(error, text) from error
    except RecursionError as error:
        raise _FlawError("is nested too deeply", None) from error
    except Exception as error:
        # PyYAML lets some of Python's own errors through, for example for "\UFFFFFFFF".
        raise _FlawError("is not valid YAML", None) from error
    return None if root is None or root.tag == f"{_CORE}null" else root


def _syntax_flaw(error: yaml.YAMLError, text: str) -> _FlawError:
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return _FlawError("has a control character that YAML does not allow", line)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "context", None) or "syntax error"
    if mark is None:
        return _FlawError(f"is not valid YAML: {problem}", None)
    lines = text.splitlines() or [""]
    row = min(mark.line, len(lines) - 1)
    for index in (row, row - 1):
        if index >= 0 and re.match(r" *\t", lines[index]):
            return _FlawError("is indented with a tab; YAML takes spaces only", index + 1)
    if "\t" in problem or "\\t" in problem:
        return _FlawError("has a tab where YAML takes spaces only", row + 1)
    if problem.startswith("expected <block end>"):
        problem = "the indentation does not fit the lines above"
    return _FlawError(f"is not valid YAML: {problem} (column {mark.column + 1})", row + 1)


class _Reader:
    """Makes plain values of composed nodes; bounds the work that aliases can ask for."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, ...], int] = {}
        self.flaws: list[tuple[str, int]] = []
        self._n_nodes = 0
        self._open: set[int] = set()

    def document(self, values: Mapping[str, Any], name: str) -> Document:
        """Return what was read, and what was wrong with it."""
        problems = tuple(
            Problem(message=message, file=name, line=line)
            for message, line in dict.fromkeys(self.flaws)
        )
        return Document(values=values, lines=self.lines, problems=problems)

    def items(self, node: yaml.SequenceNode) -> dict[str, Any]:
        """Return the items of a list that is the whole document, by index."""
        values = {}
        for index, item in enumerate(self._enter(node)):
            place = (str(index),)
            self.lines[place] = _line_of(item)
            value = self._value(item, place)
            if value is not _UNUSABLE:
                values[str(index)] = value
        return values

    def mapping(self, node: yaml.MappingNode, path: tuple[str, ...]) -> dict[str, Any]:
        """Return a mapping's values and note the line of each key."""
        values: dict[str, Any] = {}
        first_lines: dict[str, int] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in self._enter(node):
            line = key_node.start_mark.line + 1
            if key_node.tag == f"{_CORE}merge":
                merged.append(value_node)
                continue
            key = self._text_key(key_node)
            if key is None:
                continue
            if key in first_lines:
                first = first_lines[key]
                self.flaws.append(
                    (f"duplicate key {shown(key)}, first given in line {first}", line)
                )
                continue
            first_lines[key] = line
            self.lines[(*path, key)] = line
            value = self._value(value_node, (*path, key))
            if value is not _UNUSABLE:
                values[key] = value
        for value_node in merged:
            self._merge(value_node, path, values)
        self._open.discard(id(node))
        return values

    def _merge(self, node: yaml.Node, path: tuple[str, ...], values: dict[str, Any]) -> None:
        """Add what `<<` names; keys that are there already stay, as in YAML 1.1."""
        if isinstance(node, yaml.SequenceNode):
            for item in self._enter(node):
                self._merge(item, path, values)
            self._open.discard(id(node))
            return
        if not isinstance(node, yaml.MappingNode):
            raise _FlawError("`<<` takes a mapping or a list of mappings", _line_of(node))
        inner = _Reader()
        inner._n_nodes, inner._open, inner.flaws = self._n_nodes, self._open, self.flaws
        for key, value in inner.mapping(node, path).items():
            values.setdefault(key, value)
        self._n_nodes = inner._n_nodes
        for place, line in inner.lines.items():
            self.lines.setdefault(place, line)

    def _value(self, node: yaml.Node, path: tuple[str, ...]) -> Any:
        kind = "map" if isinstance(node, yaml.MappingNode) else "seq"
        if isinstance(node, yaml.CollectionNode) and node.tag != f"{_CORE}{kind}":
            self._count(node)
            return self._unusable(f"the tag {shown(str(node.tag))} is not allowed", node)
        if len(path) > MAX_DEPTH:
            raise _FlawError("is nested too deeply", _line_of(node))
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return self._list(node, path)
        self._count(node)
        return self._scalar(node)

    def _list(self, node: yaml.SequenceNode, path: tuple[str, ...]) -> list[Any]:
        items = []
        for index, item in enumerate(self._enter(node)):
            place = (*path, str(index))
            self.lines[place] = _line_of(item)
            items.append(self._value(item, place))
        self._open.discard(id(node))
        return [item for item in items if item is not _UNUSABLE]

    def _scalar(self, node: yaml.Node) -> Any:
        kind = str(node.tag).removeprefix(_CORE)
        text = str(node.value)
        try:
            value = _plain(kind, text)
        except (ValueError, OverflowError):
            return self._unusable(f"{shown(text)} is no {kind}", node)
        if value is _UNUSABLE:
            return self._unusable(f"the tag {shown(str(node.tag))} is not allowed", node)
        flaw = flaw_of(value)
        return self._unusable(flaw, node) if flaw else value

    def _text_key(self, node: yaml.Node) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._unusable("a key must be text, not a list or a mapping", node)
        elif node.tag != f"{_CORE}str":
            self._unusable(f"the key {shown(node.value)} must be text; put it in quotes", node)
        elif flaw := flaw_of(node.value):
            self._unusable(f"in a key, {flaw}", node)
        else:
            return str(node.value)
        return None

    def _unusable(self, message: str, node: yaml.Node) -> object:
        self.flaws.append((message, _line_of(node)))
        return _UNUSABLE

    def _enter(self, node: yaml.Node) -> Iterator[Any]:
        self._count(node)
        if id(node) in self._open:
            raise _FlawError("an alias (*) stands inside of what it refers to", _line_of(node))
        self._open.add(id(node))
        return iter(node.value)

    def _count(self, node: yaml.Node) -> None:
        self._n_nodes += 1
        if self._n_nodes > MAX_NODES:
            raise _FlawError(
                f"has more than {MAX_NODES} values once its aliases (*) are filled in",
                _line_of(node),
            )


_UNUSABLE = object()


def _plain(kind: str, text: str) -> Any:
    """Return a scalar's value; `_UNUSABLE` for a tag that is not of a plain value."""
    if kind in ("str", "merge", "value"):
        return text
    if kind == "null":
        return None
    if kind == "bool" and _BOOL.fullmatch(text):
        return text.lower() == "true"
    if kind == "int" and _INT.fullmatch(text):
        if len(text) > 30:  # Python refuses to read very long ones; no 64-bit number has 30 digits
            return INT_64.stop
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if kind == "float" and _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if kind in ("bool", "int", "float"):
        raise ValueError(text)
    return _UNUSABLE


def _line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
