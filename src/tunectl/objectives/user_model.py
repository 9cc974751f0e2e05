"""The pydantic model with which a function types its configuration: what a run has beside it."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AliasChoices, AliasPath, BaseModel, RootModel, ValidationError
from pydantic.fields import FieldInfo

from tunectl.config.wording import findings
from tunectl.errors import ObjectiveError, Problem
from tunectl.objectives.trial import Trial


def config_model(function: Any) -> type[BaseModel] | None:
    """Return the model that types a function's configuration: `def run(trial: Trial[Config])`.

    Raises:
        ObjectiveError: the annotation cannot be read.
    """
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        hints = typing.get_type_hints(target)
    except Exception as error:
        raise ObjectiveError(f"its annotations cannot be read: {error}") from error
    for hint in (part for one in hints.values() for part in _parts(one)):
        arguments = typing.get_args(hint)
        if typing.get_origin(hint) is Trial and isinstance(arguments[0], type):
            if issubclass(arguments[0], BaseModel):
                return arguments[0]
            raise ObjectiveError(f"{arguments[0].__name__} of Trial[…] is no pydantic model")
    return None


def misfits(model: type[BaseModel], plain: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what of a run's sections a model does not take.

    Args:
        model: The model.
        plain: The sections.
    """
    yield from _unknown(model, plain, "")
    try:
        model.model_validate(plain)
    except ValidationError as error:
        for finding in findings(error):
            yield Problem(key=finding.key or "objective", message=finding.message)


def _unknown(hint: Any, value: Any, path: str) -> list[Problem]:
    """Return the keys that no field is there for, which pydantic would pass over.

    Where a value may be one of several, it is taken for the one that it fits best.
    """
    found = [_unknown_in(part, value, path) for part in _parts(hint)]
    fitting = [one for one in found if one is not None]
    return min(fitting, key=len, default=[])


def _unknown_in(hint: Any, value: Any, path: str) -> list[Problem] | None:
    """Return the keys without a field below one hint; None if the value can be nothing such."""
    kind, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if not isinstance(kind, type):
        return [] if kind is Any else None
    if issubclass(kind, RootModel):
        return _unknown(kind.model_fields["root"].annotation, value, path)
    if isinstance(value, Mapping):
        if issubclass(kind, BaseModel):
            return list(_unknown_to(kind, value, path))
        if issubclass(kind, Mapping):
            inner = arguments[1] if len(arguments) == 2 else Any
            return _all((_unknown(inner, item, f"{path}{key}.") for key, item in value.items()))
        return [] if kind is object else None
    if isinstance(value, list) and issubclass(kind, (Sequence, set, frozenset)):
        each = arguments or (Any,)
        if kind is tuple and len(each) > 1 and each[-1] is not Ellipsis:
            hints: Sequence[Any] = each
        else:
            hints = [each[0]] * len(value)
        pairs = enumerate(zip(hints, value, strict=False))
        return _all((_unknown(one, item, f"{path}{place}.") for place, (one, item) in pairs))
    return None


def _unknown_to(model: type[BaseModel], values: Mapping[str, Any], path: str) -> Iterator[Problem]:
    fields = dict(_names(model))
    lets_pass = model.model_config.get("extra") in ("allow", "forbid")
    for name, value in values.items():
        info = fields.get(name)
        if info is not None:
            yield from _unknown(info.annotation, value, f"{path}{name}.")
        elif not lets_pass:
            valid = ", ".join(fields)
            yield Problem(key=f"{path}{name}", message=f"unknown key; valid here: {valid}")


def _names(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """Yield what a model's fields may be called in a file, aliases among it."""
    config = model.model_config
    by_name = bool(config.get("populate_by_name") or config.get("validate_by_name"))
    by_alias = config.get("validate_by_alias", True)
    for name, info in model.model_fields.items():
        alias = info.validation_alias if by_alias else None
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias] if alias else []
        for choice in choices:
            yield str(choice.path[0]) if isinstance(choice, AliasPath) else choice, info
        if by_name or not choices:
            yield name, info


def _parts(hint: Any) -> Iterator[Any]:
    """Yield what a hint allows, one after another: `A | None` is two."""
    if hasattr(hint, "__value__"):  # a name for a type
        yield from _parts(hint.__value__)
    elif typing.get_origin(hint) is Annotated:
        yield from _parts(typing.get_args(hint)[0])
    elif typing.get_origin(hint) in (typing.Union, types.UnionType):
        for part in typing.get_args(hint):
            yield from _parts(part)
    else:
        yield hint


def _all(found: Iterator[list[Problem]]) -> list[Problem]:
    return [problem for problems in found for problem in problems]
