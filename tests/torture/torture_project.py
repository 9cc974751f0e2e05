"""What the torture tests share: a small project, starting it, and all that must not be lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
import yaml
from filelock import FileLock

from forked_tunectl import forked_tunectl

TUNECTL = Path(sys.executable).with_name("tunectl")
CONFIG = "mlflow: {enabled: false}\n"  # it has its own tests
PARAMS = """\
dataset: {source: npy, x_path: x.npy, t_path: t.npy, drop_channels: [], target_names: [a, b]}
model: {hidden: 4}
training: {batch_size: 8}
"""
# Two short trials: the second one is TPE's, and each has a parameter that depends on another.
SHORT = """\
study:
  name: short
  n_trials: 2
  sampler: {name: TPESampler, kwargs: {n_startup_trials: 1}}
  pruner: {name: NopPruner}
params_to_tune:
  training.learning_rate: {type: float, low: 1.0e-3, high: 1.0e-1, log: true}
  training.use_weighted_loss: {type: categorical, choices: [true, false]}
  training.weight_target_0:
    {type: float, low: 0.1, high: 10.0, when: {training.use_weighted_loss: true}}
base_params: {training: {epochs: 2}}
"""
_CALL = re.compile(r"\d+ +(\w+)\(")


@dataclass(frozen=True, kw_only=True)
class Unbroken:
    """A study that nothing happened to; its folders are to be copied, not changed.

    Args:
        facts: What it came to.
        untouched: Its project before it was run.
        finished: Its project now.
    """

    facts: list[dict[str, Any]]
    untouched: Path
    finished: Path


@dataclass(frozen=True, kw_only=True)
class Write:
    """A call of a run that changes something on the disk.

    Args:
        call: Its name.
        count: How many of its name came before, and itself.
        text: The call as strace writes it.
    """

    call: str
    count: int
    text: str

    def broken(self, how: str) -> str:
        """Return strace's expression for breaking it."""
        return f"{self.call}:{how}:when={self.count}"


def unbroken_study(tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    """Return the short study, which is run once, also for the processes of pytest-xdist."""
    base = shared_folder(tmp_path_factory)
    untouched, finished = base / "untouched", base / "finished"
    with FileLock(base / "unbroken.lock"):
        if not (base / "unbroken.done").exists():
            make_project(emptied(untouched), SHORT)
            ended = forked_tunectl()(copy_of(untouched, finished), "tune")
            assert ended.code == 0, ended
            (base / "unbroken.done").touch()
    return Unbroken(facts=facts(finished), untouched=untouched, finished=finished)


def traced_writes(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Write]:
    """Return all that the short study writes, in its order; skip the test without strace."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    base = shared_folder(tmp_path_factory)
    with FileLock(base / "trace.lock"):
        if not (base / "trace.done").exists():
            folder = make_project(emptied(base / "traced"), SHORT)
            assert forked_tunectl()(folder, "tune", trace=base / "trace").code == 0
            (base / "trace.done").touch()
    writes = read_writes(base / "trace")
    assert len(writes) > 100
    return writes


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all processes of this test run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def read_writes(trace: Path) -> Sequence[Write]:
    """Return the writes of a traced run, in their order."""
    counts: Counter[str] = Counter()
    writes = []
    for line in trace.read_text().splitlines():
        if found := _CALL.match(line):
            call = found[1]
            counts[call] += 1
            writes.append(Write(call=call, count=counts[call], text=line))
    return writes


def make_project(folder: Path, search: str, *, samples: int = 60, config: str = CONFIG) -> Path:
    """Write a project with data that a small network can learn in part.

    Args:
        folder: A folder that is not there yet.
        search: Text of `optuna_params.yaml`.
        samples: How many samples.
        config: Text of `config.yaml`.
    """
    folder.mkdir()
    generator = np.random.default_rng(0)
    t = generator.normal(size=(samples, 2)).astype(np.float32)
    phase = np.linspace(0.0, 2 * np.pi, 32)
    waves = np.stack([t[:, :1] * np.sin(phase), t[:, 1:] * np.cos(phase)], axis=1)
    np.save(folder / "x.npy", (waves + 0.3 * generator.normal(size=waves.shape)).astype(np.float32))
    np.save(folder / "t.npy", t)
    (folder / "config.yaml").write_text(config)
    (folder / "params.yaml").write_text(PARAMS)
    (folder / "optuna_params.yaml").write_text(search)
    return folder


def emptied(folder: Path) -> Path:
    """Remove what a test that was skipped or failed has left half made in a folder's place."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def copy_of(project: Path, folder: Path) -> Path:
    """Return a copy of a project, links as links; what stood in its place is removed."""
    return Path(shutil.copytree(project, emptied(folder), symlinks=True))


def start(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `tunectl tune`; what it says goes to `log.txt`."""
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [TUNECTL, "tune", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        )


def shell(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script of bash, in which `$TUNECTL` is the installed command."""
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TUNECTL": str(TUNECTL)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[bytes]) -> Path:
    """Wait until a process has made a file."""
    while True:
        found = next(folder.glob(pattern), None)
        if found is not None:
            return found
        assert process.poll() is None, (folder / "log.txt").read_text()
        time.sleep(0.005)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder but locks, by its path in it; links are not followed."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and not path.name.endswith("lock")
    }


def summary(folder: Path) -> dict[str, Any]:
    """Return what `tunectl summary --json` says."""
    ended = forked_tunectl()(folder, "summary", "--json")
    assert ended.code == 0, ended
    document: dict[str, Any] = json.loads(ended.out)
    return document


def facts(folder: Path) -> list[dict[str, Any]]:
    """Return all that must not depend on interruptions, trial by trial."""
    url = f"sqlite:///{folder}/optuna/study.db"
    storage = optuna.storages.RDBStorage(url)
    try:
        (study,) = storage.get_all_studies()
        trials = storage.get_all_trials(study._study_id)
    finally:
        storage.remove_session()
        storage.engine.dispose()  # as a process that ends, it leaves no log beside the database
    return [_facts_of(folder, trial) for trial in trials]


def differences(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> list[str]:
    """Return what differs between the facts of two studies, in a few words each."""
    if len(found) != len(wanted):
        return [f"{len(found)} trials instead of {len(wanted)}"]
    return [
        f"another {name} of trial {number}"
        for number, (one, other) in enumerate(zip(found, wanted, strict=True))
        for name in other
        if one[name] != other[name]
    ]


def _facts_of(folder: Path, trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    metrics = {
        name: value
        for name, value in trial.user_attrs.get("metrics", {}).items()
        if "time" not in name
    }
    weights = folder / trial.user_attrs["output_dir"] / "weights" / "model_simplecnn_real.pth"
    state = torch.load(weights, weights_only=True) if weights.is_file() else {}
    return {
        "number": trial.number,
        "state": trial.state.name,
        "values": trial.values,
        "params": trial.params,
        "intermediate": trial.intermediate_values,
        "metrics": metrics,
        "weights": {name: tensor.numpy().tobytes() for name, tensor in state.items()},
    }


def assert_sound(folder: Path) -> None:
    """Assert that the database is sound and no file under a final name is half-written."""
    database = folder / "optuna" / "study.db"
    if database.exists():
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    for root in ("outputs", "optuna"):
        for file in (folder / root).rglob("*"):
            if file.is_file() and not file.name.startswith("."):
                _read(file)


def _read(file: Path) -> None:
    """Read a file as what its name says it is, to its end."""
    readers: dict[str, Any] = {
        ".json": lambda: json.loads(file.read_bytes()),
        ".yaml": lambda: _mapping(yaml.safe_load(file.read_bytes())),
        ".npy": lambda: np.load(file, allow_pickle=False),
        ".pth": lambda: torch.load(file, weights_only=True),
        ".png": lambda: _ends_with(file, b"IEND\xaeB`\x82"),
    }
    read = readers.get(file.suffix)
    if read is not None:
        read()


def _mapping(document: object) -> None:
    assert isinstance(document, dict)


def _ends_with(file: Path, end: bytes) -> None:
    assert file.read_bytes().endswith(end), file
