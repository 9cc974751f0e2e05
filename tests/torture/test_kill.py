"""Kill a study at any moment, as often as you like: the same line ends it as if nothing had been.

`TUNECTL_KILLS` says how often (`make torture`: 40); a few times where it is not set.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch

KILLS = int(os.environ.get("TUNECTL_KILLS", "0"))
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT] if KILLS else [signal.SIGKILL]
CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
TRIALS = 12 if KILLS else 8
# Long enough that the study is not over before it has been struck so often.
EPOCHS = (1000, 3000) if KILLS else (20, 60)
CONFIG = "mlflow: {enabled: false}\n"
PARAMS = """\
dataset: {source: npy, x_path: x.npy, t_path: t.npy, drop_channels: [], target_names: [a, b]}
model: {hidden: 4}
training: {batch_size: 8}
"""
SEARCH = f"""\
study:
  name: torture
  n_trials: {TRIALS}
  sampler: {{name: TPESampler, kwargs: {{n_startup_trials: 4}}}}
  pruner: {{name: MedianPruner, kwargs: {{n_startup_trials: 2, n_warmup_steps: 3}}}}
params_to_tune:
  training.learning_rate: {{type: float, low: 1.0e-4, high: 1.0e-1, log: true}}
  training.epochs: {{type: int, low: {EPOCHS[0]}, high: {EPOCHS[1]}}}
  model.dropout_rate: {{type: float, low: 0.0, high: 0.5}}
  model.use_residual: {{type: categorical, choices: [true, false]}}
"""


def make_project(folder: Path) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(0)
    t = generator.normal(size=(60, 2)).astype(np.float32)
    phase = np.linspace(0.0, 2 * np.pi, 32)
    waves = np.stack([t[:, :1] * np.sin(phase), t[:, 1:] * np.cos(phase)], axis=1)
    np.save(folder / "x.npy", (waves + 0.3 * generator.normal(size=waves.shape)).astype(np.float32))
    np.save(folder / "t.npy", t)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "params.yaml").write_text(PARAMS)
    (folder / "optuna_params.yaml").write_text(SEARCH)
    return folder


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).with_name("tunectl")), "tune"]
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def wait_for_a_trial(folder: Path, process: subprocess.Popen[bytes]) -> None:
    while not any(folder.glob("outputs/*/*/trial_info.yaml")):
        assert process.poll() is None, (folder / "log.txt").read_text()
        time.sleep(0.01)


def study_in(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="torture", storage=f"sqlite:///{folder}/optuna/study.db")


def states(folder: Path) -> list[optuna.trial.TrialState]:
    return [trial.state for trial in study_in(folder).get_trials()]


def facts(folder: Path) -> list[dict[str, Any]]:
    """Return all that must not depend on interruptions, trial by trial."""
    return [_facts_of(folder, trial) for trial in study_in(folder).get_trials()]


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


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = make_project(tmp_path_factory.mktemp("unbroken") / "project")
    assert start(folder).wait(1200) == 0
    return facts(folder)


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_a_study_that_is_killed_again_and_again_is_the_study_it_would_have_been(
    tmp_path: Path, unbroken: list[dict[str, Any]], number: signal.Signals
) -> None:
    folder = make_project(tmp_path / "project")
    chance = random.Random(number)
    kills = interrupted = 0
    while kills < (KILLS or 3):
        process = start(folder)
        if kills == 0:  # once in the middle of a trial, then at any moment, also before the first
            wait_for_a_trial(folder, process)
            time.sleep(chance.uniform(0.0, 0.1))
        else:
            time.sleep(chance.uniform(1.0, 4.0))
        if process.poll() is not None:
            break  # it has come to its end in spite of all
        process.send_signal(number)
        code = process.wait(60)
        if code == 0:
            break  # it was ending just then
        assert code == CODES[number]
        kills += 1
        interrupted += optuna.trial.TrialState.RUNNING in states(folder)
    assert start(folder).wait(1200) == 0

    assert kills >= (KILLS or 1)
    assert interrupted >= 1
    assert {one["state"] for one in unbroken} == {"COMPLETE", "PRUNED"}
    assert facts(folder) == unbroken
    assert "Traceback" not in (folder / "log.txt").read_text()
