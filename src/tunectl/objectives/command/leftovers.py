"""What an earlier attempt at a trial has left running, whose worker and guard were both killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def end_leftovers(lock: int, directory: Path) -> int:
    """End the processes of the group that a killed guard has noted in the trial's lock.

    The number may be another program's by now, so one of them must have begun when the program did,
    or have the trial's folder in its environment. Only Linux tells, elsewhere nothing is done.

    Args:
        lock: Descriptor of the lock, held.
        directory: The trial's folder.

    Returns:
        How many were ended.
    """
    with suppress(OSError, ValueError):
        group, start = map(int, os.pread(lock, 100, 0).split())
        mark = b"TUNECTL_TRIAL_DIR=" + os.fsencode(directory)
        found = [pid for pid in _members(group) if _is_ours(pid, group, start, mark)]
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        os.ftruncate(lock, 0)
        return len(found)
    return 0


def _members(group: int) -> Iterator[int]:
    """Yield the processes of a group, and of the session of the same number."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            fields = _stat(int(folder.name))
            if fields and fields[0] != "Z" and str(group) in fields[2:4]:
                yield int(folder.name)


def _is_ours(pid: int, group: int, start: int, mark: bytes) -> bool:
    fields = _stat(pid)
    if pid == group and len(fields) > 19:
        return fields[19] == str(start)
    with suppress(OSError):
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False


def _stat(pid: int) -> list[str]:
    """Return what the kernel says of a process from its state on, nothing where it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
