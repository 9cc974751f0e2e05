"""Points of a search space as people write them down: JSON, YAML or CSV.

This module knows how such a file is read and where each value stands in it, not what they mean.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from tunectl.config.values import describe, shown
from tunectl.config.yaml_source import read_list, read_scalar
from tunectl.errors import ConfigError, Problem, StudyFileError, UsageError


@dataclass(frozen=True, kw_only=True)
class Point:
    """One set of parameters.

    Args:
        number: Which one of the file it is, from 1.
        values: By dotted key.
        line: 1-based line at which it starts.
        lines: 1-based line of single values, where that is known.
    """

    number: int
    values: Mapping[str, Any]
    line: int
    lines: Mapping[str, int]

    def line_of(self, key: str) -> int:
        """Return the line at which a value stands."""
        return self.lines.get(key, self.line)


@dataclass(frozen=True, kw_only=True)
class PointsFile:
    """What a file of points says.

    Args:
        name: What the user calls it.
        points: Its points, without what could not be used.
        problems: What is wrong with the others.
        columns: The keys that a table names in its first line, none in a file of another kind.
    """

    name: str
    points: Sequence[Point] = ()
    problems: Sequence[Problem] = ()
    columns: Sequence[str] = ()


def read_points(file: Path, *, name: str) -> PointsFile:
    """Read a file of points.

    Args:
        file: The file; its ending says what it is.
        name: What the user calls it; used in messages.

    Raises:
        UsageError: its ending says nothing.
        StudyFileError: it cannot be read at all.
    """
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise UsageError(f"{name}: what is it? Its name must end in {', '.join(_READERS)}")
    try:
        found = reader(file, name)
    except OSError as error:
        raise _wrong(name, None, f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise _wrong(name, None, "is not UTF-8 text; save it as UTF-8") from error
    except ConfigError as error:
        raise StudyFileError(error.problems) from error
    if not found.points and not found.problems:
        raise _wrong(name, None, "has no points")
    return found


# Line, lines of what is in it by path, and the item itself.
Item = tuple[int, Mapping[tuple[str, ...], int], Any]


# -- JSON and YAML -------------------------------------------------------------------------------


def _read_json(file: Path, name: str) -> PointsFile:
    text = file.read_text(encoding="utf-8-sig")
    try:
        items: list[Item] = [(line, {}, item) for line, item in _json_items(text)]
    except json.JSONDecodeError as error:
        raise _wrong(name, error.lineno, f"is not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        reason = "is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise _wrong(name, None, reason) from error
    return _points(items, name)


def _json_items(text: str) -> Iterator[tuple[int, Any]]:
    """Yield the items of a list, or the only one there is, each with its line."""
    decoder = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_refuse)
    whole = decoder.decode(text)  # complains of whatever is wrong
    if not isinstance(whole, list):
        yield 1 + text.count("\n", 0, text.find("{") if "{" in text else 0), whole
        return
    line, at = 1, text.index("[") + 1
    counted = 0
    for _ in whole:
        while text[at] in " \t\r\n,":
            at += 1
        line += text.count("\n", counted, at)
        counted = at
        item, at = decoder.raw_decode(text, at)
        yield line, item


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [key for key, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(key for key in names if names.count(key) > 1)
        raise ValueError(f"has {shown(twice)} more than once in one point")
    return dict(pairs)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"has {constant}, which is not JSON")


def _read_yaml(file: Path, name: str) -> PointsFile:
    document = read_list(file, name=name)
    items: list[Item] = []
    for index, item in document.values.items():
        lines = {path[1:]: line for path, line in document.lines.items() if path[0] == index}
        items.append((lines.pop(()), lines, item))
    found = _points(items, name)
    return replace(found, problems=[*document.problems, *found.problems])


def _points(items: Sequence[Item], name: str) -> PointsFile:
    """Make points of items, nested or dotted, with their lines by path."""
    points: list[Point] = []
    problems: list[Problem] = []
    for number, (line, lines, item) in enumerate(items, start=1):
        if not isinstance(item, Mapping):
            message = f"expected a mapping of parameters, not {describe(item)}"
            problems.append(_problem(name, line, number, message))
            continue
        values: dict[str, Any] = {}
        places: dict[str, int] = {}
        for path, value in _leaves(item, ()):
            key = ".".join(path)
            place = lines.get(path, line)
            if key in values:
                problems.append(_problem(name, place, number, "is given dotted and nested", key))
            values[key], places[key] = value, place
        if values:
            points.append(Point(number=number, values=values, line=line, lines=places))
        else:
            problems.append(_problem(name, line, number, "gives no parameter"))
    return PointsFile(name=name, points=points, problems=problems)


def _leaves(
    values: Mapping[str, Any], above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


# -- CSV -----------------------------------------------------------------------------------------


def _read_csv(file: Path, name: str) -> PointsFile:
    points: list[Point] = []
    problems: list[Problem] = []
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text, strict=True)
        try:
            header = [cell.strip() for cell in next(rows, [])]
            problems += _header_problems(header, name)
            line = rows.line_num + 1
            for row in rows:
                if row:
                    point, found = _row(header, row, line, len(points) + 1, name)
                    points.append(point)
                    problems += found
                line = rows.line_num + 1  # a quoted cell may have several lines
        except csv.Error as error:
            raise _wrong(name, rows.line_num, f"is not CSV: {error}") from error
    return PointsFile(name=name, points=points, problems=problems, columns=header)


def _header_problems(header: list[str], name: str) -> list[Problem]:
    problems = []
    for position, key in enumerate(header, start=1):
        if not key:
            message = f"column {position} has no name"
        elif key in header[: position - 1]:
            message = f"column {shown(key)} stands here twice"
        else:
            continue
        problems.append(Problem(file=name, line=1, message=message))
    return problems


def _row(
    header: list[str], row: list[str], line: int, number: int, name: str
) -> tuple[Point, list[Problem]]:
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    if len(row) > len(header):
        message = f"has {len(row)} cells, the header only {len(header)}"
        problems.append(_problem(name, line, number, message))
    for key, cell in zip(header, row, strict=False):
        if not cell.strip():
            continue
        try:
            values[key] = read_scalar(cell)
        except ValueError as error:
            problems.append(_problem(name, line, number, str(error), key))
    if not values and not problems:
        problems.append(_problem(name, line, number, "gives no parameter"))
    return Point(number=number, values=values, line=line, lines={}), problems


def _problem(name: str, line: int, number: int, message: str, key: str | None = None) -> Problem:
    return Problem(file=name, line=line, key=key, message=f"{message} (point {number})")


def _wrong(name: str, line: int | None, message: str) -> StudyFileError:
    return StudyFileError([Problem(file=name, line=line, message=message)])


_READERS: Mapping[str, Callable[[Path, str], PointsFile]] = {
    ".json": _read_json,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
    ".csv": _read_csv,
}
