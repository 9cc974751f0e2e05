"""A look at what stands in the project's folders and belongs to nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from tunectl.artifacts import atomic
from tunectl.artifacts.study_dir import ProjectTree
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.reports.findings import Finding, Severity, shown_path

# Whatever is being written at this moment is younger by far.
OLD_S = 600.0
REMOVE = "remove it"

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"\d{2}-\d{2}-\d{2}(-\d+)?")


def trial_directories(outputs_root: Path) -> list[Path]:
    """Return the folders that look like trial directories, the oldest first; links are left out."""
    return [path for day in _folders(outputs_root, _DAY) for path in _folders(day, _TIME)]


def inspect_orphans(
    directories: Sequence[Path], recorded: Collection[str], tree: ProjectTree
) -> Iterator[Finding]:
    """Yield the trial directories that no trial of the database has recorded.

    Args:
        directories: Those that were there before the database was asked what it has recorded.
        recorded: All directories that it has, as they are recorded.
        tree: Where things stand.
    """
    known = {tree.project / path for path in recorded}
    for path in directories:
        if path in known:
            continue
        info = TrialDir(path).read_info()
        named = f"trial {info.get('number')} of study {info.get('study')}" if info else "no trial"
        yield Finding(
            code="directory-unknown",
            severity=Severity.NOTICE,
            message=f"no study of this database knows this directory, which names {named}",
            path=shown_path(path, tree.project),
        )


def inspect_leftovers(tree: ProjectTree, databases: Sequence[Path]) -> Iterator[Finding]:
    """Yield the half-written files of killed processes in the folders that studies share.

    Args:
        tree: Where things stand.
        databases: Files of databases, in whose folders is looked as well.
    """
    studies = tree.study("-").path.parent
    folders = [tree.optuna_dir, tree.outputs_root, *(file.parent for file in databases)]
    own = sorted(path for path in _entries(studies) if path.is_dir() and not path.is_symlink())
    for folder in dict.fromkeys([*folders, *own]):
        for file in atomic.leftovers(folder):
            if _age_s(file) > OLD_S:
                yield Finding(
                    code="leftover",
                    severity=Severity.NOTICE,
                    message="a half-written file of a process that was killed",
                    path=shown_path(file, tree.project),
                    fix=REMOVE,
                )


def _folders(folder: Path, name: re.Pattern[str]) -> list[Path]:
    return sorted(
        path
        for path in _entries(folder)
        if name.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    )


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _age_s(file: Path) -> float:
    try:
        return time.time() - file.lstat().st_mtime
    except OSError:  # renamed just now
        return 0.0
