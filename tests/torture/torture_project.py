"""What the torture tests share: a small project, starting it, and all that must not be lost."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
import yaml

TUNECTL = Path(sys.executable).with_name("tunectl")
PARAMS = """\
dataset: {source: npy, x_path: x.npy, t_path: t.npy, drop_channels: [], target_names: [a, b]}
model: {hidden: 4}
training: {batch_size: 8}
"""


def make_project(folder: Path, search: str, *, samples: int = 60, config: str = "{}\n") -> Path:
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


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start `tunectl tune`; what it says goes to `log.txt`."""
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [TUNECTL, "tune", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def facts(folder: Path) -> list[dict[str, Any]]:
    """Return all that must not depend on interruptions, trial by trial."""
    url = f"sqlite:///{folder}/optuna/study.db"
    (name,) = optuna.get_all_study_names(url)
    study = optuna.load_study(study_name=name, storage=url)
    return [_facts_of(folder, trial) for trial in study.get_trials()]


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
