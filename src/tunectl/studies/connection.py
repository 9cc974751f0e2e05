"""A connection to a SQLite file, in the one way in which this program makes them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote


def connect(
    path: Path,
    timeout_s: float,
    *,
    writing: bool = False,
    immutable: bool = False,
    autocommit: bool = False,
    any_thread: bool = False,
) -> sqlite3.Connection:
    """Open a SQLite file.

    Args:
        path: The file; it has to be there.
        timeout_s: How long to wait for another process, in seconds.
        writing: Whether it may be changed.
        immutable: Take it as a file that nobody writes to, as on a read-only medium.
        autocommit: Each statement is a transaction, as long as none is begun by a statement.
        any_thread: It may be used by any thread, one at a time, and not only by this one.
    """
    # Not mode=ro: a connection of that kind leaves the log's files behind when it is closed.
    options = "mode=ro&immutable=1" if immutable else "mode=rw"
    uri = f"file:{quote(str(path.absolute()))}?{options}"
    connection = sqlite3.connect(
        uri,
        uri=True,
        timeout=timeout_s,
        isolation_level=None if autocommit else "DEFERRED",
        check_same_thread=not any_thread,
    )
    if not writing:
        connection.execute("PRAGMA query_only=ON")
    return connection
