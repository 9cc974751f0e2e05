"""What this process may use of the machine's processors. It knows nothing else of the program."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

# Where Linux says how much time a container has, and which hardware threads are one core.
CPU_MAX = "/sys/fs/cgroup/cpu.max"
SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def available_cores() -> int:
    """Return how many programs can compute at once: hardware threads, or what a container may."""
    return _within_quota(len(_own_threads()))


def whole_cores() -> int:
    """Return the same with the hardware threads of a core counted once, as they share its units."""
    return _within_quota(len({_core_of(thread) for thread in _own_threads()}))


def _own_threads() -> Sequence[int]:
    """Return the numbers of the hardware threads that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return range(os.cpu_count() or 1)


def _core_of(thread: int) -> str:
    try:
        return Path(SIBLINGS.format(thread)).read_text(encoding="ascii")
    except OSError:  # not Linux
        return str(thread)


def _within_quota(cores: int) -> int:
    """Return no more cores than the container has time of."""
    try:
        quota, period = Path(CPU_MAX).read_text(encoding="ascii").split()
        return min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such control group, or "max"
        return cores
