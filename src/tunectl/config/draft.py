"""What was written, source by source, before it is merged and checked as a whole.

Overrides are applied here: a value takes a parameter out of the search space, a sweep puts it in,
and `~` forgets whatever was written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tunectl.config import fields
from tunectl.config.layer import Layer, accept, entries, forget
from tunectl.config.layout import Layout
from tunectl.config.origin import Origin, problem_at
from tunectl.config.overrides import Override
from tunectl.config.schema import Surroundings
from tunectl.config.search_schema import Search
from tunectl.config.section import Section
from tunectl.config.space_source import DraftSpace, read_base, read_space
from tunectl.config.yaml_source import Document
from tunectl.errors import Problem


@dataclass(kw_only=True)
class Draft:
    """The configuration while it is being put together; later layers go before earlier ones.

    Args:
        layout: Which keys there may be.
    """

    layout: Layout
    config: Layer = field(default_factory=Layer)
    study: Layer = field(default_factory=Layer)
    included: Layer = field(default_factory=Layer)
    base: Layer = field(default_factory=Layer)
    params: Layer = field(default_factory=Layer)
    overrides: Layer = field(default_factory=Layer)
    space: DraftSpace = field(default_factory=DraftSpace)
    problems: list[Problem] = field(default_factory=list)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers, the weakest first."""
        return (
            self.config, self.study, self.included, self.base, self.params, self.overrides
        )  # fmt: skip

    @property
    def origins(self) -> dict[str, Origin]:
        """Where each value that counts was written, by dotted key."""
        merged: dict[str, Origin] = {}
        for layer in self.layers:
            for key in layer.origins:
                info = self.layout.leaves.get(key)
                if info is not None and not fields.is_open(info):
                    forget(merged, key)  # the items of a list that no longer counts
            merged.update(layer.origins)
        return {**merged, **self.space.origins}

    def take_config(self, document: Document, name: str) -> None:
        """Take `config.yaml`."""
        self.config = self._accepted(document, name, Surroundings)

    def take_params(self, document: Document, name: str) -> None:
        """Take `params.yaml`."""
        self.params = self._accepted(document, name, self.layout.run)

    def take_optuna_params(self, document: Document, name: str) -> None:
        """Take `optuna_params.yaml`."""
        own = (fields.SPACE, fields.BASE)
        rest = {key: value for key, value in document.values.items() if key not in own}
        self.study = self._accepted(replace(document, values=rest), name, Search)

        def place(path: tuple[str, ...]) -> Origin:
            return _place(document, name, path)

        self.space, problems = read_space(document.values.get(fields.SPACE), self.layout, place)
        self.problems.extend(problems)
        values, place_nested, problems = read_base(document.values.get(fields.BASE), place)
        self.problems.extend(problems)
        self.base, problems = accept(
            values, self.layout.run, self.layout, place_nested, prefix=f"{fields.BASE}."
        )
        self.problems.extend(problems)

    def _accepted(self, document: Document, name: str, model: type[Section]) -> Layer:
        layer, problems = accept(
            document.values, model, self.layout, lambda path: _place(document, name, path)
        )
        self.problems.extend([*document.problems, *problems])
        return layer

    def apply(self, override: Override) -> None:
        """Apply one override; what is wrong with its key becomes a problem."""
        top = override.parts[0]
        if top == fields.SPACE:
            self._apply_to_space(override)
        elif top == fields.BASE and override.kind != "sweep":
            self._apply_to_base(override)
        elif self.layout.model_of(top) is None:
            message = self.layout.unknown_at(override.parts)
            self.problems.append(problem_at(override.origin, message, override.key, "unknown_key"))
        elif override.kind == "delete":
            self._delete(override, override.parts)
        elif override.kind == "sweep":
            self._sweep(override, override.key)
        else:
            self._set(override)

    def _set(self, override: Override) -> None:
        model = self.layout.model_of(override.parts[0])
        assert model is not None
        info = self.layout.field_at(override.parts)
        if override.value is None and info is not None and fields.holds_more(info):
            self._delete(override, override.parts)  # an empty section means the defaults
            return
        nested = _nested(override.parts, override.value)
        layer, problems = accept(nested, model, self.layout, lambda _: override.origin)
        self.problems.extend(problems)
        for parts, value in entries(layer.values, model):
            self.overrides.put(parts, value, override.origin)
            self.space.fix(".".join(parts))

    def _sweep(self, override: Override, key: str) -> None:
        if self.layout.tunable_at(key) is not None:
            self.overrides.remove(key.split("."))
            self.space.put(key, override.value, override.origin)
        elif key in self.layout.leaves:
            sections = ", ".join(
                dict.fromkeys(name.partition(".")[0] for name in self.layout.tunable)
            )
            self._refuse(override, f"cannot be searched; only values of {sections} can")
        else:
            is_space = override.parts[0] == fields.SPACE
            unknown = (
                self.layout.unknown_tunable(key)
                if is_space
                else self.layout.unknown_at(override.parts)
            )
            self._refuse(override, unknown)

    def _delete(self, override: Override, parts: tuple[str, ...]) -> None:
        key = ".".join(parts)
        if self.layout.field_at(parts) is None:
            self._refuse(override, self.layout.unknown_at(parts))
            return
        for layer in self.layers:
            layer.remove(parts)
        for name in list(self.space.specs):
            if f"{name}.".startswith(f"{key}."):
                self.space.fix(name)

    def _apply_to_space(self, override: Override) -> None:
        key, rest = self._searched(override.parts[1:])
        if override.kind == "delete":
            self._delete_from_space(override)
        elif override.kind == "sweep" and (not rest or self.layout.is_open):
            self._sweep(override, ".".join(override.parts[1:]))
        elif self.layout.tunable_at(key) is None and override.parts[1:]:
            self._refuse(override, self.layout.unknown_tunable(key))
        elif override.kind == "set" and rest:
            part = fields.SPEC_SYNONYMS.get(rest[0], rest[0])
            if part not in fields.SPEC_NAMES or len(rest) > 1:
                self._refuse(override, fields.unknown(".".join(rest), fields.SPEC_NAMES))
                return
            self.space.put_part(key, part, override.value, override.origin)
        elif override.kind == "set":
            self._put_specs(override)
        else:
            self._refuse(override, "a parameter's own values cannot be searched")

    def _searched(self, parts: Sequence[str]) -> tuple[str, tuple[str, ...]]:
        """Split what stands below `params_to_tune` into a parameter's key and the rest."""
        usual = min(2, len(parts))
        lengths = (n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in self.space.specs)
        length = next(lengths, usual)
        return ".".join(parts[:length]), tuple(parts[length:])

    def _put_specs(self, override: Override) -> None:
        """Take `params_to_tune.model.hidden={…}` or a mapping of several parameters."""
        nested = _nested(override.parts[1:], override.value)
        drawn, problems = read_space(nested, self.layout, lambda _: override.origin)
        self.problems.extend(problems)
        for key, spec in drawn.specs.items():
            self.overrides.remove(key.split("."))
            self.space.put(key, spec, override.origin)

    def _delete_from_space(self, override: Override) -> None:
        key = ".".join(override.parts[1:])
        name, rest = self._searched(override.parts[1:])
        if rest and rest[0] in self.space.specs.get(name, {}):
            del self.space.specs[name][rest[0]]
            forget(self.space.origins, f"{fields.SPACE}.{name}.{rest[0]}")
            return
        inside = [name for name in self.space.specs if f"{name}.".startswith(f"{key}.") or not key]
        if key and not inside:
            self._refuse(override, fields.unknown(key, self.space.specs))
        for name in inside:
            self.space.fix(name)

    def _apply_to_base(self, override: Override) -> None:
        parts = override.parts[1:]
        if override.kind == "delete":
            for name in parts[:1] or list(self.base.values):
                self.base.remove((name, *parts[1:]))
            return
        values, place, problems = read_base(
            _nested(parts, override.value), lambda _: override.origin
        )
        layer, more = accept(values, self.layout.run, self.layout, place, prefix=f"{fields.BASE}.")
        self.problems.extend([*problems, *more])
        for path, value in entries(layer.values, self.layout.run):
            self.base.put(path, value, override.origin)

    def _refuse(self, override: Override, message: str) -> None:
        self.problems.append(problem_at(override.origin, message, override.key))


def _nested(parts: tuple[str, ...], value: Any) -> Any:
    """Return `value` as it would stand in a file, below the sections of its key."""
    for part in reversed(parts):
        value = {part: value}
    return value


def _place(document: Document, name: str, path: tuple[str, ...]) -> Origin:
    """Return where a path of a document was written: its own line, or that of what holds it."""
    for length in range(len(path), 0, -1):
        line = document.lines.get(path[:length])
        if line is not None:
            return Origin(kind="file", file=name, line=line)
    return Origin(kind="file", file=name)
