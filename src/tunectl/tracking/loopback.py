"""A web page that only this machine can see: its address, its port, and the signals that end it."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tunectl.errors import UsageError

HOST = "127.0.0.1"
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HIGHEST = 65535
_TRIES = 100


def address_of(port: int) -> str:
    """Return the address of a page."""
    return f"http://{HOST}:{port}"


def check_port(port: int) -> None:
    """Make sure that a page can be served at a port.

    Raises:
        UsageError: it cannot; the message names a port that is free.
    """
    error = _try(port)
    if error is not None:
        raise port_error(port, error)


def port_error(port: int, error: OSError) -> UsageError:
    """Return what to say of a port that cannot be used, with one that can."""
    after = range(port + 1, min(port + _TRIES, _HIGHEST) + 1)
    free = next((one for one in after if _try(one) is None), None)
    other = "give another" if free is None else f"{free} is free"
    return UsageError(f"--port: {port} cannot be used ({error.strerror}); {other}")


@contextmanager
def told_into(told: list[int]) -> Iterator[None]:
    """Within the block note each signal that is to end the page, instead of ending at once.

    Args:
        told: What their numbers are added to.
    """

    def take_down(number: int, _: FrameType | None) -> None:
        told.append(number)

    before = {number: signal.signal(number, take_down) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code_of(told: list[int]) -> int:
    """Return the exit code of a page that was told to end: 0 for Ctrl-C, else 143."""
    return 0 if told[0] == signal.SIGINT else 128 + signal.SIGTERM


def _try(port: int) -> OSError | None:
    with socket.socket() as probe:
        # As servers do, which may begin again at once where one has just ended.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error
    return None
