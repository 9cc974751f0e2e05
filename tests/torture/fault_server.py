"""Runs `tunectl` again and again, each time in a fork of one process that has imported everything.

A start costs seconds, most of them imports; a fork costs none of them, and every write that strace
counts in it is the program's own doing.

It reads a JSON document per line: `folder`, `arguments`, `inject` (an expression of strace, null
for none) and `trace` (a file for the calls that change something, null for none). It answers with
one per line: `code`, negative for a signal, or `refused`, why strace could not be used. What the
command said is in `out.txt` and `err.txt` of the folder.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

CHANGING = "write,pwrite64,fsync,fdatasync,ftruncate,rename,unlink,rmdir,mkdir,symlink"
BROKEN = 99


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


def run_once(
    folder: str, arguments: Sequence[str], inject: str | None, trace: str | None
) -> dict[str, Any]:
    """Run the command in a fork, under strace if there is something to inject or to trace."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        _be_the_command(folder, arguments, reader)
    os.close(reader)
    tracer = None
    try:
        if inject or trace:
            tracer = _attach(child, inject, trace)
        os.write(writer, b"go")
        _, status = os.waitpid(child, 0)
    except PermissionError as error:
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
        PermissionError: it is not allowed to.
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


def _be_the_command(folder: str, arguments: Sequence[str], go: int) -> NoReturn:
    os.chdir(folder)
    os.read(go, 1)
    os.close(go)
    _redirect(os.devnull, 0, os.O_RDONLY)
    _redirect("out.txt", 1, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    _redirect("err.txt", 2, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    sys.argv = ["tunectl", *arguments]
    from tunectl.__main__ import main as command

    try:
        command()
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else BROKEN)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    os._exit(BROKEN)


def _redirect(name: str, number: int, flags: int) -> None:
    opened = os.open(name, flags, 0o644)
    os.dup2(opened, number)
    os.close(opened)


if __name__ == "__main__":
    main()
