"""Whole commands: how long one takes from its start to its end, and how much memory it needs.

A process that starts another one lends it its own memory for a moment, which counts as the other
one's. So whoever wants to know about memory must itself stay small, and import nothing large.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TUNECTL = str(Path(sys.executable).with_name("tunectl"))
PYTHON = sys.executable

_KIBIBYTES = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a command took.

    Args:
        wall_s: Seconds from its start to its end.
        peak_bytes: The most memory that its process held.
        out: What it printed.
    """

    wall_s: float
    peak_bytes: int
    out: str


def run(command: Sequence[str], *, cwd: Path, environment: Mapping[str, str] | None = None) -> Run:
    """Run a command to its end.

    Args:
        command: The program and its arguments.
        cwd: The folder to run it in.
        environment: What is different there.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        assert process.stdout is not None
        with process.stdout as pipe:
            out = pipe.read().decode()
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            said = errors.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{said}")
    return Run(wall_s=wall_s, peak_bytes=used.ru_maxrss * _KIBIBYTES, out=out)
