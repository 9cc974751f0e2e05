"""Names and numbers for a shell's completion, read off a SQLite file in a few milliseconds.

It imports nothing heavy and speaks to the database itself, so it looks at the schema's version
first. It writes nothing, waits for nobody, and raises nothing: what it cannot read has no names.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

SCHEMA_VERSIONS = (12,)
"""Those of Optuna's schema whose tables are known to look like the queries below."""

MOST = 1000
_TIMEOUT_S = 0.3
_URL = re.compile(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?")

_STUDIES = "SELECT study_name FROM studies ORDER BY study_name LIMIT ?"
_TRIALS = """
SELECT trials.number, lower(trials.state) FROM trials JOIN studies USING (study_id)
WHERE studies.study_name = ? AND CAST(trials.number AS TEXT) LIKE ? ORDER BY trials.number LIMIT ?
"""


def study_names(url: str) -> list[str]:
    """Return the names of all studies, sorted; none where the database is not a SQLite file."""
    return [str(name) for (name,) in _rows(url, _STUDIES, (MOST,))]


def trial_numbers(url: str, study: str, start: str, *, only: str | None = None) -> list[int]:
    """Return the numbers of a study's trials.

    Args:
        url: The database.
        study: The study's name.
        start: What the numbers begin with; digits or nothing.
        only: The state they are in, in lower case; None for every state.

    Returns:
        At most the first `MOST` numbers, in ascending order.
    """
    if start and not start.isdecimal():
        return []
    rows = _rows(url, _TRIALS, (study, f"{start}%", MOST))
    return [int(number) for number, state in rows if only in (None, state)]


def _rows(url: str, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
    match = _URL.fullmatch(url)
    if match is None or not Path(match[1]).is_file():
        return []
    address = f"file:{quote(match[1])}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=_TIMEOUT_S)) as connection:
            versions = connection.execute("SELECT schema_version FROM version_info").fetchall()
            if not any(version in SCHEMA_VERSIONS for (version,) in versions):
                return []
            return connection.execute(query, tuple(values)).fetchall()
    except sqlite3.Error:
        return []
