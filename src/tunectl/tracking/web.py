"""MLflow's own web page over a store on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress

from tunectl.errors import TrackingError
from tunectl.tracking.destination import Destination, quieten
from tunectl.tracking.loopback import HOST, check_port, exit_code_of, told_into
from tunectl.tracking.service import connect

PATIENCE_S = 10.0
# Nine more processes, for what a page that only shows runs never asks for.
JOBS = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"
# Not on the command line, which every user of the machine can read: it may hold a password.
STORE = "MLFLOW_BACKEND_STORE_URI"


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
    check_port(port)
    if destination.database is not None and not destination.database.exists():
        connect(destination)  # makes it under its lock
    told: list[int] = []
    with told_into(told):
        process = subprocess.Popen(
            page_command(destination, port),
            env=page_environment(destination, os.environ),
            start_new_session=True,
        )
        try:
            while process.poll() is None and not told:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.2)
        finally:
            end_group(process)
    if told:
        return exit_code_of(told)
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


def page_environment(destination: Destination, ours: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the page's process."""
    environment = dict(ours)
    quieten(environment)
    environment.setdefault(JOBS, "false")
    return {**environment, STORE: destination.uri}


def page_command(destination: Destination, port: int) -> list[str]:
    """Return the command line of the page's process."""
    start = [sys.executable, "-P", "-m", "mlflow", "ui"]
    start += ["--host", HOST, "--port", str(port), "--workers", "1"]
    if destination.artifacts is not None:
        start += ["--default-artifact-root", destination.artifacts.as_uri()]
    return start
