"""Runs `tunectl` again and again, each time in a fork of one process that has imported everything.

A start costs seconds, most of them imports; a fork costs none of them, and every write that strace
counts in it is the program's own doing. As a module this is the tests' side; run as a program it is
the process that forks: a JSON document per line says what to run, and one per line what came of it.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

PATIENCE_S = 300.0
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
    """The process whose forks run the command."""

    def __init__(self) -> None:
        self._said = tempfile.TemporaryDirectory()  # not in the project, whose disk may be full
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

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
        request = {
            "folder": str(folder),
            "said": self._said.name,
            "arguments": arguments,
            "inject": inject,
            "trace": None if trace is None else str(trace),
            "file_limit": file_limit,
            "environment": None if environment is None else dict(environment),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        assert select.select([self._process.stdout], [], [], PATIENCE_S)[0], f"hangs: {arguments}"
        answer = json.loads(self._process.stdout.readline())
        if "refused" in answer:
            pytest.skip(f"strace cannot be used here: {answer['refused']}")
        out, err = (Path(self._said.name, name).read_text() for name in ("out.txt", "err.txt"))
        assert "Traceback" not in out + err, err
        assert "fault of tunectl" not in err, err
        return Ended(int(answer["code"]), out, err)

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._said.cleanup()


@functools.cache
def forked_tunectl() -> ForkedTunectl:
    """Return the one that all tests of this process share."""
    command = ForkedTunectl()
    atexit.register(command.end)
    return command


# -- the process that forks ----------------------------------------------------------------------


def main() -> None:
    """Answer requests until there is none."""
    import_all()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    for line in sys.stdin:
        answers.write(json.dumps(run_once(**json.loads(line))) + "\n")


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


def run_once(*, inject: str | None, trace: str | None, **command: Any) -> dict[str, Any]:
    """Run the command in a fork, under strace if there is something to inject or to trace."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        _be_the_command(reader, **command)
    os.close(reader)
    tracer = None
    try:
        if inject or trace:
            tracer = _attach(child, inject, trace)
        os.write(writer, b"go")
        _, status = os.waitpid(child, 0)
    except OSError as error:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return {"refused": str(error)}
    finally:
        os.close(writer)
        if tracer is not None:
            tracer.communicate(timeout=60)
    return {"code": os.waitstatus_to_exitcode(status)}


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


def _be_the_command(
    go: int,
    *,
    folder: str,
    said: str,
    arguments: Sequence[str],
    file_limit: int | None,
    environment: Mapping[str, str] | None,
) -> NoReturn:
    os.chdir(folder)
    if environment is not None:
        os.environ.clear()
        os.environ.update(environment)
    os.read(go, 1)
    os.close(go)
    _redirect(os.devnull, 0, os.O_RDONLY)
    _redirect(f"{said}/out.txt", 1, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    _redirect(f"{said}/err.txt", 2, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    sys.argv = ["tunectl", *arguments]
    sys.path[0] = str(Path(sys.executable).parent)  # as if it had been started from there
    from tunectl.__main__ import main as command

    try:
        command()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    gc.collect()  # as at a usual end, the database is closed
    os._exit(code)


def _redirect(name: str, number: int, flags: int) -> None:
    opened = os.open(name, flags, 0o644)
    os.dup2(opened, number)
    os.close(opened)


if __name__ == "__main__":
    main()
