"""A project folder in which the installed `tunectl` is run as a user runs it, as a process.

What the tests of `tests/cli` share: tiny data that can be learnt, small YAML files, the command.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import optuna
import pytest
import yaml
from filelock import FileLock

TUNECTL = Path(sys.executable).with_name("tunectl")
PATIENCE_S = 120.0
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
N_SAMPLES, N_TEST = 40, 6
TARGETS = ("a", "flow [m/s]")  # brackets are markup to Rich and no good in a file's name

PARAMS = """\
dataset:
  {source: npy, x_path: x.npy, t_path: t.npy, drop_channels: [], target_names: [a, "flow [m/s]"]}
model: {hidden: 4}
training: {epochs: 2, batch_size: 8}
"""
CONFIG = "runtime: {device: cpu}\nmlflow: {enabled: false}\n"  # MLflow has its own tests
SEARCH = """\
study: {name: small, n_trials: 4, pruner: {name: NopPruner}}
params_to_tune:
  training.learning_rate: {type: float, low: 1.0e-4, high: 1.0e-1, log: true}
  model.use_residual: {type: categorical, choices: [true, false]}
"""
# Whatever the order: three trials complete, 3.0 is so bad that it is pruned, 1e30 diverges.
MIXED_SEARCH = """\
study:
  name: mixed
  sampler: {name: GridSampler}
  pruner: {name: ThresholdPruner, kwargs: {upper: 1000.0}}
failures: {diverged: fail, explosion: 1.0e+15}
params_to_tune:
  training.learning_rate: {type: categorical, choices: [0.02, 0.01, 0.005, 3.0, 1.0e+30]}
"""


@dataclass(frozen=True)
class Result:
    """What a finished command left."""

    code: int
    out: str
    err: str

    def document(self) -> Any:
        """Return standard output as exactly one strict JSON document."""
        return json.loads(self.out, parse_constant=_refuse)

    @property
    def said(self) -> str:
        """All it said in one line, without the frames that Typer draws around its errors."""
        return " ".join(re.sub(r"[│╭╰─╮╯]", " ", self.out + self.err).split())


def _refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")


class Project:
    """A project folder.

    Args:
        path: The folder; made if missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def tunectl(
        self, *arguments: str | Path, cwd: Path | None = None, **environment: str
    ) -> Result:
        """Run a command to its end, without a terminal."""
        done = subprocess.run(
            [TUNECTL, *map(str, arguments)],
            cwd=cwd or self.path,
            env=environment_with(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        result = Result(done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in result.out + result.err, result.err
        return result

    def ok(self, *arguments: str | Path, **environment: str) -> Result:
        """Run a command that has to succeed."""
        result = self.tunectl(*arguments, cwd=None, **environment)
        assert result.code == 0, result
        return result

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command; it is killed at the end of the block if it still runs."""
        process = subprocess.Popen(
            [TUNECTL, *arguments],
            cwd=self.path,
            env=environment_with({}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def in_terminal(self, *arguments: str, answer: str = "", **environment: str) -> tuple[int, str]:
        """Run a command on a terminal of its own; return its exit code and what was to be seen."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [TUNECTL, *arguments],
            cwd=self.path,
            env=environment_with({"TERM": "xterm-256color", **environment}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        try:
            os.write(ours, answer.encode())
            seen = b"".join(_read_to_end(ours))
            return process.wait(PATIENCE_S), seen.decode()
        finally:
            process.kill()
            process.wait()
            os.close(ours)

    def write(self, **files: str) -> None:
        """Write YAML files by name."""
        for name, text in files.items():
            (self.path / f"{name}.yaml").write_text(text, encoding="utf-8")

    def yaml(self, file: str | Path) -> Any:
        """Return what a YAML file says."""
        return yaml.safe_load((self.path / file).read_text(encoding="utf-8"))

    def json(self, file: str | Path) -> Any:
        """Return what a JSON file says, which has to be strict."""
        return json.loads((self.path / file).read_text(encoding="utf-8"), parse_constant=_refuse)

    @property
    def url(self) -> str:
        """The database's URL."""
        return f"sqlite:///{self.path / 'optuna' / 'study.db'}"

    def study(self, name: str) -> optuna.Study:
        """Return a study as any program with Optuna sees it."""
        return optuna.load_study(study_name=name, storage=self.url)

    def trials(self, name: str) -> list[optuna.trial.FrozenTrial]:
        """Return a study's trials, likewise."""
        return self.study(name).get_trials()

    def database(self) -> str | None:
        """Return all that the database holds, None where there is none."""
        file = self.path / "optuna" / "study.db"
        if not file.exists():
            return None
        with closing(sqlite3.connect(file)) as connection:
            return "\n".join(connection.iterdump())

    def files(self) -> set[str]:
        """Return the names of everything in the folder."""
        return {str(path.relative_to(self.path)) for path in self.path.rglob("*")}


def environment_with(more: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which nothing but `more` is meant for the command."""
    ours = ("TUNECTL_", "OPTUNA_", "OMP_", "GOMP_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return {**kept, "OMP_NUM_THREADS": "1", **more}


def small_project(path: Path, **files: str) -> Project:
    """Return a project with 40 samples that a small network can learn, and nothing run yet.

    Args:
        path: The folder.
        files: Texts of YAML files that differ from the usual ones, by name.
    """
    project = Project(path)
    generator = np.random.default_rng(0)
    t = generator.normal(size=(N_SAMPLES, 2)).astype(np.float32)
    phase = np.linspace(0.0, 2 * np.pi, 32)
    waves = np.stack([t[:, :1] * np.sin(phase), t[:, 1:] * np.cos(phase)], axis=1)
    noise = 0.05 * generator.normal(size=waves.shape)
    np.save(path / "x.npy", (waves + noise).astype(np.float32))
    np.save(path / "t.npy", t)
    project.write(**{"config": CONFIG, "params": PARAMS, "optuna_params": SEARCH, **files})
    return project


def mixed_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project with a finished study that has complete, pruned and failed trials.

    It is made once and shared, also between the processes of pytest-xdist, so a test may only read
    it; one that changes something takes a `copy_of` it.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    path = base / "mixed"
    with FileLock(base / "mixed.lock"):
        if not (base / "mixed.done").exists():
            result = small_project(path, optuna_params=MIXED_SEARCH).ok("tune")
            (base / "mixed.out").write_text(result.out, encoding="utf-8")
            (base / "mixed.err").write_text(result.err, encoding="utf-8")
            (base / "mixed.done").touch()
    return Project(path)


def made_once(
    tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]
) -> Path:
    """Return a folder that is made once and shared, also between the processes of pytest-xdist.

    Args:
        tmp_path_factory: Where it goes.
        name: Its name, which nothing else made like this may have.
        make: Makes it, given its path.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    with FileLock(base / f"{name}.lock"):
        if not (base / f"{name}.done").exists():
            make(base / name)
            (base / f"{name}.done").touch()
    return base / name


def bundle_of(mixed: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundle of the `mixed_project`'s best trial, likewise only to be read."""

    def export(folder: Path) -> None:
        assert mixed.ok("best", "--export", "--to", folder).out == f"{folder}\n"

    return made_once(tmp_path_factory, "bundle-of-mixed", export)


def copy_of(project: Project, path: Path) -> Project:
    """Return a copy of a project, which may be changed."""
    shutil.copytree(project.path, path, symlinks=True, dirs_exist_ok=True)
    return Project(path)


def claim_trials(project: Project, before: Project) -> None:
    """Let the trials of a copy have run there, so that nothing of theirs is looked for elsewhere.

    Args:
        project: The copy.
        before: What it is a copy of.
    """
    with closing(sqlite3.connect(project.path / "optuna" / "study.db")) as connection:
        connection.execute(
            "UPDATE trial_user_attributes SET value_json = replace(value_json, ?, ?) "
            "WHERE key = 'claimed_by'",
            (str(before.path), str(project.path)),
        )
        connection.commit()


def wait_until(process: subprocess.Popen[str], text: str) -> str:
    """Wait until a process has said something on standard error; return all it said so far."""
    assert process.stderr is not None
    said = ""
    while text not in said:
        line = process.stderr.readline()
        assert line, f"it ended without {text!r}: {said}"
        said += line
    return said


def wait_for_file(project: Project, pattern: str) -> Path:
    """Wait until a file is there."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = next(project.path.glob(pattern), None)
        if found is not None:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{pattern} did not appear")


def _read_to_end(descriptor: int) -> Iterator[bytes]:
    while True:
        ready, _, _ = select.select([descriptor], [], [], PATIENCE_S)
        assert ready, "nothing more was to be seen, but the terminal stayed open"
        try:
            block = os.read(descriptor, 65536)
        except OSError:  # Linux says so when the other side has gone
            return
        if not block:
            return
        yield block
