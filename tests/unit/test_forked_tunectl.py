"""What runs the commands of other tests: a test never gets the answer to another one's command."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from forked_tunectl import ForkedTunectl, is_held


@pytest.fixture(scope="module")
def tunectl() -> Iterator[ForkedTunectl]:
    command = ForkedTunectl()
    yield command
    command.close()


def is_deserted(folder: Path) -> bool:
    """Whether no process is at work in a folder, or will be in a moment."""
    deadline = time.monotonic() + 60
    while _at_work_in(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not _at_work_in(folder)


def _at_work_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(folder):
                found.append(process)
    return found


@pytest.mark.slow
def test_after_a_command_that_hangs_or_breaks_the_next_one_gets_its_own_answer(
    tunectl: ForkedTunectl, tmp_path: Path
) -> None:
    version = tunectl(tmp_path, "--version")
    os.mkfifo(tmp_path / "config.yaml")  # reading it waits for somebody to write

    tunectl.patience_s = 1.0
    with pytest.raises(AssertionError, match=r"hangs.*summary"):
        tunectl(tmp_path, "summary")
    assert is_deserted(tmp_path)
    tunectl.patience_s = 120.0

    with pytest.raises(AssertionError, match="FileNotFoundError"):
        tunectl(tmp_path / "nowhere", "--version")
    assert tunectl(tmp_path, "--version") == version


def test_output_is_held_for_as_long_as_something_that_was_left_behind_could_write_to_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "out.txt"
    with file.open("w") as out:
        fcntl.flock(out, fcntl.LOCK_EX)
        left = subprocess.Popen(["sleep", "600"], stdout=out, start_new_session=True)
    with left:
        assert is_held(file)
        left.kill()
        left.wait()
        assert not is_held(file)
