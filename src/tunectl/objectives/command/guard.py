"""A process of its own that starts a trial's program and sees to it that nothing of it stays.

It is run as a script, by an interpreter without anything else, and must stay free of imports from
this package: `python -I -S guard.py STATUS LOCK GRACE_S PROGRAM ARGUMENTS…`. On its standard input
come the length of the program's environment in bytes, on a line, and the environment, each variable
with a NUL after it: it is the program's alone, whose LD_LIBRARY_PATH may not suit Python. Then
`stop SECONDS` tells it to end the program after that time; the end of that input means that whoever
started it is dead, and the same at once. On STATUS it writes what became of the program.

The program gets a session, and so a process group, of its own: no key of a terminal reaches it, and
all of it can be sent a signal. On Linux what leaves that group is found as well, since an orphan
becomes the guard's child, and the program dies with the guard.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from types import FrameType

SET_PDEATHSIG = 1
SET_CHILD_SUBREAPER = 36
# Between two signals to what has not heard the last one.
AGAIN_S = 0.2
NEVER = float("inf")


def main(arguments: list[str]) -> None:
    """Start the program and stay until all of it has ended."""
    status, lock = int(arguments[0]), int(arguments[1])
    for descriptor in (status, lock):
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # it has its own way of being told
    _tell_kernel(SET_CHILD_SUBREAPER, 1)
    environment = _read_environment()
    guard = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(arguments[3:], environment, guard, status)
    _note(lock, f"{pid} {_start_of(pid)}\n")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)  # so that the program alone holds the ends of its output
    os.dup2(nothing, 2)
    os.write(status, f"started {pid}\n".encode())
    ended = Watch(pid, float(arguments[2])).to_the_end()
    _note(lock, "")
    os.write(status, f"ended {ended}\n".encode())


def _read_environment() -> dict[bytes, bytes]:
    """Return the program's environment; end here if whoever started this process is dead."""
    length, block = b"", b""
    while not length.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit(1)
        length += byte
    while len(block) < int(length):
        part = os.read(0, int(length) - len(block))
        if not part:
            sys.exit(1)
        block += part
    found = {}
    for line in block.split(b"\0")[:-1]:
        name, _, value = line.partition(b"=")
        found[name] = value
    return found


def _note(lock: int, text: str) -> None:
    """Write into the lock which group is to be ended if this process is killed."""
    if lock < 0:
        return
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, text.encode(), 0)
    except OSError:  # a full disk
        pass


def _start_of(pid: int) -> str:
    """Return when a process began, in the kernel's own ticks; 0 where it does not tell."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "0"


def _become(command: list[str], environment: dict[bytes, bytes], guard: int, status: int) -> None:
    """Turn this process into the program."""
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _tell_kernel(SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:  # it died before the kernel knew
            os._exit(1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execvpe(command[0], command, environment)
    except OSError as error:
        os.write(status, f"failed {error.errno}\n".encode())
    os._exit(127)


def _tell_kernel(what: int, value: int) -> None:
    """Call `prctl`, where there is such a thing."""
    if not sys.platform.startswith("linux"):
        return
    try:
        import ctypes

        ctypes.CDLL(None).prctl(what, value, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass


class Watch:
    """Waits for the program, and ends it when told to.

    Args:
        pid: The program's process, whose group has the same number.
        grace_s: Between SIGTERM and SIGKILL.
    """

    def __init__(self, pid: int, grace_s: float) -> None:
        self._pid = pid
        self._grace_s = grace_s
        self._status: int | None = None
        self._has_children = True
        self._is_alone = False
        self._end_at_s = NEVER
        self._kill_at_s = NEVER
        self._woken, waking = os.pipe()
        os.set_blocking(waking, False)
        signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _wake)

    def to_the_end(self) -> int:
        """Return the program's exit status, as `waitpid` gives it, when all of it has ended."""
        while True:
            self._reap()
            now_s = time.monotonic()
            if self._status is not None:
                if not self._is_anyone_left():
                    return self._status
                self._end_at_s = min(self._end_at_s, now_s)  # who was left behind
            if now_s >= self._end_at_s and self._kill_at_s == NEVER:
                self._signal_all(signal.SIGTERM)
                self._signal_all(signal.SIGCONT)
                self._kill_at_s = now_s + self._grace_s
            elif now_s >= self._kill_at_s:
                self._signal_all(signal.SIGKILL)
                self._kill_at_s = now_s + AGAIN_S
            self._wait(now_s)

    def _wait(self, now_s: float) -> None:
        next_s = self._end_at_s if self._kill_at_s == NEVER else self._kill_at_s
        if self._status is not None:
            next_s = min(next_s, now_s + AGAIN_S)  # no signal tells of a group without members
        heard = [self._woken] if self._is_alone else [self._woken, 0]
        timeout_s = None if next_s == NEVER else max(0.0, next_s - now_s)
        ready = select.select(heard, [], [], timeout_s)[0]
        if self._woken in ready:
            os.read(self._woken, 4096)
        if 0 in ready:
            self._hear()

    def _hear(self) -> None:
        words = os.read(0, 4096).split()
        self._is_alone = not words
        delay_s = float(words[1]) if words else 0.0
        self._end_at_s = min(self._end_at_s, time.monotonic() + delay_s)

    def _reap(self) -> None:
        while self._has_children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._has_children = False
                return
            if pid == 0:
                return
            if pid == self._pid:
                self._status = status

    def _is_anyone_left(self) -> bool:
        if self._has_children:
            return True
        try:
            os.killpg(self._pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # who has become another user is not ours to end
            return False
        return True

    def _signal_all(self, number: int) -> None:
        """Send a signal to the program's group, and to what has left it and become ours."""
        _send(os.killpg, self._pid, number)
        for pid in _children():
            if pid != self._pid:
                _send(os.kill, pid, number)


def _children() -> list[int]:
    """Return the processes whose parent this one is, as far as the system says."""
    own = os.getpid()
    try:
        # pathlib and contextlib would make half of its start.
        with open(f"/proc/{own}/task/{own}/children", encoding="ascii") as file:  # noqa: PTH123
            return [int(word) for word in file.read().split()]
    except (OSError, ValueError):
        return []


def _send(how: object, pid: int, number: int) -> None:
    try:  # noqa: SIM105
        how(pid, number)  # type: ignore[operator]
    except (ProcessLookupError, PermissionError):
        pass


def _wake(_number: int, _frame: FrameType | None) -> None:
    """Nothing: that it came is what counts."""


if __name__ == "__main__":
    main(sys.argv[1:])
