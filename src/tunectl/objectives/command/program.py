"""A running program, seen from the process that runs the trial: its output and its end.

What it says is read on one thread as it comes; nothing is kept but the line under way. See
`guard.py` for the process in between.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tunectl.errors import ObjectiveError
from tunectl.objectives.command import guard
from tunectl.objectives.lines import Lines

BLOCK = 1 << 16
# Beyond its grace the guard needs no more than this to see to everything.
PATIENCE_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Said:
    """A line that a program has printed.

    Args:
        text: The line, without its end.
        is_error: Whether it came on standard error.
    """

    text: str
    is_error: bool


@dataclass(frozen=True, kw_only=True)
class End:
    """How a program ended.

    Args:
        exit_code: None where a signal ended it.
        signal_number: None where it ended by itself.
    """

    exit_code: int | None = None
    signal_number: int | None = None

    @property
    def is_good(self) -> bool:
        """Whether its exit code is 0."""
        return self.exit_code == 0

    def __str__(self) -> str:
        if self.signal_number is None:
            return f"exit code {self.exit_code}"
        try:
            return signal.Signals(self.signal_number).name
        except ValueError:
            return f"signal {self.signal_number}"


class Program:
    """A program under its guard, from its start to its end.

    Args:
        command: The program and its arguments.
        folder: Where it runs.
        environment: All of its environment variables.
        grace_s: Between SIGTERM and SIGKILL.
        lock: Descriptor of an open file that the guard holds as long as anything runs; -1 for none.

    Raises:
        ObjectiveError: no process can be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        grace_s: float,
        lock: int = -1,
    ) -> None:
        self.end: End | None = None
        self._name = command[0]
        self._grace_s = grace_s
        status, theirs = os.pipe()
        facts = (str(theirs), str(lock), str(grace_s))
        try:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, *facts, *command],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=[one for one in (theirs, lock) if one >= 0],
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            os.close(status)
            raise ObjectiveError(f"{self._name} cannot be started: {error}") from error
        finally:
            os.close(theirs)
        assert self._guard.stdout is not None and self._guard.stderr is not None
        self._status = status
        self._words = b""
        self._hand_over(environment)
        out, err = self._guard.stdout.fileno(), self._guard.stderr.fileno()
        self._lines = {out: Lines(), err: Lines()}
        self._errors = err
        self._selector = selectors.DefaultSelector()
        for descriptor in (out, err, status):
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, selectors.EVENT_READ)

    def _hand_over(self, environment: Mapping[str, str]) -> None:
        assert self._guard.stdin is not None
        pairs = [
            b"%s=%s\0" % (os.fsencode(name), os.fsencode(text))
            for name, text in environment.items()
        ]
        block = b"".join(pairs)
        with suppress(OSError):  # the guard is gone, which is seen when it is listened to
            self._guard.stdin.write(b"%d\n" % len(block))
            rest = memoryview(block)
            while rest:
                rest = rest[self._guard.stdin.write(rest) :]

    def listen(self, timeout_s: float) -> list[Said]:
        """Return what it says within a time; nothing where it is silent.

        When it has ended, `end` is set, and all that it said has been returned.

        Raises:
            ObjectiveError: it could not be started, or its guard is gone.
        """
        ready = [key.fd for key, _ in self._selector.select(timeout_s)]
        is_over = self._status in ready and self._read_status()
        said: list[Said] = []
        for descriptor in list(self._lines):
            if descriptor in ready or is_over:
                said += self._read(descriptor, to_the_end=is_over)
        if is_over:
            self.end = self._judge()
        return said

    def stop(self, delay_s: float = 0.0) -> None:
        """Have it ended: SIGTERM after a delay, SIGKILL after the grace."""
        assert self._guard.stdin is not None
        with suppress(OSError):  # it has ended by itself
            self._guard.stdin.write(f"stop {delay_s}\n".encode())

    def close(self, *, in_a_hurry: bool = False) -> None:
        """Have whatever still runs ended, and let go of everything.

        Args:
            in_a_hurry: Leave the rest to the guard, which ends when all has.
        """
        pipes = (self._guard.stdin, self._guard.stdout, self._guard.stderr)
        assert self._guard.stdin is not None
        with suppress(OSError):
            self._guard.stdin.close()
        if not in_a_hurry:
            try:
                self._guard.wait(self._grace_s + PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._guard.kill()
                self._guard.wait()
            self._end_what_is_left()
        self._selector.close()
        os.close(self._status)
        for pipe in pipes:
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _read(self, descriptor: int, *, to_the_end: bool) -> Iterator[Said]:
        lines, is_error = self._lines[descriptor], descriptor == self._errors
        is_closed = False
        while True:
            try:
                block = os.read(descriptor, BLOCK)
            except BlockingIOError:
                break
            if not block:
                is_closed = True
                break
            yield from (Said(text=text, is_error=is_error) for text in lines.feed(block))
            if not to_the_end:
                break
        if is_closed or to_the_end:
            yield from (Said(text=text, is_error=is_error) for text in lines.finish())
            self._selector.unregister(descriptor)
            del self._lines[descriptor]

    def _read_status(self) -> bool:
        """Take in what the guard says; return whether it is all that it has to say."""
        try:
            words = os.read(self._status, BLOCK)
        except BlockingIOError:
            return False
        self._words += words
        return not words

    @property
    def _said(self) -> dict[str, str]:
        return dict(line.split() for line in self._words.decode().splitlines())

    def _end_what_is_left(self) -> None:
        """End the program's group where the guard was killed and could not."""
        self._read_status()
        said = self._said
        if "started" in said and "ended" not in said:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(int(said["started"]), signal.SIGKILL)

    def _judge(self) -> End:
        said = self._said
        if "failed" in said:
            raise ObjectiveError(f"{self._name} cannot be started: {_reason(int(said['failed']))}")
        if "ended" not in said:
            raise ObjectiveError(
                f"the process that watched over {self._name} was killed, and the program with it"
            )
        status = int(said["ended"])
        if os.WIFSIGNALED(status):
            return End(signal_number=os.WTERMSIG(status))
        return End(exit_code=os.waitstatus_to_exitcode(status))


def _reason(number: int) -> str:
    import errno

    if number == errno.ENOEXEC:
        return "it is no program, and has no first line such as #!/bin/sh"
    return os.strerror(number)
