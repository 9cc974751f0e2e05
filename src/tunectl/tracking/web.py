"""MLflow's own web page over a store on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from tunectl.errors import TrackingError, UsageError
from tunectl.tracking.destination import Destination, quieten
from tunectl.tracking.service import connect

HOST = "127.0.0.1"
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE_S = 10.0
# Nine more processes, for what a page that only shows runs never asks for.
JOBS = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"


def serve_page(destination: Destination, port: int) -> int:
    """Run `mlflow ui` until it ends, or until this process is told to stop.

    Args:
        destination: A store on this machine.
        port: Of 127.0.0.1; nobody else can see the page.

    Returns:
        The exit code: 0 when the user ended it with Ctrl-C, 143 after SIGTERM.

    Raises:
        UsageError: the port is taken.
        TrackingError: the store cannot be opened, or the page ended by itself.
    """
    _check_port(port)
    if destination.database is not None and not destination.database.exists():
        connect(destination)  # makes it under its lock
    environment = dict(os.environ)
    quieten(environment)
    environment.setdefault(JOBS, "false")
    told: list[int] = []
    with _told_into(told):
        process = subprocess.Popen(
            _command(destination, port), env=environment, start_new_session=True
        )
        try:
            while process.poll() is None and not told:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.2)
        finally:
            end_group(process)
    if told:
        return 0 if told[0] == signal.SIGINT else 128 + signal.SIGTERM
    raise TrackingError(f"MLflow's page ended with exit code {process.returncode}")


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it has started; MLflow's server leaves its own behind.

    Args:
        process: The leader of a process group.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)


def _command(destination: Destination, port: int) -> list[str]:
    start = [sys.executable, "-P", "-m", "mlflow", "ui", "--backend-store-uri", destination.uri]
    start += ["--host", HOST, "--port", str(port), "--workers", "1"]
    if destination.artifacts is not None:
        start += ["--default-artifact-root", destination.artifacts.as_uri()]
    return start


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UsageError(
                f"--port: {port} cannot be used ({error.strerror}); give another"
            ) from error


@contextmanager
def _told_into(told: list[int]) -> Iterator[None]:
    def take_down(number: int, _: FrameType | None) -> None:
        told.append(number)

    before = {number: signal.signal(number, take_down) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
