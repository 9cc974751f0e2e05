"""Where the database of studies is."""

from __future__ import annotations

import re
from pathlib import Path

from tunectl.errors import ConfigError, Problem

OPTUNA_DIR = "optuna"
"""`paths.optuna_dir` where it is not given."""

_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)([^?]*)(\?.*)?")


def database_url(url: str | None, optuna_dir: str, project: Path) -> str:
    """Return the URL of the database of studies.

    Args:
        url: `storage.url`.
        optuna_dir: `paths.optuna_dir`.
        project: The project folder, which a relative SQLite path is relative to.

    Returns:
        `url`, a SQLite path in it made absolute; by default
        `sqlite:///<project>/<optuna_dir>/study.db`.

    Raises:
        ConfigError: the absolute path cannot stand in a URL.
    """
    if url is None:
        return _sqlite_url("sqlite:///", project / optuna_dir / "study.db")
    match = _SQLITE.fullmatch(url)
    if match is None or match[2] in ("", ":memory:") or match[2].startswith("file:"):
        return url
    return _sqlite_url(match[1], project / match[2], match[3] or "")


def sqlite_path_of(url: str) -> Path | None:
    """Return the file of a plain SQLite URL, None for any other URL or one that says more."""
    match = _SQLITE.fullmatch(url)
    is_plain = match is not None and not match[3] and match[2] not in ("", ":memory:")
    if match is None or not is_plain or match[2].startswith("file:"):
        return None
    return Path(match[2])


def _sqlite_url(scheme: str, path: Path, query: str = "") -> str:
    absolute = str(path.resolve())
    if "?" in absolute:
        message = f"the database's path, {absolute}, has a '?', which a URL cannot hold"
        raise ConfigError([Problem(message=message, key="storage.url")])
    return f"{scheme}{absolute}{query}"
