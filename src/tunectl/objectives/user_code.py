"""The user's own code: found by `module:function`, and imported from nowhere else.

A module of the project folder is taken before an installed one of the same name; one that would
hide a module of Python's or of a package in use is refused. Nothing else is imported than what the
name says, and what that code imports itself.
"""

from __future__ import annotations

import importlib
import importlib.abc
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from tunectl.errors import ObjectiveError

_NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


def load_function(name: str, project: Path) -> Callable[[Any], Any]:
    """Return the function that an objective names.

    Args:
        name: `module:function`, the module dotted where it is inside of a package.
        project: Absolute path of the project folder.

    Raises:
        ObjectiveError: there is none such, or its module cannot be imported; says why and where.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise ObjectiveError(f"{name!r} is not of the form module:function, as in train:run")
    module = _import(found[1], project)
    function = getattr(module, found[2], None)
    if function is None:
        names = [key for key, value in vars(module).items() if _is_own(key, value, module)]
        there = f"; it has {', '.join(sorted(names))}" if names else ""
        raise ObjectiveError(f"{_shown(module, project)} has no {found[2]}{there}")
    if not callable(function):
        raise ObjectiveError(f"{found[2]} of {_shown(module, project)} is no function")
    return function  # type: ignore[no-any-return]


def _import(name: str, project: Path) -> ModuleType:
    top = name.partition(".")[0]
    spec = PathFinder.find_spec(top, [str(project)])
    if spec is not None and _holds(spec, name):
        _refuse_hiding(spec, project)
        _let_be_found(top, project)
    try:
        module = importlib.import_module(name)
        _mark_as_of(project, top)
        return module
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise ObjectiveError(
                f"there is no module {error.name}, neither in {project} nor installed"
            ) from error
        raise ObjectiveError(_why_not(name, project, error)) from error
    except (Exception, SystemExit) as error:  # whatever the user's own code does
        raise ObjectiveError(_why_not(name, project, error)) from error


def _holds(spec: ModuleSpec, name: str) -> bool:
    """Whether a module is found at `spec`, and is no mere folder of the name of another one."""
    if spec.origin is not None:
        return True
    places = list(spec.submodule_search_locations or ())
    for part in name.split(".")[1:]:
        inner = PathFinder.find_spec(part, places)
        if inner is None:
            return False
        if inner.origin is not None:
            return True
        places = list(inner.submodule_search_locations or ())
    return False


def _refuse_hiding(spec: ModuleSpec, project: Path) -> None:
    """Refuse a module of the project that has the name of one which others need.

    Raises:
        ObjectiveError: it has.
    """
    top = spec.name
    if top in sys.stdlib_module_names:
        raise ObjectiveError(f"{top} is a module of Python's own; rename the one in {project}")
    loaded = sys.modules.get(top)
    if loaded is None or _place(loaded.__spec__) == _place(spec):
        return
    if getattr(loaded, "__tunectl_project__", None) is not None:
        for other in [key for key in sys.modules if key == top or key.startswith(f"{top}.")]:
            del sys.modules[other]  # another project's, which this process has run before
        return
    raise ObjectiveError(f"{top} is an installed package that is in use; rename it in {project}")


def _let_be_found(top: str, project: Path) -> None:
    """Let a module of the project be imported, before an installed one of its name."""
    finder = _Finder(top, str(project))
    sys.meta_path[:] = [
        one for one in sys.meta_path if not (isinstance(one, _Finder) and one.top == top)
    ]
    sys.meta_path.insert(0, finder)
    if str(project) not in sys.path:
        sys.path.append(str(project))  # last: what it imports beside itself hides nothing


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one top-level module in the project folder.

    Args:
        top: Its name.
        folder: Where it is.
    """

    def __init__(self, top: str, folder: str) -> None:
        self.top = top
        self._folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where the module is, None for any other."""
        if fullname != self.top or path is not None:
            return None
        return PathFinder.find_spec(fullname, [self._folder], target)


def _mark_as_of(project: Path, name: str) -> None:
    """Remember that a top-level module is a project's, so that another's may take its place."""
    top = sys.modules.get(name)
    if top is not None and _is_in(top, project):
        top.__tunectl_project__ = str(project)  # type: ignore[attr-defined]


def _place(spec: ModuleSpec | None) -> object:
    """Return where a module is: its file, or the folders of a package without one."""
    if spec is None:
        return None
    return spec.origin or list(spec.submodule_search_locations or ())


def _is_in(module: ModuleType, project: Path) -> bool:
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
    return any(
        place and Path(place).resolve().is_relative_to(project.resolve()) for place in places
    )


def _is_own(key: str, value: Any, module: ModuleType) -> bool:
    own = getattr(value, "__module__", None) == module.__name__
    return own and callable(value) and not isinstance(value, type) and not key.startswith("_")


def _shown(module: ModuleType, project: Path) -> str:
    file = getattr(module, "__file__", None)
    if file is None:
        return f"module {module.__name__}"
    path = Path(file)
    return str(path.relative_to(project)) if path.is_relative_to(project) else str(path)


def _why_not(name: str, project: Path, error: BaseException) -> str:
    # The text of a SyntaxError has its place already.
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return f"module {name} cannot be imported: {what}{place_of(error, project)}"


def place_of(error: BaseException, project: Path) -> str:
    """Return where in the project's own code an error was raised, as ` (file, line n)`."""
    if isinstance(error, SyntaxError) and error.filename:
        frames = [(error.filename, error.lineno or 0)]
    else:
        frames = [
            (one.filename, one.lineno or 0) for one in traceback.extract_tb(error.__traceback__)
        ]
    root = project.resolve()
    for file, line in reversed(frames):
        path = Path(file)
        if path.is_absolute() and path.resolve().is_relative_to(root):
            return f" ({path.resolve().relative_to(root)}, line {line})"
    return ""
