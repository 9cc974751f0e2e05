"""Samplers and pruners by name: find the class, check its arguments, say what is valid.

What samplers and pruners have in common; which ones there are stands in `samplers.py` and
`pruners.py`. An argument may itself be a component, as the pruner is that `PatientPruner` wraps.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
from optuna.exceptions import ExperimentalWarning
from pydantic import ValidationError

from tunectl.config.search_schema import Component
from tunectl.errors import ConfigError, Problem
from tunectl.search.arguments import fitting

NESTED_FORM = "{name: …, kwargs: {…}} or null"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of component: which classes there are, and what their arguments may be.

    Args:
        known: The classes that a name without dots may mean.
        base: What a class found by dotted path must be derived from.
        parts: Argument → the kind of component that it is itself.
        refused: Argument → why the user may not set it.
        at_least: (class, argument) → the least value, where the class would notice too late.
        needs: Class → packages that it imports only when it is used.
    """

    known: Mapping[str, type]
    base: type
    parts: Mapping[str, Kind] = field(default_factory=dict, repr=False)
    refused: Mapping[str, str] = field(default_factory=dict)
    at_least: Mapping[tuple[str, str], float] = field(default_factory=dict)
    needs: Mapping[str, Collection[str]] = field(default_factory=dict)


Supply = Callable[[str], Mapping[str, Any]]


def make_component(
    component: Component,
    kind: Kind,
    allow: Collection[str],
    key: str,
    supply: Supply = lambda _: {},
) -> Any:
    """Make what a component names, and the components among its arguments first.

    Args:
        component: Name and arguments as configured.
        kind: What it has to be.
        allow: Top packages that dotted names may come from.
        key: The component's configuration key, for messages.
        supply: Name of a component → arguments that we give it, unless the user does; those that
            its class does not have are left out.

    Raises:
        ConfigError: with everything that is wrong with its name or its arguments.
    """
    cls = find_class(component.name, kind, allow, key)
    parameters = inspect.signature(cls).parameters
    problems = _unknown_arguments(component, kind, parameters, key)
    arguments: dict[str, Any] = {}
    for name, value in component.kwargs.items():
        place = f"{key}.kwargs.{name}"
        if any(problem.key == place for problem in problems):
            continue
        try:
            arguments[name] = (
                _argument(component.name, name, value, kind, parameters)
                if (name not in kind.parts or value is None)
                else make_component(_nested(value, place), kind.parts[name], allow, place, supply)
            )
        except ValueError as error:
            problems.append(Problem(key=place, message=str(error)))
        except ConfigError as error:
            problems += error.problems
    given = {name: value for name, value in supply(component.name).items() if name in parameters}
    arguments = {**given, **arguments}
    problems += _missing(component, kind, parameters, {*arguments, *component.kwargs}, key)
    if problems:
        raise ConfigError(problems)
    return _call(cls, component, arguments, key)


def find_class(name: str, kind: Kind, allow: Collection[str], key: str) -> type:
    """Return the class that a component names.

    Raises:
        ConfigError: no such class, its package is not allowed, or what it needs is not installed.
    """
    place = f"{key}.name"
    if name in kind.known:
        absent = [package for package in kind.needs.get(name, ()) if find_spec(package) is None]
        if absent:
            what = " ".join(absent)
            raise _error(place, f"{name} needs {what}, not installed here: pip install {what}")
        return kind.known[name]
    if "." not in name:
        raise _error(place, unknown_name(name, kind.known))
    module_name, _, class_name = name.rpartition(".")
    package = module_name.partition(".")[0]
    if package not in allow:
        raise _error(
            place,
            f"{name} is foreign code; to allow it, list {package} under plugins.allow "
            "in config.yaml",
        )
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise _error(place, f"cannot import {name}: {error}") from error
    if not (inspect.isclass(found) and issubclass(found, kind.base)):
        raise _error(place, f"{name} is not a {kind.base.__name__}")
    return found


def unknown_name(name: str, known: Collection[str]) -> str:
    """Say that a name is unknown, which one may be meant, and what is valid."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown name {name!r}; {hint}valid: {', '.join(sorted(known))}"


def _unknown_arguments(
    component: Component, kind: Kind, parameters: Mapping[str, inspect.Parameter], key: str
) -> list[Problem]:
    """Return the arguments that there are not, or that the user may not set."""
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    valid = [name for name in parameters if name not in kind.refused]
    problems = []
    for name in component.kwargs:
        # A class of someone else's may mean something else by the name; only a seed is a seed.
        refused = kind.refused.get(name) if component.name in kind.known or name == "seed" else None
        if refused and name in parameters:
            problems.append(Problem(key=f"{key}.kwargs.{name}", message=refused))
        elif name not in parameters and not open_ended:
            hint = unknown_name(name, valid) if valid else "it takes none"
            message = f"{component.name} has no such argument; {hint}"
            problems.append(Problem(key=f"{key}.kwargs.{name}", message=message))
    return problems


def _argument(
    owner: str, name: str, value: Any, kind: Kind, parameters: Mapping[str, inspect.Parameter]
) -> Any:
    """Return an argument's value as its class wants it; raise ValueError if it cannot be one."""
    if name not in parameters:
        return value  # it goes into the class's **kwargs
    annotation = parameters[name].annotation
    if annotation is not inspect.Parameter.empty and name not in kind.parts:
        flaw = fitting(inspect.formatannotation(annotation), value, foreign=owner not in kind.known)
        if flaw:
            raise ValueError(flaw)
        if isinstance(value, list) and "ndarray" in str(annotation):
            return np.asarray(value, dtype=float)
    least = kind.at_least.get((owner, name))
    if least is not None and isinstance(value, int | float) and value < least:
        raise ValueError(f"must be at least {least:g}, not {value:g}")
    return value


def _nested(value: Any, key: str) -> Component:
    """Return an argument that is a component itself."""
    if not isinstance(value, Mapping):
        raise ValueError(f"must be {NESTED_FORM}, not {value!r}")
    try:
        return Component.model_validate(dict(value))
    except ValidationError as error:
        problems = [
            Problem(
                key=".".join([key, *(str(part) for part in one["loc"])]),
                message=f"{one['msg']}; it must be {NESTED_FORM}",
            )
            for one in error.errors()
        ]
        raise ConfigError(problems) from error


def _missing(
    component: Component,
    kind: Kind,
    parameters: Mapping[str, inspect.Parameter],
    given: Collection[str],
    key: str,
) -> list[Problem]:
    """Return the arguments that the class cannot do without."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        Problem(
            key=f"{key}.kwargs",
            message=f"{component.name} needs {name}"
            + (f": {NESTED_FORM}" if name in kind.parts else ""),
        )
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind not in variadic
        and name not in given
    ]


def _call(cls: type, component: Component, arguments: Mapping[str, Any], key: str) -> Any:
    """Make the instance; what the class says of its arguments becomes a problem."""
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            made = cls(**arguments)
    except (TypeError, ValueError, ArithmeticError, AssertionError) as error:
        raise _error(f"{key}.kwargs", f"{component.name}: {error}") from error
    except ImportError as error:
        raise _error(f"{key}.name", f"{component.name} needs a package: {error}") from error
    for warning in said:
        _judge(warning, component, key)
    return made


def _judge(warning: warnings.WarningMessage, component: Component, key: str) -> None:
    """Refuse what is to go, forget what is experimental, and pass on every other warning."""
    text = str(warning.message)
    outdated = [name for name in component.kwargs if f"`{name}`" in text]
    if issubclass(warning.category, FutureWarning) and outdated:
        reason = text.partition(" See ")[0]
        raise _error(f"{key}.kwargs.{outdated[0]}", f"leave it out: {reason}")
    # Whoever names a class or an argument has chosen it; the documentation says which may change.
    if not issubclass(warning.category, ExperimentalWarning):
        warnings.warn_explicit(
            text, warning.category, filename=warning.filename, lineno=warning.lineno
        )


def _error(key: str, message: str) -> ConfigError:
    return ConfigError([Problem(key=key, message=message)])
