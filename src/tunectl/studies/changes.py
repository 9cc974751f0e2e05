"""Whether a database may have changed since it was read, without opening it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from tunectl.studies.storage import sqlite_path

# File systems keep times to some thousandths of a second, networks' ones to seconds.
_SETTLED_S = 3.0


@dataclass(frozen=True)
class Stamp:
    """What the files of a database look like.

    Args:
        files: Inode, size and time of change of the database and of its log, None where it is not.
        is_settled: Whether they were last changed so long ago that a further change will show.
    """

    files: tuple[tuple[int, int, int] | None, ...]
    is_settled: bool

    def is_as_at(self, earlier: Stamp | None) -> bool:
        """Whether nothing can have been written since an earlier look."""
        return earlier is not None and earlier.is_settled and self.files == earlier.files

    def is_of_another_file(self, earlier: Stamp | None) -> bool:
        """Whether the database itself is another file than at an earlier look."""
        if earlier is None or earlier.files[0] is None or self.files[0] is None:
            return earlier is not None and self.files[0] != earlier.files[0]
        return self.files[0][0] != earlier.files[0][0]


def stamp_of(url: str) -> Stamp | None:
    """Return what a database's files look like now, None for one that is no SQLite file.

    Args:
        url: Its URL.
    """
    path = sqlite_path(url)
    if path is None:
        return None
    files = tuple(_look_at(Path(f"{path}{end}")) for end in ("", "-wal", "-journal"))
    latest = max((one[2] for one in files if one is not None), default=0)
    return Stamp(files, time.time() - latest / 1e9 > _SETTLED_S)


def impatient(url: str, seconds: float) -> str:
    """Return the URL of the same database, in which another process is waited for so long only."""
    if sqlite_path(url) is None:
        return url
    changed = make_url(url).update_query_dict({"timeout": f"{seconds:g}"})
    return changed.render_as_string(hide_password=False)


def _look_at(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
