"""Which keys a configuration may have: read off the schema, for the run that its objective makes.

What may stand in `params.yaml` depends on the objective that it names; what may stand in the other
two files does not. This module knows no values: neither files nor what stands in them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from types import NoneType
from typing import get_args

from pydantic.fields import FieldInfo

from tunectl.config import fields
from tunectl.config.run import RESERVED, Run
from tunectl.config.runs import run_model
from tunectl.config.schema import Surroundings
from tunectl.config.search_schema import Search
from tunectl.config.section import Section


@dataclass(frozen=True)
class Layout:
    """The keys of the three files.

    Args:
        run: The model of `params.yaml`.
    """

    run: type[Run]

    @cached_property
    def models(self) -> tuple[type[Section], ...]:
        """The models of the three files."""
        return (Surroundings, self.run, Search)

    @cached_property
    def is_open(self) -> bool:
        """Whether `params.yaml` may have keys of the user's own."""
        return self.run.model_config.get("extra") == "allow"

    @cached_property
    def leaves(self) -> Mapping[str, FieldInfo]:
        """The known fields with a value of all three files, by dotted key."""
        return {key: info for model in self.models for key, info in fields.leaves(model).items()}

    @cached_property
    def tunable(self) -> Mapping[str, FieldInfo]:
        """The known fields that a search may propose: those of a training run's sections."""
        return {
            key: info
            for key, info in fields.leaves(self.run).items()
            # A file is read with the configuration, before there are trials.
            if "." in key and not key.startswith("objective.") and key != "augmentation.file"
        }

    def tunable_at(self, key: str) -> FieldInfo | None:
        """Return the field that a search may propose under a dotted key, None if there is none."""
        found = self.tunable.get(key)
        if found is None and self.is_open and all(key.split(".")):
            top = key.partition(".")[0]
            is_taken = top in self.known_tops or top in RESERVED
            return None if is_taken else fields.ANYTHING
        return found

    @cached_property
    def known_tops(self) -> frozenset[str]:
        """Top-level keys that the schema knows."""
        return frozenset(name for model in self.models for name in model.model_fields)

    def model_of(self, name: str) -> type[Section] | None:
        """Return the model of the file that a top-level key belongs to."""
        found = next((model for model in self.models if name in model.model_fields), None)
        return self.run if found is None and self.is_open else found

    def file_of(self, name: str) -> str | None:
        """Return the usual name of the file that a known top-level key belongs to."""
        if name == fields.BASE:
            return "optuna_params.yaml"
        names = dict(
            zip(self.models, ("config.yaml", "params.yaml", "optuna_params.yaml"), strict=True)
        )
        return next((names[model] for model in self.models if name in model.model_fields), None)

    def top_names(self) -> list[str]:
        """Return every known top-level key of the three files."""
        return [name for model in self.models for name in model.model_fields] + [fields.BASE]

    def field_at(self, parts: Sequence[str]) -> FieldInfo | None:
        """Return the section or value at a path of the three files, None if there is none."""
        info: FieldInfo | None = None
        section = self.model_of(parts[0])
        for part in parts:
            if info is not None and fields.is_open(info):
                return info
            info = fields.child(section, part) if section is not None else None
            if info is None:
                return None
            section = fields.section_type(info)
        return info

    def leaf_at(self, key: str) -> FieldInfo | None:
        """Return the field that a dotted key, or an item of its list, belongs to."""
        return self.leaves.get(key) or self.leaves.get(key.rpartition(".")[0])

    def is_nullable(self, key: str) -> bool:
        """Return whether the value at a dotted key may be null."""
        info = self.leaves.get(key)
        return info is not None and NoneType in get_args(info.annotation)

    def limits_of(self, key: str) -> tuple[float, float]:
        """Return the least and the largest number that may stand at a dotted key.

        Returns:
            Infinite where the schema sets none. Whether the limit itself is valid is left open.
        """
        info = self.leaves.get(key)
        least, most = -math.inf, math.inf
        for rule in info.metadata if info is not None else ():
            least = max(least, getattr(rule, "ge", least), getattr(rule, "gt", least))
            most = min(most, getattr(rule, "le", most), getattr(rule, "lt", most))
        return least, most

    def unknown_at(self, parts: Sequence[str]) -> str:
        """Return the sentence for an unknown key: the names of the section that it stops in."""
        model = self.model_of(parts[0])
        if model is None:
            return fields.unknown(".".join(parts), self.top_names(), self.leaves)
        section: type[Section] = model
        for depth, part in enumerate(parts):
            info = section.model_fields.get(part)
            inner = fields.section_type(info) if info is not None else None
            if inner is None:
                return fields.unknown(".".join(parts[depth:]), section.model_fields, self.leaves)
            section = inner
        return fields.unknown(parts[-1], section.model_fields, self.leaves)

    def unknown_tunable(self, key: str) -> str:
        """Return the sentence for a parameter of no such key: the names near it, or sections."""
        section = key.partition(".")[0]
        same = [name for name in self.tunable if name.startswith(f"{section}.")]
        sections = dict.fromkeys(f"{name.partition('.')[0]}.…" for name in self.tunable)
        return fields.unknown(key, same or sections, self.tunable)


@cache
def layout_for(run: type[Run]) -> Layout:
    """Return the layout of a run's model."""
    return Layout(run)


def layout_of(objective: object) -> Layout:
    """Return the layout for what `objective` says, whether that makes sense or not."""
    return layout_for(run_model(objective))
