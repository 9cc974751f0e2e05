"""One layer of the configuration: what one file, or the command line, says of the known sections.

A layer has known names only; whatever has an unknown one is a Problem. Values are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tunectl.config import fields
from tunectl.config.layout import Layout
from tunectl.config.origin import Origin, problem_at
from tunectl.config.run import RESERVED
from tunectl.config.section import Section
from tunectl.config.values import describe, shown
from tunectl.errors import Problem

OBJECTIVE = "objective"
Place = Callable[[tuple[str, ...]], Origin]


@dataclass(kw_only=True)
class Layer:
    """Values by section and name, and where each was written.

    Args:
        values: Nested as in the schema.
        origins: By dotted key, of sections, values and what is inside of values.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)

    def put(self, parts: Sequence[str], value: Any, origin: Origin) -> None:
        """Set the value at a path, whatever stood there."""
        self.remove(parts)
        here = self.values
        for part in parts[:-1]:
            inner = here.get(part)
            if not isinstance(inner, dict):
                inner = here[part] = {}
            here = inner
        here[parts[-1]] = value
        self.origins[".".join(parts)] = origin

    def remove(self, parts: Sequence[str]) -> None:
        """Forget the value or section at a path, if there is one."""
        here: Any = self.values
        for part in parts[:-1]:
            here = here.get(part) if isinstance(here, dict) else None
        if isinstance(here, dict):
            here.pop(parts[-1], None)
        forget(self.origins, ".".join(parts))


def forget(origins: dict[str, Origin], key: str) -> None:
    """Remove `key` and all that is below it."""
    for other in [other for other in origins if other == key or other.startswith(f"{key}.")]:
        del origins[other]


def accept(
    values: Mapping[str, Any],
    model: type[Section],
    layout: Layout,
    place: Place,
    *,
    prefix: str = "",
) -> tuple[Layer, list[Problem]]:
    """Take what a source says of the sections of `model`.

    Args:
        values: Nested values, as read.
        model: The model of the whole source.
        layout: All keys that there are.
        place: Where a path of the source was written.
        prefix: What stands before the keys in messages.

    Returns:
        The layer without what has an unknown name, and a problem for each of those.
    """
    layer = Layer()
    problems: list[Problem] = []
    _accept(values, _Source(model, layout, place), model, (), layer, problems)
    if prefix:
        problems = [replace(problem, key=f"{prefix}{problem.key}") for problem in problems]
    return layer, problems


def entries(
    values: Mapping[str, Any], model: type[Section], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield path and value of everything in accepted values, free mappings key by key."""
    for name, value in values.items():
        here, info = (*path, name), fields.child(model, name)
        assert info is not None
        section = fields.section_type(info)
        if section is not None:
            yield from entries(value, section, here)
        elif info is fields.ANYTHING:
            yield from _inside(value, here)
        elif fields.is_open(info) and isinstance(value, Mapping) and value:
            yield from (((*here, inner), item) for inner, item in value.items())
        else:
            yield here, value


def _inside(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield path and value of everything in a value of the user's own."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _inside(item, (*path, name))
    else:
        yield path, value


@dataclass(frozen=True)
class _Source:
    """What is being accepted: its model, all keys that there are, and where a path was written."""

    model: type[Section]
    layout: Layout
    place: Place


def _accept(
    values: Mapping[str, Any],
    source: _Source,
    model: type[Section],
    path: tuple[str, ...],
    layer: Layer,
    problems: list[Problem],
) -> None:
    place = source.place
    for name, value in values.items():
        here = (*path, name)
        info = None if _is_elsewhere(name, path, source) else fields.child(model, name)
        if info is None:
            message = _unknown(name, path, model, source)
            problems.append(problem_at(place(here), message, ".".join(here), "unknown_key"))
            continue
        section = fields.section_type(info)
        if value is None and fields.holds_more(info):
            continue  # a heading with nothing under it: the defaults
        if info is fields.ANYTHING:
            problems.extend(_dotted(value, here, place))
        if section is not None and here == (OBJECTIVE,) and isinstance(value, str):
            continue  # a later layer names one of another kind, and replaces it whole
        if section is None:
            layer.put(here, value, place(here))
            _mark(value, here, place, layer)
        elif isinstance(value, Mapping):
            layer.origins[".".join(here)] = place(here)
            _accept(value, source, section, here, layer, problems)
        else:
            names = ", ".join(section.model_fields)
            message = f"expected a section with keys of {names}, not {describe(value)}"
            problems.append(problem_at(place(here), message, ".".join(here)))


def _dotted(value: Any, path: tuple[str, ...], place: Place) -> Iterator[Problem]:
    """Yield the keys with a dot in a value of the user's own: they would be two things at once."""
    for name, inner in value.items() if isinstance(value, Mapping) else ():
        here = (*path, str(name))
        if "." in str(name):
            message = "a key of your own has no dot in it; nest it"
            yield problem_at(place(here), message, ".".join(here))
        else:
            yield from _dotted(inner, here, place)


def _mark(value: Any, path: tuple[str, ...], place: Place, layer: Layer) -> None:
    """Note where the parts of a list or of a free mapping were written."""
    items: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list):
        items = [(str(index), item) for index, item in enumerate(value)]
    for name, item in items:
        here = (*path, name)
        layer.origins[".".join(here)] = place(here)
        _mark(item, here, place, layer)


def _is_elsewhere(name: str, path: tuple[str, ...], source: _Source) -> bool:
    """Whether a key cannot be one of the user's own: it is dotted, or has its place elsewhere."""
    if path or name in source.model.model_fields:
        return False
    return "." in name or name in RESERVED or source.layout.file_of(name) is not None


def _unknown(name: str, path: tuple[str, ...], model: type[Section], source: _Source) -> str:
    layout = source.layout
    if not path and "." in name:
        return f"dotted keys are for {fields.SPACE}, {fields.BASE} and the command line; nest it"
    home = layout.file_of(name) if not path else None
    if home is not None:
        return f"{shown(name)} belongs into {home}"
    if not path and name in RESERVED and layout.is_open:
        return f"{shown(name)} is a key of the program's own; choose another name"
    whole = layout.model_of(path[0]) if path else model
    tops = set(whole.model_fields) if whole is not None else set()
    elsewhere = [key for key in layout.leaves if key.partition(".")[0] in tops]
    return fields.unknown(name, model.model_fields, elsewhere)
