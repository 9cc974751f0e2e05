"""Being told to stop: SIGTERM and SIGHUP end the program as SIGINT does, with exit code 143."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

AGAIN_S = 0.05
# What sends a signal to a process and then to its whole group, as timeout(1) does, means it once.
ECHO_S = 0.3
# How long a second signal may take to end the program by Python's own means.
PATIENCE_S = 1.0
ENDED = b"ended at once; everything is saved, and the same command goes on\n"
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
    """Let SIGTERM and SIGHUP raise `Terminated`, and SIGINT KeyboardInterrupt."""
    for number in STOPPING:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup, or a shell's background job
            interrupt = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if interrupt else _terminate)
    sys.unraisablehook = _unraisable


@dataclass
class StopRequest:
    """Whether the program has been told to stop.

    Args:
        signal_number: The signal that said so, None while none has.
        since_s: When it came, on the monotonic clock.
    """

    signal_number: int | None = None
    since_s: float = -math.inf

    def __call__(self) -> bool:
        """Whether to stop at the next good place."""
        return self.signal_number is not None

    @property
    def exit_code(self) -> int:
        """130 for SIGINT, else 143."""
        return 130 if self.signal_number == signal.SIGINT else 128 + signal.SIGTERM


_requests: list[StopRequest] = []
_masks: list[set[int | signal.Signals]] = []


@contextmanager
def stopping_gently(say: Callable[[], None] = lambda: None) -> Iterator[StopRequest]:
    """Within the block take the first signal down as a request; a second one is immediate.

    Args:
        say: Called on another thread when the first one comes, to tell the user that it was heard.

    Yields:
        The request, for whoever looks for a good place to stop.
    """
    request = StopRequest()
    before = {number: signal.getsignal(number) for number in STOPPING}

    def take_down(number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if request.signal_number is None:
            request.signal_number, request.since_s = number, now_s
        elif now_s - request.since_s < ECHO_S:
            pass
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            _terminate(number, frame)

    for number in STOPPING:
        if before[number] != signal.SIG_IGN:
            signal.signal(number, take_down)
    _requests.append(request)
    try:
        with _heard_at_once(say):
            yield request
    finally:
        with suppress(ValueError):  # in a child that comes back here
            _requests.remove(request)
        for number, handler in before.items():
            signal.signal(number, handler)


def _before_fork() -> None:
    # A signal for the child must not come before the child knows what to do with it.
    if _requests:
        _masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING))


def _after_fork() -> None:
    if _masks:
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.pop())


def _after_fork_in_child() -> None:
    """Let a process that a user's function forks obey signals itself: they are not for this one."""
    if _requests:
        _requests.clear()
        signal.set_wakeup_fd(-1)
        for number in STOPPING:
            if signal.getsignal(number) != signal.SIG_IGN:
                interrupt = number == signal.SIGINT
                signal.signal(number, signal.default_int_handler if interrupt else signal.SIG_DFL)
    _after_fork()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
)


@contextmanager
def _heard_at_once(say: Callable[[], None]) -> Iterator[None]:
    """Let signals be heard, and a second one end the program, also within a library's own code.

    Python runs no handler before such a call returns, and a locked database is waited for for a
    minute. Everything may be killed at any moment, so nothing is lost by it.
    """
    told = os.dup(2)  # a user's function may have it go elsewhere for a while
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    over = threading.Event()
    listener = threading.Thread(target=_listen, args=(reading, told, over, say), daemon=True)
    listener.start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        os.close(writing)
        listener.join()
        os.close(reading)
        os.close(told)


def _listen(reading: int, told: int, over: threading.Event, say: Callable[[], None]) -> None:
    """Hear signals as the system sends them, and end the program where Python does not."""
    first_s = math.inf
    while byte := os.read(reading, 1):
        if byte[0] not in STOPPING:
            continue
        now_s = time.monotonic()
        if first_s == math.inf:
            first_s = now_s
            with suppress(Exception):  # a stream that is gone is no reason not to listen on
                say()
        if now_s - first_s >= ECHO_S and not over.wait(PATIENCE_S):
            with suppress(OSError):
                os.write(told, ENDED)
            os._exit(130 if byte[0] == signal.SIGINT else 128 + signal.SIGTERM)


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
