"""Being told to stop: SIGTERM and SIGHUP end the program as SIGINT does, with exit code 143."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

AGAIN_S = 0.05


class Terminated(BaseException):
    """SIGTERM or SIGHUP, raised where the program is."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number

    @property
    def exit_code(self) -> int:
        """143 for SIGTERM, and for SIGHUP too, which means the same here."""
        return 128 + signal.SIGTERM


def set_up_signals() -> None:
    """Let SIGTERM and SIGHUP raise `Terminated`; SIGINT raises KeyboardInterrupt as always."""
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup asked for just that
        signal.signal(signal.SIGHUP, _terminate)
    sys.unraisablehook = _unraisable


def _terminate(signal_number: int, _: FrameType | None) -> None:
    raise Terminated(signal_number)


def _unraisable(lost: sys.UnraisableHookArgs) -> None:
    """Send a signal once more that came in a destructor or the like, where nothing can be raised.

    Python would print it and go on, and the user would wait for an end that does not come.
    """
    if isinstance(lost.exc_value, Terminated):
        signal_number = lost.exc_value.signal_number
    elif isinstance(lost.exc_value, KeyboardInterrupt):
        signal_number = signal.SIGINT
    else:
        sys.__unraisablehook__(lost)
        return
    again = threading.Timer(AGAIN_S, os.kill, (os.getpid(), signal_number))
    again.daemon = True
    again.start()
