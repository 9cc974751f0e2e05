from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from told import Told, context_for

from tunectl.config.signal_run import SignalRun, TrainingRun
from tunectl.objectives.flow_cnn import FlowCnn
from tunectl.objectives.registry import find_objective
from tunectl.objectives.signal_regressor import SignalRegressor
from tunectl.training.data import forget_datasets
from tunectl.training.packaged import load_packaged

FILES = {"source": "npy", "x_path": "x.npy", "t_path": "t.npy"}
SMALL: dict[str, Any] = {"model": {"hidden": 4}, "training": {"epochs": 2, "batch_size": 8}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    forget_datasets()
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(40, 2, 16)).astype(np.float32))
    np.save(tmp_path / "t.npy", rng.normal(size=(40, 2)).astype(np.float32))
    return tmp_path


def _context(project: Path, objective: str = "signal_regressor", **dataset: Any) -> Told:
    run = {"objective": objective, "dataset": {**FILES, **dataset}, **SMALL}
    return context_for(project, run, "val_mse", outputs=f"outputs-{objective}")


def test_its_defaults_are_those_of_no_rig_in_particular() -> None:
    run = SignalRun()

    assert run.objective == "signal_regressor"
    assert run.dataset.drop_channels == ()
    assert run.dataset.target_names is None
    assert run.target_names == ()
    assert not run.training.use_weighted_loss
    assert set(run.training.target_weights) == {1.0}


def test_targets_without_names_are_numbered(project: Path) -> None:
    context = _context(project)
    SignalRegressor().run(context)

    per_target = json.loads(context.directory.metrics_file.read_text())["per_target"]
    assert list(per_target) == ["target_0", "target_1"]
    assert load_packaged(context.directory).target_names == ("target_0", "target_1")


def test_flow_cnn_is_the_same_with_other_defaults(project: Path) -> None:
    general = _context(project)
    training = {**SMALL["training"], "use_weighted_loss": False}
    run = {
        "objective": "flow_cnn",
        "dataset": {**FILES, "drop_channels": [], "target_names": ["a", "b"]},
        "model": SMALL["model"],
        "training": training,
    }
    preset = context_for(project, run, "val_mse", outputs="preset")

    assert isinstance(preset.config.run, TrainingRun)
    assert isinstance(find_objective(preset.config.run), FlowCnn)
    assert SignalRegressor().run(general).value == FlowCnn().run(preset).value


def test_it_reads_signals_in_two_dimensions(project: Path) -> None:
    rng = np.random.default_rng(1)
    np.save(project / "x.npy", rng.normal(size=(40, 1, 8, 12)).astype(np.float32))
    context = _context(project)

    assert SignalRegressor().problems(context.config.run, project) == []
    assert SignalRegressor().run(context).epochs == 2
    assert load_packaged(context.directory).sample_shape == (1, 8, 12)
