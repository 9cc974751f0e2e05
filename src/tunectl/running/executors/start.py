"""Starting a worker process with a socket to it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from tunectl.running.executors.channel import pair


def start_process(
    project: Path, study: str, threads: int
) -> tuple[subprocess.Popen[bytes], Connection]:
    """Start `tunectl worker`, to be told over a socket what to do.

    Args:
        project: Absolute path of the project folder.
        study: The study's name, for whoever looks at the list of processes.
        threads: As many as its numerical libraries may have.

    Returns:
        The process, and our end of the socket.
    """
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    ours, theirs = pair()
    with theirs, signals_held_back():
        process = subprocess.Popen(
            _command(project, study, theirs.fileno()),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environment,
        )
    return process, ours


def _command(project: Path, study: str, descriptor: int) -> list[str]:
    # -P: a folder named tunectl in the working directory is not the program.
    start = [sys.executable, "-P", "-m", "tunectl", "-C", str(project)]
    return [*start, "worker", "--study", study, "--channel", str(descriptor)]


@contextlib.contextmanager
def signals_held_back() -> Iterator[None]:
    """Hold signals back; a process started meanwhile does too, until it is ready for them.

    Ctrl-C reaches every process of the terminal, also one that is still importing.
    """
    numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
