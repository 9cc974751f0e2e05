"""The way in: `tunectl` and `python -m tunectl`.

It says what a signal means before anything that takes time is imported, so it imports nothing
that does.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from tunectl.garbage import collect_seldom

STANDARD_STREAMS = (0, 1, 2)


def main() -> None:
    """Run the program and exit with the contract's code."""
    _end_quietly_when_told_to()
    _fill_closed_streams()
    collect_seldom()
    _wait_without_a_core()
    from tunectl.cli.app import run

    code = run()
    _end_quietly_when_told_to()  # what is left is Python's own tidying up
    sys.exit(code)


def _wait_without_a_core() -> None:
    """Let PyTorch's threads wait for each other without keeping a core busy.

    Beside another program a training with several would otherwise take three times as long. The
    environment is read when PyTorch is loaded; what the user set stands.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _end_quietly_when_told_to() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup, or a shell's background job
            signal.signal(number, _end)


def _end(signal_number: int, _: FrameType | None) -> None:
    # Nothing is under way yet, and no Python code is to be run in the middle of an import.
    os._exit(130 if signal_number == signal.SIGINT else 143)


def _fill_closed_streams() -> None:
    """Let no file that is opened later, such as a database, become a standard stream."""
    for number in STANDARD_STREAMS:
        try:
            os.fstat(number)
        except OSError:
            # A new descriptor gets the lowest free number, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


if __name__ == "__main__":
    main()
