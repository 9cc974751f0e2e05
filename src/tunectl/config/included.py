"""What a configuration takes from a further file: the augmentation of images.

The file's values go into a layer of their own below what the other files say, and its name is
forgotten: what is stored with a study and with each trial then depends on no file any more.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tunectl.config.draft import Draft
from tunectl.config.layer import accept
from tunectl.config.origin import Origin, find_origin, problem_at
from tunectl.config.yaml_source import Document, read
from tunectl.errors import ConfigError, Problem

SECTION, NAME = "augmentation", "file"


def include_augmentation(draft: Draft, project: Path) -> list[str]:
    """Put what `augmentation.file` names into the draft, where the objective has such a key.

    Args:
        draft: Complete but for this; problems go to its problems.
        project: What the file's name is relative to.

    Returns:
        The names of the files that were read.
    """
    key = f"{SECTION}.{NAME}"
    if key not in draft.layout.leaves:
        return []
    origin = find_origin(draft.origins, key)
    named = _forget_name(draft)
    if named is None:
        return []
    if "${" in named:
        message = "takes a plain name, without ${…}"
        draft.problems.append(problem_at(origin, message, key))
        return []
    try:
        document = read(project / Path(named).expanduser(), name=named)
    except (ConfigError, RuntimeError) as error:  # the latter of expanduser
        draft.problems.extend(_unreadable(error, named, origin, key))
        return []
    _take(draft, document, named)
    return [named]


def own_keys(problem: Problem, files: list[str]) -> Problem:
    """Return a problem of an included file with the key as it stands in that file."""
    if problem.file not in files or problem.key is None:
        return problem
    return replace(problem, key=problem.key.removeprefix(f"{SECTION}."))


def _forget_name(draft: Draft) -> str | None:
    """Return the name that counts, and take it out of all layers; what is no text stays."""
    named: str | None = None
    for layer in draft.layers:
        section = layer.values.get(SECTION)
        value = section.get(NAME) if isinstance(section, dict) else None
        if isinstance(section, dict) and NAME in section:
            named = value
        if isinstance(value, str):
            layer.remove((SECTION, NAME))
    return named if isinstance(named, str) else None


def _unreadable(error: Exception, named: str, origin: Origin, key: str) -> list[Problem]:
    """Say where the file is named what is wrong with all of it, and in it what is with a line."""
    if not isinstance(error, ConfigError):
        return [problem_at(origin, f"{named}: {error}", key)]
    return [
        one if one.line is not None else problem_at(origin, f"{named}: {one.message}", key)
        for one in error.problems
    ]


def _take(draft: Draft, document: Document, named: str) -> None:
    def place(path: tuple[str, ...]) -> Origin:
        lines = (document.lines.get(path[1:length]) for length in range(len(path), 1, -1))
        return Origin(kind="file", file=named, line=next((line for line in lines if line), None))

    values = {name: value for name, value in document.values.items() if name != NAME}
    draft.included, problems = accept({SECTION: values}, draft.layout.run, draft.layout, place)
    draft.problems.extend([*document.problems, *problems])
    if NAME in document.values:
        message = "a file of augmentation names no other file"
        draft.problems.append(problem_at(place((SECTION, NAME)), message, f"{SECTION}.{NAME}"))
