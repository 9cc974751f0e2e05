"""`summary --watch` while the study changes, and the live display of `tune`, on a real terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import sqlite3
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import optuna
import pytest
from cli_project import PATIENCE_S, TUNECTL, Project, environment_with
from objective_cases import function_project
from warm_project import WarmProject

WATCH = ("summary", "--watch", "--interval", "0.1", "--study", "seen")


def study_in(project: Project, database: str = "study.db") -> optuna.Study:
    """Return the study that is watched, made if it is not there."""
    folder = project.path / "optuna"
    folder.mkdir(exist_ok=True)
    return optuna.create_study(
        study_name="seen", storage=f"sqlite:///{folder / database}", load_if_exists=True
    )


def add(study: optuna.Study, *values: float) -> None:
    study.add_trials([optuna.trial.create_trial(value=value) for value in values])


def read_until(process: subprocess.Popen[str], stream: IO[str] | None, text: str) -> str:
    """Read lines of a process until one has a text; return them all."""
    assert stream is not None
    seen = ""
    watchdog = threading.Timer(PATIENCE_S, process.kill)
    watchdog.start()
    try:
        while text not in seen:
            line = stream.readline()
            assert line, f"it ended without {text!r}: {seen}"
            seen += line
    finally:
        watchdog.cancel()
    return seen


@dataclass
class Terminal:
    """A command on a terminal of its own, and what was to be seen there."""

    process: subprocess.Popen[bytes]
    descriptor: int
    seen: str = ""

    def wait_for(self, *texts: str) -> None:
        """Read until all texts were to be seen."""
        deadline = time.monotonic() + PATIENCE_S
        while not all(text in self.seen for text in texts):
            assert time.monotonic() < deadline, self.seen
            assert self._read(), f"it ended without {texts}: {self.seen}"

    def end(self, number: int | None = None) -> int:
        """Send a signal if there is one, read to the end, and return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        while self._read():
            pass
        return self.process.wait(PATIENCE_S)

    def _read(self) -> bool:
        assert select.select([self.descriptor], [], [], PATIENCE_S)[0], self.seen
        try:
            block = os.read(self.descriptor, 65536)
        except OSError:  # Linux says so when the other side has gone
            return False
        self.seen += block.decode("utf-8", "replace")
        return bool(block)


@contextmanager
def on_terminal(project: Project, *arguments: str) -> Iterator[Terminal]:
    """Start a command on a terminal of 80 columns and 24 lines."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [TUNECTL, *arguments],
        cwd=project.path,
        env=environment_with({"TERM": "xterm-256color"}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_without_a_terminal_the_study_is_printed_once_more_when_it_has_changed(
    tmp_path: Path,
) -> None:
    project = WarmProject(tmp_path)
    with project.started(*WATCH) as process:
        said = read_until(process, process.stderr, "waiting for it")
        assert "there is no study yet" in said or "no study 'seen'" in said

        study = study_in(project)
        add(study, 3.0)
        first = read_until(process, process.stdout, "1 complete")
        assert first.startswith("--- ")
        add(study, 1.0, 2.0)
        assert "best trial  1" in read_until(process, process.stdout, "best trial  1")
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, err) == (130, "")
    assert (first + rest).count("--- 20") < 4


@pytest.mark.long
def test_a_database_that_is_locked_or_replaced_is_read_when_it_can_be(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)
    add(study_in(project), 3.0)
    add(study_in(project, "other.db"), 2.0, 1.0)
    database = project.path / "optuna" / "study.db"
    with project.started(*WATCH) as process:
        read_until(process, process.stdout, "1 complete")
        with closing(sqlite3.connect(database, isolation_level=None)) as holder:
            holder.execute("BEGIN EXCLUSIVE")
            os.utime(database)  # else there is nothing new to read, and nobody notices
            read_until(process, process.stderr, "trying again")
            holder.execute("ROLLBACK")
        (project.path / "optuna" / "other.db").replace(database)
        read_until(process, process.stdout, "2 complete")

        optuna.delete_study(study_name="seen", storage=f"sqlite:///{database}")
        read_until(process, process.stderr, "waiting for it")
        add(study_in(project), 1.0, 1.0, 1.0)
        read_until(process, process.stdout, "3 complete")


def test_a_closed_pipe_ends_the_watch_quietly_though_nothing_changes(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)
    add(study_in(project), 3.0)
    with project.started(*WATCH) as process:
        read_until(process, process.stdout, "1 complete")
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr.read() == ""


def test_a_terminal_is_redrawn_in_place_and_given_back(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)
    study = study_in(project)
    add(study, 3.0, 2.0)
    with on_terminal(project, *WATCH, "--top", "1") as terminal:
        terminal.wait_for("2 complete", "the best trial", "Ctrl-C ends it")
        add(study, 1.0)
        terminal.wait_for("3 complete")
        code = terminal.end(signal.SIGINT)

    assert code == 130
    assert terminal.seen.count("\x1b[?1049h") == terminal.seen.count("\x1b[?1049l") == 1
    assert "Traceback" not in terminal.seen
    assert terminal.seen.endswith("\x1b[?25h\x1b[?1049l")  # nothing is said after it


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--watch", "--json"], "--watch excludes --json and --csv"),
        (["--interval", "3"], "--interval goes with --watch"),
        (["--watch", "--interval", "0"], "--interval"),
    ],
)
def test_what_cannot_be_watched_is_wrong_usage(
    tmp_path: Path, options: list[str], words: str
) -> None:
    result = WarmProject(tmp_path).tunectl("summary", *options)
    assert (result.code, result.out) == (2, "")
    assert words in result.said


@pytest.mark.slow
def test_tune_shows_how_far_each_trial_is_and_leaves_the_terminal_as_it_was(
    tmp_path: Path,
) -> None:
    project = function_project(tmp_path, n_trials=4)
    slowly = ("training.epochs=1000000", "training.pause_s=0.01")
    with on_terminal(project, "tune", *slowly) as terminal:
        terminal.wait_for("4 trials to run", "loss", "/1000000", "study", "0/4", "at most")
        code = terminal.end(signal.SIGINT)

    assert code == 130
    assert "stopped; everything is saved" in terminal.seen
    assert "Traceback" not in terminal.seen
    assert terminal.seen.count("\x1b[?25l") == terminal.seen.count("\x1b[?25h")
    (trial,) = project.trials("s")
    assert trial.state.name == "RUNNING"

    summary = project.ok("summary").out
    assert "trial 0: interrupted in epoch" in summary
