"""Samplers and pruners by name: find the class, check its arguments, say what is valid.

What samplers and pruners have in common; which ones there are stands in `samplers.py` and
`pruners.py`.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Collection, Mapping
from typing import Any

from tunectl.config.schema import Component
from tunectl.errors import ConfigError, Problem


def find_class(
    component: Component, known: Mapping[str, type], base: type, allow: Collection[str], key: str
) -> type:
    """Return the class that a component names.

    Args:
        component: Name and arguments as configured.
        known: Optuna's own classes by name.
        base: What a class found by dotted path must be derived from.
        allow: Top packages that dotted paths may come from.
        key: The component's configuration key, for messages.

    Raises:
        ConfigError: no such class, or its package is not allowed.
    """
    if component.name in known:
        return known[component.name]
    if "." not in component.name:
        raise _error(f"{key}.name", _unknown(component.name, known))
    module_name, _, class_name = component.name.rpartition(".")
    package = module_name.partition(".")[0]
    if package not in allow:
        raise _error(
            f"{key}.name",
            f"{component.name} is foreign code; to allow it, list {package} under plugins.allow "
            "in config.yaml",
        )
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise _error(f"{key}.name", f"cannot import {component.name}: {error}") from error
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise _error(f"{key}.name", f"{component.name} is not a {base.__name__}")
    return found


def build(
    cls: type, component: Component, given: Mapping[str, Any], key: str, refused: Mapping[str, str]
) -> Any:
    """Make an instance of a component's class.

    Args:
        cls: The class found for it.
        component: Name and arguments as configured.
        given: Arguments that we supply; only those that the class has are passed on.
        key: The component's configuration key, for messages.
        refused: Argument → why the user may not set it.

    Raises:
        ConfigError: an argument does not exist, may not be set or is refused by the class.
    """
    parameters = inspect.signature(cls).parameters
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    problems = []
    for name in component.kwargs:
        if name in refused:
            problems.append(Problem(key=f"{key}.kwargs.{name}", message=refused[name]))
        elif name not in parameters and not open_ended:
            message = f"{component.name} has no such argument; {_unknown(name, parameters)}"
            problems.append(Problem(key=f"{key}.kwargs.{name}", message=message))
    if problems:
        raise ConfigError(problems)
    supplied = {name: value for name, value in given.items() if name in parameters}
    try:
        return cls(**{**supplied, **component.kwargs})
    except (TypeError, ValueError) as error:
        raise _error(f"{key}.kwargs", f"{component.name}: {error}") from error
    except ImportError as error:
        raise _error(f"{key}.name", f"{component.name} needs a package: {error}") from error


def _unknown(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown name {name!r}; {hint}valid: {', '.join(sorted(known))}"


def _error(key: str, message: str) -> ConfigError:
    return ConfigError([Problem(key=key, message=message)])
