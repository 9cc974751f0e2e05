"""Break a short study at its N-th write, for N over all of them: the next run finds all it needs.

`TUNECTL_SWEEP` says how many: `all`, or a number k for every k-th write (`make torture`); a few
where it is not set. Linux only: strace counts the writes and breaks them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torture_project import assert_sound, facts, make_project

SWEEP = os.environ.get("TUNECTL_SWEEP", "")
N_TRIALS = 2
# The second trial is TPE's, and each has a parameter that depends on another.
SEARCH = f"""\
study:
  name: sweep
  n_trials: {N_TRIALS}
  sampler: {{name: TPESampler, kwargs: {{n_startup_trials: 1}}}}
  pruner: {{name: NopPruner}}
params_to_tune:
  training.learning_rate: {{type: float, low: 1.0e-3, high: 1.0e-1, log: true}}
  training.use_weighted_loss: {{type: categorical, choices: [true, false]}}
  training.weight_target_0:
    {{type: float, low: 0.1, high: 10.0, when: {{training.use_weighted_loss: true}}}}
base_params: {{training: {{epochs: 2}}}}
"""
CALL = re.compile(r"\d+ +(\w+)\(")
KILLED = -9
CAUSE = {
    "ENOSPC": "No space left on device|disk is full|disk I/O error",
    "EIO": "Input/output error|disk I/O error",
}


@dataclass(frozen=True)
class Write:
    """One of a run's calls that change something on the disk: the `count`-th of its kind."""

    call: str
    count: int

    def broken(self, how: str) -> str:
        """Return strace's expression for breaking it."""
        return f"{self.call}:{how}:when={self.count}"


class Server:
    """The process whose forks run the command."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("fault_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def tune(self, folder: Path, *, inject: str | None = None, trace: Path | None = None) -> int:
        """Run `tunectl tune`; return its exit code, negative for a signal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {
            "folder": str(folder),
            "arguments": ["tune"],
            "inject": inject,
            "trace": None if trace is None else str(trace),
        }
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        if "refused" in answer:
            pytest.skip(f"strace may not be used here: {answer['refused']}")
        return int(answer["code"])

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    server = Server()
    yield server
    server.end()


@dataclass(frozen=True)
class Unbroken:
    """A study that nobody broke.

    Args:
        facts: What it came to.
        writes: Its writes, in their order.
        untouched: A copy of its project, before it was run.
    """

    facts: list[dict[str, Any]]
    writes: Sequence[Write]
    untouched: Path


@pytest.fixture(scope="module")
def unbroken(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    base = tmp_path_factory.mktemp("sweep")
    untouched = make_project(base / "untouched", SEARCH)
    folder = copy_of(untouched, base / "unbroken")
    assert server.tune(folder, trace=base / "trace") == 0
    counts: Counter[str] = Counter()
    writes = []
    for line in (base / "trace").read_text().splitlines():
        if found := CALL.match(line):
            counts[found[1]] += 1
            writes.append(Write(found[1], counts[found[1]]))
    assert len(writes) > 100
    return Unbroken(facts(folder), writes, untouched)


def copy_of(untouched: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(untouched, folder))


def chosen(writes: Sequence[Write], few: int) -> Sequence[Write]:
    """Return every k-th write, or few of them, spread evenly."""
    step = 1 if SWEEP == "all" else int(SWEEP or len(writes) // few)
    return writes[step // 2 :: step]


def wrongs_after(server: Server, folder: Path, unbroken: Unbroken) -> Iterator[str]:
    """Yield what is wrong once the command has been given again."""
    code = server.tune(folder)
    if code != 0:
        yield f"the next run ended with {code}: {(folder / 'err.txt').read_text()}"
        return
    assert_sound(folder)
    if facts(folder) != unbroken.facts:
        yield f"another study came of it: {facts(folder)}"
    half = [path for path in folder.glob("outputs/*/*/**/.*") if path.name != ".lock"]
    if half:
        yield f"half files were left: {half}"


@pytest.mark.slow
def test_a_study_killed_at_any_write_becomes_the_study_it_would_have_been(
    server: Server, unbroken: Unbroken, tmp_path: Path
) -> None:
    wrong = []
    for write in chosen(unbroken.writes, 8):
        folder = copy_of(unbroken.untouched, tmp_path / "project")
        point = write.broken("signal=SIGKILL")

        code = server.tune(folder, inject=point)

        assert_sound(folder)
        assert code in (KILLED, 0), point  # 0: checkpoints are a matter of time, so counts vary
        wrong += [f"{point}: {what}" for what in wrongs_after(server, folder, unbroken)]
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("error", CAUSE)
def test_a_disk_that_fails_at_any_write_ends_the_run_with_its_reason_and_costs_no_trial(
    server: Server, unbroken: Unbroken, tmp_path: Path, error: str
) -> None:
    wrong = []
    for write in chosen(unbroken.writes, 5):
        folder = copy_of(unbroken.untouched, tmp_path / "project")
        point = write.broken(f"error={error}")

        code = server.tune(folder, inject=point)

        said = (folder / "err.txt").read_text()
        assert_sound(folder)
        if "Traceback" in said or "fault of tunectl" in said:
            wrong.append(f"{point}: {said}")
        if not _is_right_end(code, said, error):
            wrong.append(f"{point}: ended with {code}: {said}")
        n_directories = len(list(folder.glob("outputs/2*/*")))
        wrong += [f"{point}: {what}" for what in wrongs_after(server, folder, unbroken)]
        if n_directories > N_TRIALS:
            wrong.append(f"{point}: {n_directories} trial directories were left")
    assert wrong == []


def _is_right_end(code: int, said: str, error: str) -> bool:
    """Whether a run ended as it may: with nothing lost, or saying what is wrong."""
    if code == 0:
        return True  # it could do without, as SQLite can without truncating its log
    if code == 1:
        return "standard output cannot be written" in said
    return code == 7 and re.search(CAUSE[error], said) is not None
