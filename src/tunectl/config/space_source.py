"""`params_to_tune` and `base_params` as people write them, made into one form.

Both may be nested or dotted. Here only names are looked at; whether a parameter makes sense is for
`space_checks.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunectl.config import fields, overrides
from tunectl.config.layer import Place, forget
from tunectl.config.layout import Layout
from tunectl.config.origin import Origin, find_origin, problem_at
from tunectl.config.values import describe
from tunectl.errors import Problem


@dataclass(kw_only=True)
class DraftSpace:
    """The search space while it is being put together.

    Args:
        specs: Parameters as plain mappings with `low` and `high`, by dotted key.
        origins: By dotted key that starts with `params_to_tune.`.
        left: Keys that an override has taken out of the space.
    """

    specs: dict[str, dict[str, Any]] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)

    def put(self, key: str, spec: Mapping[str, Any], origin: Origin) -> None:
        """Add or replace a parameter; under what condition it exists stays as it was."""
        condition = self.specs.get(key, {}).get("when")
        self.specs[key] = {"when": condition, **spec} if condition is not None else {**spec}
        kept = {
            other: place
            for other, place in self.origins.items()
            if other.startswith(f"{fields.SPACE}.{key}.when")
        }
        forget(self.origins, f"{fields.SPACE}.{key}")
        self.origins.update(kept if condition is not None and "when" not in spec else {})
        self.origins[f"{fields.SPACE}.{key}"] = origin
        self.left.discard(key)

    def put_part(self, key: str, part: str, value: Any, origin: Origin) -> None:
        """Change one of the values of a parameter, for example its `high`."""
        self.specs.setdefault(key, {})[part] = value
        self.origins.setdefault(f"{fields.SPACE}.{key}", origin)
        self.origins[f"{fields.SPACE}.{key}.{part}"] = origin
        self.left.discard(key)

    def fix(self, key: str) -> None:
        """Take a parameter out of the space, if it is there."""
        if self.specs.pop(key, None) is not None:
            self.left.add(key)
            forget(self.origins, f"{fields.SPACE}.{key}")


def read_space(values: object, layout: Layout, place: Place) -> tuple[DraftSpace, list[Problem]]:
    """Take what `params_to_tune` says.

    Args:
        values: A mapping of parameters, nested or dotted, or None.
        layout: Which keys may be searched.
        place: Where a path that starts with `params_to_tune` was written.
    """
    space = DraftSpace()
    top = (fields.SPACE,)
    if values is None:
        return space, []
    if not isinstance(values, Mapping):
        message = f"expected a mapping of parameters, not {describe(values)}"
        return space, [problem_at(place(top), message, fields.SPACE)]
    problems: list[Problem] = []
    for path, key, spec in _parameters(values, layout, top):
        full_key, origin = f"{fields.SPACE}.{key}", place(path)
        if layout.tunable_at(key) is None:
            problems.append(problem_at(origin, layout.unknown_tunable(key), full_key))
        elif key in space.specs:
            first = find_origin(space.origins, full_key)
            problems.append(problem_at(origin, f"duplicate key, first given at {first}", full_key))
        elif isinstance(spec, str):
            problems.extend(_take_text(space, key, spec, origin))
        elif not isinstance(spec, Mapping):
            message = f"expected a parameter such as {{type: int, …}}, not {describe(spec)}"
            problems.append(problem_at(origin, message, full_key))
        else:
            space.specs[key] = {}
            space.origins[full_key] = origin
            problems.extend(_take(space, key, spec, _below(place, path)))
    return space, problems


def _below(place: Place, path: tuple[str, ...]) -> Place:
    return lambda rest: place((*path, *rest))


def _take(space: DraftSpace, key: str, spec: Mapping[str, Any], place: Place) -> Iterator[Problem]:
    """Put the parts of one parameter into the space, `min` and `max` by their other names."""
    for name, value in spec.items():
        part = fields.SPEC_SYNONYMS.get(name, name)
        full_key, origin = f"{fields.SPACE}.{key}.{name}", place((name,))
        if part not in fields.SPEC_NAMES:
            yield problem_at(origin, fields.unknown(name, fields.SPEC_NAMES), full_key)
        elif part != name and part in spec:
            yield problem_at(origin, f"{part} and {name} mean the same; give one", full_key)
        else:
            space.put_part(key, part, value, origin)
            for index in range(len(value) if isinstance(value, list) else 0):
                item = f"{fields.SPACE}.{key}.{part}.{index}"
                space.origins[item] = place((name, str(index)))


def _take_text(space: DraftSpace, key: str, text: str, origin: Origin) -> Iterator[Problem]:
    """Put a parameter into the space that is written as on the command line."""
    parsed, problems = overrides.parse([f"{key}={text}"])
    for problem in problems:
        yield problem_at(origin, problem.message, f"{fields.SPACE}.{key}")
    for one in parsed:
        if one.kind == "sweep":
            space.put(key, one.value, origin)
        else:
            message = (
                f"expected {{type: int, …}} or a sweep such as range(1,5), not {describe(text)}"
            )
            yield problem_at(origin, message, f"{fields.SPACE}.{key}")


def _parameters(
    values: Mapping[str, Any], layout: Layout, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """Yield path, dotted key and specification of each parameter; empty sections have none."""
    sections = {key.partition(".")[0] for key in layout.tunable}
    for name, value in values.items():
        here = (*path, name)
        key = ".".join(here[1:])
        if isinstance(value, Mapping) and value and not _is_spec(key, layout, value):
            yield from _parameters(value, layout, here)
        elif key not in sections or value:
            yield here, key, value


def _is_spec(key: str, layout: Layout, value: Mapping[str, Any]) -> bool:
    """Return whether a mapping is a parameter rather than a section of parameters.

    `model` has a field `type`, so a `type` that is a mapping is that field's parameter.
    """
    marks = ("type", "choices", *fields.SPEC_SYNONYMS, *fields.SPEC_SYNONYMS.values())
    if key in layout.tunable:
        return True
    return any(mark in value and not isinstance(value[mark], Mapping) for mark in marks)


def read_base(values: object, place: Place) -> tuple[dict[str, Any], Place, list[Problem]]:
    """Take what `base_params` says, its dotted keys nested.

    Args:
        values: A mapping, nested or dotted, or None.
        place: Where a path that starts with `base_params` was written.

    Returns:
        Nested values, where a path of them was written, and the problems.
    """
    nested: dict[str, Any] = {}
    paths: dict[tuple[str, ...], tuple[str, ...]] = {}
    problems: list[Problem] = []
    top = (fields.BASE,)

    def place_nested(path: tuple[str, ...]) -> Origin:
        return place(paths.get(path, (fields.BASE, *path)))

    if values is None:
        return nested, place_nested, problems
    if not isinstance(values, Mapping):
        message = f"expected a mapping of values, not {describe(values)}"
        return nested, place_nested, [problem_at(place(top), message, fields.BASE)]
    for path, parts, value in _entries(values, top, ()):
        here = nested
        for part in parts[:-1]:
            inner = here.setdefault(part, {})
            here = inner if isinstance(inner, dict) else {}
        if parts[-1] in here:
            key = f"{fields.BASE}.{'.'.join(parts)}"
            problems.append(problem_at(place(path), "duplicate key, given dotted and nested", key))
        here[parts[-1]] = value
        for depth in range(1, len(parts) + 1):
            paths.setdefault(tuple(parts[:depth]), path)
    return nested, place_nested, problems


def _entries(
    values: Mapping[str, Any], path: tuple[str, ...], parts: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], Any]]:
    """Yield the path as written, the path as meant, and the value of each entry."""
    for name, value in values.items():
        here, meant = (*path, name), (*parts, *name.split("."))
        if isinstance(value, Mapping) and value:
            yield from _entries(value, here, meant)
        else:
            yield here, meant, value
