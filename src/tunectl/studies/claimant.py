"""Who claimed a trial, and whether that was on this machine, as far as that can be known.

A host's name is no proof. Containers on one machine have different ones, often a new one at each
start, and two machines may have the same. What counts for a lock is the kernel that keeps it, and
a kernel has a random number from each start to the next, which containers share with their host.
After a restart the machine is known by its identifier and its name together, since copies of a
virtual machine or of an image may have the same identifier. Where the answer is wrong it is "no",
and a heartbeat decides instead of a lock.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunectl.studies import attributes

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tunectl.studies.records import Told

VM_FILE = Path("/proc/vmstat")
BOOT_FILE = Path("/proc/sys/kernel/random/boot_id")
MACHINE_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


@dataclass(frozen=True, kw_only=True)
class Claimant:
    """Who claimed a trial.

    Args:
        study: Name of the study that it was claimed for; a copied trial was claimed for another.
        project: Absolute path of the project folder.
        host: The machine's name, for people.
        machine: The machine's identifier, hashed; None where it has none.
        boot: That of its present run, hashed; None where it has none.
        released: Whether a person has said since that the worker is gone.
    """

    study: str
    project: str
    host: str
    machine: str | None = None
    boot: str | None = None
    released: bool = False

    @property
    def is_here(self) -> bool:
        """Whether the claim was made on this machine, so that its locks can be seen here."""
        if self.boot is not None and self.boot == boot():
            return True
        is_known = self.machine is not None and self.machine == machine()
        return is_known and self.host == platform.node()

    def as_stored(self) -> dict[str, Any]:
        """Return it as it is stored with the trial."""
        stored = asdict(self)
        if not self.released:
            del stored["released"]
        return stored


def claimant(study_name: str, project: Path) -> dict[str, Any]:
    """Return this process as it is stored with a trial that it claims.

    Its number tells workers apart; that a worker is alive is never concluded from it. `since_s` is
    the time of the claim in seconds since 1970, in no time zone, and `oom_kills` how many processes
    the kernel had killed until then for want of memory.
    """
    here = Claimant(
        study=study_name,
        project=str(project),
        host=platform.node(),
        machine=machine(),
        boot=boot(),
    )
    own = {"pid": os.getpid(), "since_s": round(time.time(), 3), "oom_kills": oom_kills()}
    return {**here.as_stored(), **own}


def worker_of(trial: FrozenTrial) -> tuple[str, int] | None:
    """Return host and process number of who claimed a trial last, None where that is not known."""
    stored = trial.user_attrs.get(attributes.CLAIMED_BY)
    if not isinstance(stored, Mapping):
        return None
    host, pid = stored.get("host"), stored.get("pid")
    return (host, pid) if isinstance(host, str) and isinstance(pid, int) else None


def claimant_of(trial: Told) -> Claimant | None:
    """Return who claimed a trial, None for nobody or another program."""
    stored = trial.user_attrs.get(attributes.CLAIMED_BY)
    if not isinstance(stored, Mapping):
        return None
    study, project, host = (stored.get(name) for name in ("study", "project", "host"))
    if not (isinstance(study, str) and isinstance(project, str) and isinstance(host, str)):
        return None
    return Claimant(
        study=study,
        project=project,
        host=host,
        machine=stored.get("machine"),
        boot=stored.get("boot"),
        released=stored.get("released") is True,
    )


def claimed_since_s(trial: FrozenTrial) -> float | None:
    """Return when a trial was last claimed, in seconds since 1970; None where that is not known."""
    since_s = _stored(trial).get("since_s")
    return float(since_s) if isinstance(since_s, int | float) else None


def oom_killed_since(trial: FrozenTrial) -> bool:
    """Whether the kernel has killed a process for want of memory since a trial was claimed here."""
    stored, now = _stored(trial), oom_kills()
    then = stored.get("oom_kills")
    same_kernel = stored.get("boot") is not None and stored.get("boot") == boot()
    return same_kernel and isinstance(then, int) and now is not None and now > then


def oom_kills() -> int | None:
    """Return how many processes this kernel has killed for want of memory, None if it won't say."""
    with suppress(OSError):
        if found := re.search(r"^oom_kill (\d+)$", VM_FILE.read_text(), re.MULTILINE):
            return int(found[1])
    return None


def _stored(trial: FrozenTrial) -> Mapping[str, Any]:
    stored = trial.user_attrs.get(attributes.CLAIMED_BY)
    return stored if isinstance(stored, Mapping) else {}


@functools.cache
def boot() -> str | None:
    """Return what tells this run of the machine from any other, None where nothing does."""
    with suppress(OSError):
        return _hashed(BOOT_FILE.read_text())
    return None


@functools.cache
def machine() -> str | None:
    """Return what tells this machine from others, None where nothing does."""
    for file in MACHINE_FILES:
        with suppress(OSError):
            written = file.read_text().strip()
            if written and written != "uninitialized":
                return _hashed(written)
    if sys.platform == "darwin":
        return _hashed(f"{uuid.getnode():012x}")
    return None


def _hashed(identifier: str) -> str:
    # It is stored and exported with the trial, and the identifier itself is nobody's business.
    return hashlib.sha256(f"tunectl {identifier.strip()}".encode()).hexdigest()[:16]
