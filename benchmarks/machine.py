"""What a measurement was made on: the machine and the versions, nothing that tells whose it is."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from tunectl.cores import available_cores

PACKAGES = ("torch", "optuna", "numpy", "mlflow", "sqlalchemy")


def describe() -> dict[str, str]:
    """Return the machine and the versions, in words."""
    import psutil

    cores = available_cores()
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    return {
        "processor": f"{_processor()}, {cores} cores to run on",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "versions": ", ".join([f"Python {platform.python_version()}", *versions]),
    }


def load() -> float | None:
    """Return how many processes wanted to run in the last minute, None where nobody counts."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def commit() -> str:
    """Return the commit that the code is at, and whether it was changed since."""

    def git(*words: str) -> str:
        folder = Path(__file__).parent
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    try:
        found = git("rev-parse", "--short", "HEAD")
        changed = git("status", "--porcelain", "--", "../src", ".", ":!results.md")
    except OSError:
        return "no commit"
    if not found:
        return "no commit"
    return f"commit {found}" + (" with changes" if changed else "")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
