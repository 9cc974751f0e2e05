"""The little that quick commands need of the files, where it is written plainly.

Merging, interpolation and saying what is wrong take longer to import than such a command should
take. What is not plain, or wrong, is read by `load.py`, which knows all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunectl.config.database import OPTUNA_DIR, database_url
from tunectl.config.values import flaw_of
from tunectl.config.yaml_source import read
from tunectl.errors import ConfigError

if TYPE_CHECKING:
    from tunectl.config.schema import Surroundings

_CONFIG = "config.yaml"
_OPTUNA_PARAMS = "optuna_params.yaml"


class _NotPlainError(Exception):
    """Something needs more than a glance."""


def read_surroundings(project: Path) -> Surroundings:
    """Read `config.yaml` alone. See `load.load_surroundings`.

    Raises:
        ConfigError: with every problem of the file.
    """
    from pydantic import ValidationError

    from tunectl.config.schema import Surroundings

    try:
        values = _values(project, _CONFIG)
        if not all(map(_is_plain, _leaves(values))):
            raise _NotPlainError
        return Surroundings.model_validate(values)
    except (_NotPlainError, ConfigError, ValidationError):
        from tunectl.config.load import load_surroundings

        return load_surroundings(project)


def glance_at_url(project: Path, url: str | None) -> str:
    """Return where the database of studies is, whatever else is wrong with the files.

    Args:
        project: The project folder.
        url: Instead of `storage.url`.

    Raises:
        ConfigError: that cannot be said.
    """
    try:
        values = _values(project, _CONFIG)
        given = url if url is not None else _text(values, "storage", "url")
        folder = _text(values, "paths", "optuna_dir") or OPTUNA_DIR
    except (_NotPlainError, ConfigError):
        from tunectl.config.load import load_surroundings

        surroundings = load_surroundings(project)
        given = url if url is not None else surroundings.storage.url
        folder = surroundings.paths.optuna_dir
    return database_url(given, folder, project)


def glance_at_study(project: Path) -> str | None:
    """Return `study.name` of `optuna_params.yaml`, None where there is no such file.

    Raises:
        ConfigError: it cannot be read.
    """
    if not (project / _OPTUNA_PARAMS).exists():
        return None
    try:
        name = _text(_values(project, _OPTUNA_PARAMS), "study", "name")
    except (_NotPlainError, ConfigError):
        name = None
    if name is not None:
        return name
    from tunectl.config.load import read_study_name

    return read_study_name(project)


def _values(project: Path, name: str) -> Mapping[str, Any]:
    """Return what a file says, nothing where it is not there."""
    if not (project / name).exists():
        return {}
    document = read(project / name, name=name)
    if document.problems:
        raise _NotPlainError
    return document.values


def _text(values: Mapping[str, Any], section: str, key: str) -> str | None:
    """Return a text, None where it is not given."""
    inside = values.get(section, {})
    text = inside.get(key) if isinstance(inside, Mapping) else inside
    if text is not None and not (isinstance(text, str) and text and _is_plain(text)):
        raise _NotPlainError
    return text


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


def _is_plain(value: Any) -> bool:
    if isinstance(value, str) and ("${" in value or value == "???"):
        return False
    return flaw_of(value) is None
