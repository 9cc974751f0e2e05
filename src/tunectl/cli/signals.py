"""Being told to stop: SIGTERM and SIGHUP end the program as SIGINT does, with exit code 143."""

from __future__ import annotations

import signal
from types import FrameType


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


def _terminate(signal_number: int, _: FrameType | None) -> None:
    raise Terminated(signal_number)
