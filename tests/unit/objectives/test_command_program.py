"""A program under its guard: what it says, how it ends, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tunectl.errors import ObjectiveError
from tunectl.objectives.command.leftovers import end_leftovers
from tunectl.objectives.command.program import End, Program, Said

PATIENCE_S = 60.0
IS_LINUX = sys.platform.startswith("linux")


@contextmanager
def running(folder: Path, script: str, *, grace_s: float = 30.0) -> Iterator[Program]:
    """Run a shell script under a guard; whatever still runs is ended after the block."""
    program = Program(
        ["sh", "-c", script, "script", str(folder)],
        folder=folder,
        environment=dict(os.environ),
        grace_s=grace_s,
    )
    try:
        yield program
    finally:
        program.close()


def rest_of(program: Program) -> list[Said]:
    """Return all that a program still says, to its end."""
    said: list[Said] = []
    deadline = time.monotonic() + PATIENCE_S
    while program.end is None:
        assert time.monotonic() < deadline
        said += program.listen(0.05)
    return said


def hear(program: Program, text: str) -> None:
    """Wait until a program has said something."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if any(one.text == text for one in program.listen(0.05)):
            return
    raise AssertionError(f"it did not say {text!r}")


def pid_in(file: Path) -> int:
    """Wait for a file with the number of a process."""
    wait_until(lambda: file.is_file() and file.read_text().strip() != "")
    return int(file.read_text())


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def open_files() -> int:
    """Return how many files this process has open, 0 where that is not known."""
    return len(list(Path("/proc/self/fd").iterdir())) if IS_LINUX else 0


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def test_what_it_says_comes_line_by_line_and_its_exit_code_at_the_end(tmp_path: Path) -> None:
    with running(tmp_path, "echo one; echo two >&2; printf three; exit 3") as program:
        said = rest_of(program)
    assert [one.text for one in said if not one.is_error] == ["one", "three"]
    assert [one.text for one in said if one.is_error] == ["two"]
    assert program.end == End(exit_code=3)


def test_a_signal_that_ends_it_is_named(tmp_path: Path) -> None:
    with running(tmp_path, "kill -SEGV $$") as program:
        rest_of(program)
    assert str(program.end) == "SIGSEGV"


def test_it_hears_nothing_on_its_standard_input_and_has_a_session_of_its_own(
    tmp_path: Path,
) -> None:
    with running(tmp_path, "cat; ps -o sid= -p $$ 2>/dev/null; echo $$") as program:
        said = [one.text for one in rest_of(program)]
    assert int(said[-1]) != os.getsid(0)
    assert len(set(map(int, said))) == 1


def test_what_it_leaves_behind_in_the_background_is_ended(tmp_path: Path) -> None:
    with running(tmp_path, 'sleep 1000 & echo $! > "$1/pid"') as program:
        rest_of(program)
        assert is_gone(pid_in(tmp_path / "pid"))
    assert program.end == End(exit_code=0)


@pytest.mark.skipif(not IS_LINUX, reason="an orphan is found only where it can be adopted")
def test_a_daemon_that_leaves_its_group_is_ended_too(tmp_path: Path) -> None:
    daemon = "import os, time; os.setsid(); time.sleep(1000)"
    script = f'{sys.executable} -c "{daemon}" & echo $! > "$1/pid"; sleep 0.3'
    with running(tmp_path, script) as program:
        rest_of(program)
    assert is_gone(pid_in(tmp_path / "pid"))


def test_told_to_end_it_may_say_its_last_words(tmp_path: Path) -> None:
    script = "trap 'echo last; exit 5' TERM; echo ready; while :; do sleep 0.01; done"
    with running(tmp_path, script) as program:
        hear(program, "ready")
        program.stop()
        assert [one.text for one in rest_of(program)][-1] == "last"
    assert program.end == End(exit_code=5)


def test_one_that_does_not_listen_is_killed_with_all_its_children(tmp_path: Path) -> None:
    child = 'trap "" TERM; echo $$ > "$0/pid"; while :; do sleep 1; done'
    script = f"""trap '' TERM; sh -c '{child}' "$1" &
    while [ ! -s "$1/pid" ]; do sleep 0.01; done; echo ready; wait; wait"""
    with running(tmp_path, script, grace_s=0.2) as program:
        hear(program, "ready")
        program.stop()
        rest_of(program)
    assert program.end == End(signal_number=signal.SIGKILL)
    assert is_gone(pid_in(tmp_path / "pid"))


def test_a_delay_gives_it_time_to_end_by_itself(tmp_path: Path) -> None:
    script = 'echo ready; while [ ! -e "$1/stop" ]; do sleep 0.01; done; echo saved'
    with running(tmp_path, script) as program:
        hear(program, "ready")
        program.stop(PATIENCE_S)
        (tmp_path / "stop").touch()
        assert [one.text for one in rest_of(program)] == ["saved"]
    assert program.end == End(exit_code=0)


def test_it_ends_when_whoever_started_it_is_killed(tmp_path: Path) -> None:
    script = 'echo $$ > "$1/pid"; sleep 1000 & echo $! > "$1/child"; wait'
    starter = f"""
import os, sys, time
from pathlib import Path
from tunectl.objectives.command.leftovers import end_leftovers
from tunectl.objectives.command.program import Program
program = Program(["sh", "-c", {script!r}, "script", sys.argv[1]], folder=Path("/"),
                  environment=dict(os.environ), grace_s=30.0)
time.sleep(1000)
"""
    process = subprocess.Popen([sys.executable, "-c", starter, str(tmp_path)])
    pids = [pid_in(tmp_path / name) for name in ("pid", "child")]
    process.kill()
    process.wait()
    wait_until(lambda: all(map(is_gone, pids)))


@pytest.mark.skipif(not IS_LINUX, reason="only there a parent's death is heard of")
def test_it_does_not_outlive_its_guard(tmp_path: Path) -> None:
    with running(tmp_path, 'echo $$ > "$1/pid"; exec sleep 1000') as program:
        pid = pid_in(tmp_path / "pid")
        os.kill(program._guard.pid, signal.SIGKILL)
        with pytest.raises(ObjectiveError, match="watched over"):
            rest_of(program)
        wait_until(lambda: is_gone(pid))


def test_what_it_has_started_does_not_outlive_its_guard_either(tmp_path: Path) -> None:
    script = 'sleep 1000 & echo $! > "$1/pid"; sleep 1000; true'
    with running(tmp_path, script) as program:
        pid = pid_in(tmp_path / "pid")
        os.kill(program._guard.pid, signal.SIGKILL)
        with pytest.raises(ObjectiveError, match="watched over"):
            rest_of(program)
    wait_until(lambda: is_gone(pid))


@pytest.mark.skipif(not IS_LINUX, reason="only there the kernel tells whose processes they are")
def test_what_worker_and_guard_have_left_is_ended_by_the_next_attempt(tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    program = Program(
        ["sh", "-c", f'sleep 1000 & echo $! > "{tmp_path}/pid"; wait; true'],
        folder=tmp_path,
        environment={**os.environ, "TUNECTL_TRIAL_DIR": str(tmp_path)},
        grace_s=1.0,
        lock=lock,
    )
    pid = pid_in(tmp_path / "pid")
    program._guard.kill()
    program._guard.wait()
    program.close(in_a_hurry=True)

    wait_until(lambda: is_gone(os.getpgid(pid)))
    noted = os.pread(lock, 100, 0)

    assert end_leftovers(lock, tmp_path / "another") == 0
    os.pwrite(lock, noted, 0)
    assert not is_gone(pid)
    assert end_leftovers(lock, tmp_path) >= 1
    wait_until(lambda: is_gone(pid))
    assert os.fstat(lock).st_size == 0
    os.close(lock)


def test_its_environment_is_not_its_guards(tmp_path: Path) -> None:
    own = tmp_path / "bin"
    own.mkdir()
    (own / "greet").write_text("#!/bin/sh\necho hello from $LD_LIBRARY_PATH\n")
    (own / "greet").chmod(0o755)
    environment = {"PATH": f"{own}:{os.environ['PATH']}", "LD_LIBRARY_PATH": "nowhere"}
    program = Program(["greet"], folder=tmp_path, environment=environment, grace_s=1.0)
    try:
        if IS_LINUX:
            said = Path(f"/proc/{program._guard.pid}/environ").read_bytes()
            assert b"nowhere" not in said
        assert [one.text for one in rest_of(program)] == ["hello from nowhere"]
    finally:
        program.close()


def test_what_cannot_be_started_is_said(tmp_path: Path) -> None:
    (tmp_path / "no-program").write_text("echo no first line")
    (tmp_path / "no-program").chmod(0o755)
    for name, reason in (("./nothing", "No such file"), ("./no-program", "#!/bin/sh")):
        program = Program([name], folder=tmp_path, environment={}, grace_s=1.0)
        with pytest.raises(ObjectiveError, match=reason):
            rest_of(program)
        program.close()


def test_endless_output_takes_no_memory_and_ends_when_told(tmp_path: Path) -> None:
    with running(tmp_path, "tr '\\0' x < /dev/zero") as program:
        for _ in range(50):
            list(program.listen(0.05))
        assert sum(len(one._rest) for one in program._lines.values()) < 10_000
        program.stop()
        said = rest_of(program)
    assert all(len(one.text) < 5_000 for one in said)


def test_nothing_stays_open_behind_it(tmp_path: Path) -> None:
    before = open_files()
    for _ in range(3):
        with running(tmp_path, "echo x") as program:
            rest_of(program)
        assert program._guard.returncode == 0
    assert open_files() == before
