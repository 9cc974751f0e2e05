"""A look at the machine: versions, cores, memory, disks and devices."""

from __future__ import annotations

import platform
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from tunectl import __version__
from tunectl.cores import available_cores
from tunectl.errors import DeviceError
from tunectl.reports.findings import Finding, Severity, shown_path

# What the drivers of NVIDIA's and AMD's GPUs and of WSL make on Linux.
GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")

GB = 1_000_000_000
# Little is little on any disk; a few per cent are not on a large one.
LITTLE_BYTES, LITTLE_SHARE, ENOUGH_BYTES = GB, 0.05, 20 * GB


@dataclass(frozen=True, kw_only=True)
class MachineFacts:
    """What a machine is.

    Args:
        versions: Program → version.
        cores: That this process may use.
        memory_bytes: All of it.
        available_bytes: What of it is free.
        devices: As PyTorch names them.
    """

    versions: Mapping[str, str]
    cores: int
    memory_bytes: int
    available_bytes: int
    devices: Sequence[str]

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Disk:
    """The disk that a folder lies on.

    Args:
        path: The folder, as it is shown.
        free_bytes: What can still be written.
        total_bytes: Its size.
    """

    path: str
    free_bytes: int
    total_bytes: int

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def inspect_machine() -> MachineFacts:
    """Return what this machine is; where there may be a GPU this imports PyTorch, for seconds."""
    memory = psutil.virtual_memory()
    return MachineFacts(
        versions={
            "tunectl": __version__,
            "python": platform.python_version(),
            "optuna": version("optuna"),
            "torch": version("torch"),
            "sqlite": sqlite3.sqlite_version,
        },
        cores=available_cores(),
        memory_bytes=memory.total,
        available_bytes=memory.available,
        devices=_devices(),
    )


def inspect_device(wanted: str) -> Iterator[Finding]:
    """Yield what is wrong with the device that the configuration asks for."""
    if wanted in ("auto", "cpu"):
        return  # known without PyTorch
    from tunectl.training.device import resolve_device

    try:
        resolve_device(wanted)
    except DeviceError as error:
        message = f"runtime.device: {error}"
        yield Finding(code="device-missing", severity=Severity.WARNING, message=message)


def inspect_disks(folders: Sequence[Path], project: Path) -> tuple[list[Disk], list[Finding]]:
    """Look at the disks that folders lie on.

    Args:
        folders: They need not be there.
        project: Absolute path of the project folder.

    Returns:
        One disk for each folder, and what was found.
    """
    disks, findings = [], []
    for folder in dict.fromkeys(folders):
        there = next(path for path in (folder, *folder.parents) if path.is_dir())
        usage = shutil.disk_usage(there)
        disk = Disk(
            path=shown_path(folder, project), free_bytes=usage.free, total_bytes=usage.total
        )
        disks.append(disk)
        findings.append(_disk_finding(disk))
    return disks, findings


def _disk_finding(disk: Disk) -> Finding:
    share = disk.free_bytes / disk.total_bytes if disk.total_bytes else 0.0
    little = disk.free_bytes < LITTLE_BYTES or (
        share < LITTLE_SHARE and disk.free_bytes < ENOUGH_BYTES
    )
    free = f"{disk.free_bytes / GB:.3g} GB ({share:.0%}) of the disk are free"
    if little:
        message = f"only {free}; a full disk stops a study"
        return Finding(code="disk-low", severity=Severity.WARNING, message=message, path=disk.path)
    return Finding(code="disk-enough", severity=Severity.OK, message=free, path=disk.path)


def _devices() -> Sequence[str]:
    has_driver = any(Path(file).exists() for file in GPU_DRIVERS)
    if "+cpu" in version("torch") or not (has_driver or sys.platform == "darwin"):
        return ("cpu",)
    from tunectl.training.device import available_devices

    return available_devices()
