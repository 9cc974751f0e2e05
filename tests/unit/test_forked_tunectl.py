"""What runs the commands of other tests: a test never gets the answer to another one's command."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from forked_tunectl import ForkedTunectl

SEARCH = """\
study: {name: s, sampler: {name: mine.Sampler}}
params_to_tune: {training.learning_rate: {low: 0.1, high: 0.2}}
"""


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

    # What a command leaves behind could write to what a test reads as this command's output.
    (tmp_path / "config.yaml").unlink()
    (tmp_path / "config.yaml").write_text("plugins: {allow: [mine]}\n")
    (tmp_path / "optuna_params.yaml").write_text(SEARCH)
    (tmp_path / "mine.py").write_text("import subprocess\nsubprocess.Popen(['sleep', '600'])\n")
    tunectl.linger_s = 0.5
    with pytest.raises(AssertionError, match="left behind"):
        tunectl(tmp_path, "check")
    assert is_deserted(tmp_path)

    with pytest.raises(AssertionError, match="FileNotFoundError"):
        tunectl(tmp_path / "nowhere", "--version")
    assert tunectl(tmp_path, "--version") == version
