"""Runs `tunectl` again and again, each time in a fork of one process that has imported everything.

A start costs seconds, most of them imports; a fork costs none of them, and every write that strace
counts in it is the program's own doing. As a module this is the tests' side; run as a program it is
the process that forks: a JSON document per line says what to run, and one per line what came of it.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import gc
import itertools
import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

PATIENCE_S = 300.0
LINGER_S = 20.0  # what a command has started may live on for so long, on a busy machine
CHANGING = "write,pwrite64,fsync,fdatasync,ftruncate,rename,unlink,rmdir,mkdir,symlink"


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, negative for a signal, and what it said."""

    code: int
    out: str
    err: str

    def says(self, pattern: str) -> bool:
        """Whether it said something on standard error."""
        return re.search(pattern, self.err) is not None


class ForkedTunectl:
    """The process whose forks run the command; it is started when it is needed, again if it broke.

    `patience_s` is how long a command may take, `linger_s` how long after it something that it has
    started may still hold its output.
    """

    def __init__(self) -> None:
        self.patience_s, self.linger_s = PATIENCE_S, LINGER_S
        self._said = tempfile.TemporaryDirectory()  # not in the project, whose disk may be full
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._child: int | None = None

    def __call__(
        self,
        folder: Path,
        *arguments: str,
        inject: str | None = None,
        trace: Path | None = None,
        file_limit: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Ended:
        """Run a command to its end.

        Args:
            folder: The project folder.
            arguments: The command line without the program's name.
            inject: What strace is to break, in its own words.
            trace: A file for the calls that change something.
            file_limit: The largest size that a file may have, in bytes.
            environment: All its environment variables; None for those of the tests.
        """
        number = next(self._numbers)  # nobody else writes to these files
        said = [Path(self._said.name, f"{name}-{number}.txt") for name in ("out", "err")]
        request = {
            "folder": str(folder),
            "said": [str(file) for file in said],
            "arguments": arguments,
            "inject": inject,
            "trace": None if trace is None else str(trace),
            "file_limit": file_limit,
            "environment": None if environment is None else dict(environment),
        }
        try:
            answer = self._ask(request)
            if "code" in answer:
                self._wait_for_what_is_left(said)
            self._child = None
        except BaseException:  # what is still under way must not answer the next request
            self.end()
            raise
        if "refused" in answer:
            pytest.skip(f"strace cannot be used here: {answer['refused']}")
        out, err = (file.read_text() for file in said)
        for file in said:
            file.unlink()
        assert "Traceback" not in out + err, err
        assert "fault of tunectl" not in err, err
        return Ended(int(answer["code"]), out, err)

    def end(self) -> None:
        """End the process, the command that it runs and what that has started."""
        process, child = self._process, self._child
        self._process = self._child = None
        if process is not None:
            process.kill()
        if child is not None:
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
        if process is not None:
            with process:  # closes its pipes
                process.wait()

    def close(self) -> None:
        """End it for good."""
        self.end()
        self._said.cleanup()

    def _ask(self, request: Mapping[str, Any]) -> Any:
        """Return what came of a request."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                bufsize=0,  # `select` does not know of what was read ahead
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._child = self._answer(request)["child"]
        answer = self._answer(request)
        assert "broken" not in answer, answer["broken"]
        return answer

    def _answer(self, request: Mapping[str, Any]) -> Any:
        assert self._process is not None and self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], self.patience_s)
        assert ready, f"hangs: {request['arguments']}"
        line = self._process.stdout.readline()
        assert line, f"the process that forks has died of {request['arguments']}"
        return json.loads(line)

    def _wait_for_what_is_left(self, said: Sequence[Path]) -> None:
        """Wait until nobody can write to the output any more, as who reads from a pipe does."""
        deadline = time.monotonic() + self.linger_s
        while any(is_held(file) for file in said):
            assert time.monotonic() < deadline, "something that it started was left behind"
            time.sleep(0.05)


def is_held(file: Path) -> bool:
    """Whether a process has a file open that was locked when it was opened."""
    with file.open() as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@functools.cache
def forked_tunectl() -> ForkedTunectl:
    """Return the one that all tests of this process share."""
    command = ForkedTunectl()
    atexit.register(command.close)
    return command


# -- the process that forks ----------------------------------------------------------------------


def main() -> None:
    """Answer requests until there is none, each with the fork's number and then with its end."""
    import_all()
    with os.fdopen(os.dup(1), "w", buffering=1) as answers:
        for line in sys.stdin:
            request = json.loads(line)
            inject, trace = request.pop("inject"), request.pop("trace")
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(writer)
                _be_the_command(reader, **request)
            os.close(reader)
            answers.write(json.dumps({"child": child}) + "\n")
            answers.write(json.dumps(run_once(child, writer, inject, trace)) + "\n")


def import_all() -> None:
    """Import what a trial needs, and let libraries load what they put off until first use."""
    import sklearn.metrics  # noqa: F401
    import torch

    import tunectl.cli.app
    import tunectl.reports.projections
    import tunectl.running.coordinator  # noqa: F401
    from tunectl.objectives.figures import draw_learning_curves
    from tunectl.studies.storage import open_storage

    torch.set_num_threads(1)
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    with tempfile.TemporaryDirectory() as scratch:
        curves = {"train_loss": [1.0], "val_mse": [1.0]}
        draw_learning_curves(Path(scratch, "a.png"), curves, metric="val_mse", best_epoch=1)
        open_storage(f"sqlite:///{scratch}/study.db", create=True)
    gc.collect()  # no open database is to be inherited
    gc.freeze()  # what is there by now need not be looked at in each fork


def run_once(child: int, go: int, inject: str | None, trace: str | None) -> dict[str, Any]:
    """Let a fork run, under strace if there is something to inject or to trace; say how it ended.

    Args:
        child: The fork.
        go: A pipe to it; it waits for what comes out of it.
        inject: What strace is to break, in its own words.
        trace: A file for the calls that change something.
    """
    tracer = None
    try:
        if inject or trace:
            try:
                tracer = _attach(child, inject, trace)
            except OSError as error:
                _kill(child)
                return {"refused": str(error)}
        os.write(go, b"go")
        _, status = os.waitpid(child, 0)
        if tracer is not None:
            tracer.communicate(timeout=60)
    except Exception:
        _kill(child)
        if tracer is not None:
            tracer.kill()
        return {"broken": traceback.format_exc()}
    finally:
        os.close(go)
    return {"code": os.waitstatus_to_exitcode(status)}


def _kill(child: int) -> None:
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _attach(process: int, inject: str | None, trace: str | None) -> subprocess.Popen[str]:
    """Start strace on a process; return when it has hold of it.

    Raises:
        OSError: it is not there or not allowed to.
    """
    injected = ["-e", f"inject={inject}"] if inject else []
    command = ["strace", "-f", "-qqq", "-o", trace or os.devnull, "-e", f"trace={CHANGING}"]
    tracer = subprocess.Popen(
        [*command, *injected, "-p", str(process)], stderr=subprocess.PIPE, text=True
    )
    status = Path(f"/proc/{process}/status")
    while f"TracerPid:\t{tracer.pid}\n" not in status.read_text():
        if tracer.poll() is not None:
            raise PermissionError(tracer.communicate()[1].strip())
    return tracer


def _be_the_command(go: int, *, said: Sequence[str], **command: Any) -> NoReturn:
    """Wait for the word, then be the command; whatever happens, end with it."""
    code = 1
    try:
        os.setsid()  # so that it can be ended with all that it has started
        _redirect(os.devnull, 0, os.O_RDONLY)
        for number, name in enumerate(said, start=1):
            _redirect(name, number, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            fcntl.flock(number, fcntl.LOCK_EX)  # until nobody has it open any more
        os.read(go, 1)
        os.close(go)
        code = _run_command(**command)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        gc.collect()  # as at a usual end, the database is closed
        os._exit(code)


def _run_command(
    *,
    folder: str,
    arguments: Sequence[str],
    file_limit: int | None,
    environment: Mapping[str, str] | None,
) -> int:
    """Run the command here; return its exit code."""
    import numpy as np

    from tunectl.__main__ import main as command

    os.chdir(folder)
    if environment is not None:
        os.environ.clear()
        os.environ.update(environment)
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    np.random.seed()  # two forks are not to draw the same
    sys.argv = ["tunectl", *arguments]
    sys.path[0] = str(Path(sys.executable).parent)  # as if it had been started from there
    try:
        command()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def _redirect(name: str, number: int, flags: int) -> None:
    opened = os.open(name, flags, 0o644)
    os.dup2(opened, number)
    os.close(opened)


if __name__ == "__main__":
    main()
