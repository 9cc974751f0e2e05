"""What can be said of a command before it runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tunectl.config.run import Command, CommandRun
from tunectl.config.search_schema import Search
from tunectl.errors import Problem
from tunectl.objectives.command.environment import variable_of
from tunectl.objectives.command.template import OWN, fill_in, meant_by, names_in, text_of

COMMAND = "objective.command"


def texts_of(objective: Command) -> list[str]:
    """Return every text that values are put into."""
    return [*objective.command, *(text_of(value) for value in objective.env.values())]


def find_problems(run: CommandRun, project: Path) -> list[Problem]:
    """Return why the program cannot be started, empty if it can.

    Args:
        run: Its run.
        project: The project folder, where it runs.
    """
    values = {**run.values(), "project": str(project)}
    name = fill_in(run.objective.command[0], values)
    path = fill_in(text_of(run.objective.env.get("PATH", os.environ.get("PATH", ""))), values)
    if any(one in OWN for one in names_in([name, "" if "/" in name else path])):
        return []  # what stands there is known when a trial begins
    message = _why_not(name, project, path)
    return [] if message is None else [Problem(key=COMMAND, message=message)]


def replaced(run: CommandRun, search: Search) -> Sequence[str]:
    """Return what braces name that will be replaced, each once, in order."""
    known = _known(run, search)
    return list(dict.fromkeys(one for one in names_in(texts_of(run.objective)) if one in known))


def find_remarks(run: CommandRun, search: Search) -> Iterator[Problem]:
    """Yield what is probably not meant."""
    known, values = _known(run, search), run.values()
    for name in dict.fromkeys(names_in(texts_of(run.objective))):
        meant = meant_by(name, known)
        spec = search.params_to_tune.get(name)
        if meant is not None:
            message = f"{{{name}}} names no value and stays as it is; did you mean {{{meant}}}?"
            yield Problem(key=COMMAND, message=message)
        elif spec is not None and spec.when and name not in values:
            message = (
                f"{{{name}}} is not proposed in every trial and stays as it is where it is not; "
                "give it a value in params.yaml"
            )
            yield Problem(key=COMMAND, message=message)
    yield from _shared_variables([*values, *search.params_to_tune])
    yield from _shared_pattern(run.objective, search.study.metric)


def _known(run: CommandRun, search: Search) -> list[str]:
    return list(dict.fromkeys((*run.values(), *search.params_to_tune, *OWN)))


def _shared_variables(keys: Sequence[str]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for key in dict.fromkeys(keys):
        other = first.setdefault(variable_of(key), key)
        if other != key:
            message = f"has the environment variable of {other}, {variable_of(key)}"
            yield Problem(key=key, message=message)


def _shared_pattern(objective: Command, metrics: Sequence[str]) -> Iterator[Problem]:
    pattern = objective.metric.pattern
    if len(metrics) > 1 and pattern is not None and "{metric}" not in pattern:
        message = "finds the same number for every metric; {metric} in it stands for the name"
        yield Problem(key="objective.metric.pattern", message=message)


def _why_not(name: str, project: Path, path: str) -> str | None:
    """Return why a program cannot be started, None if it can; `path` is its PATH."""
    if "/" not in name:
        places = os.pathsep.join(str(project / place) for place in path.split(os.pathsep))
        if shutil.which(name, path=places) is not None:
            return None
        if (project / name).is_file():
            return f"{name} is not in the PATH; for the file in the project write ./{name}"
        return f"there is no program {name} in the PATH"
    file = project / name
    if not file.exists():
        return f"there is no {name}; a relative path begins at the project folder"
    if not file.is_file():
        return f"{name} is no file"
    if not os.access(file, os.X_OK):
        return f"{name} may not be executed; allow it with: chmod +x {name}"
    return _why_not_interpreted(name, file)


def _why_not_interpreted(name: str, path: Path) -> str | None:
    """Return what is wrong with the first line of a script, None for any other program."""
    try:
        with path.open("rb") as file:
            first = file.readline(256)
    except OSError:  # it may be executed and not read
        return None
    if not first.startswith(b"#!"):
        return None
    line = first[2:].decode("utf-8", "backslashreplace").rstrip("\n")
    if line.endswith("\r"):
        return f"{name} has the ends of line of Windows; its first line asks for {line!r}"
    interpreter = line.split()[0] if line.split() else ""
    if not (path.parent / interpreter).is_file():
        return f"{name} asks in its first line for {interpreter!r}, which is not there"
    return None
