"""The layout of Optuna's tables: which one a database has, and which one this Optuna wants.

It reads and compares; the upgrade itself is in `upgrade.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import optuna

# Made by Optuna when it makes its tables, whatever the version; the row comes last.
VERSION_TABLE = "version_info"

_LINK = re.compile(r"^revision = (\S+)\n+down_revision = (\S+)$", re.MULTILINE)

Query = Callable[[str], Sequence[Sequence[Any]]]


class Age(StrEnum):
    """How a database's layout compares with what this Optuna wants."""

    CURRENT = "current"
    OLDER = "older"
    NEWER = "newer"


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The layout of a database's tables.

    Args:
        version: Alembic's name of it, None where the database has none (yet).
        library: The version of Optuna that wrote it, None where it does not say.
        age: How it compares with what this Optuna wants.
    """

    version: str | None
    library: str | None
    age: Age


def read_schema(tables: set[str], query: Query) -> Schema:
    """Return the layout of a database of studies.

    Args:
        tables: The names of its tables.
        query: Runs an SQL query and returns its rows.
    """
    version = _first(query, "alembic_version", "version_num", tables)
    library = _first(query, VERSION_TABLE, "library_version", tables)
    return Schema(version=version, library=library, age=_age_of(version))


def newest_version() -> str:
    """Return the layout that this Optuna wants."""
    return known_versions()[0]


@cache
def known_versions() -> tuple[str, ...]:
    """Return all layouts that this Optuna knows, the newest first."""
    folder = Path(optuna.__file__).parent / "storages" / "_rdb" / "alembic"
    return _read_chain(folder / "versions") or _ask_alembic(folder)


def _read_chain(folder: Path) -> tuple[str, ...]:
    """Return what each script says that it follows, the newest first; nothing if that is no chain.

    Alembic would run the scripts for it, and takes as long to import as all that is done with a
    database before a trial.
    """
    texts = [file.read_text(encoding="utf-8") for file in folder.glob("*.py")]
    after = {down: up for text in texts for up, down in _LINK.findall(text)}
    chain: list[str] = []
    last = after.get("None")
    while last is not None:
        chain.insert(0, last.strip("\"'"))
        last = after.pop(last, None)
    return tuple(chain) if len(chain) == len(texts) else ()


def _ask_alembic(folder: Path) -> tuple[str, ...]:
    from alembic.script import ScriptDirectory

    return tuple(one.revision for one in ScriptDirectory(str(folder)).walk_revisions())


def _age_of(version: str | None) -> Age:
    if version is None or version == newest_version():
        return Age.CURRENT  # without one, Optuna writes the one that fits when it opens it
    return Age.OLDER if version in known_versions() else Age.NEWER


def _first(query: Query, table: str, column: str, tables: set[str]) -> str | None:
    rows = query(f"SELECT {column} FROM {table}") if table in tables else ()
    return str(rows[0][0]) if rows else None
