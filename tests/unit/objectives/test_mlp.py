from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from told import Told, context_for

from tunectl.config.mlp_run import MlpRun
from tunectl.config.schema import Runtime
from tunectl.errors import DataError
from tunectl.objectives.mlp import MlpObjective
from tunectl.objectives.registry import find_objective
from tunectl.training.data import forget_datasets, split_indices
from tunectl.training.packaged import load_packaged
from tunectl.training.prediction import fits, open_signals, shape_text

FILES = {"source": "npy", "x_path": "x.npy", "t_path": "t.npy"}
ROWS, COLUMNS = 60, 5


@pytest.fixture
def project(tmp_path: Path) -> Path:
    forget_datasets()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, COLUMNS)) * [1, 10, 100, 1, 1] + 3
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    t = x[:, :1] * 2 + np.tanh(x[:, 3:4] - 3)
    np.save(tmp_path / "t.npy", t.astype(np.float32))
    return tmp_path


def _run(project: Path, **sections: dict[str, Any]) -> dict[str, Any]:
    return {
        "objective": "mlp",
        "dataset": {**FILES, **sections.get("dataset", {})},
        "model": {"nodes": 16, **sections.get("model", {})},
        "training": {"epochs": 3, "batch_size": 8, **sections.get("training", {})},
    }


def _context(project: Path, **sections: dict[str, Any]) -> Told:
    return context_for(project, _run(project, **sections), "val_mse")


def test_it_learns_a_table(project: Path) -> None:
    training = {"epochs": 80, "learning_rate": 0.01}
    context = _context(project, training=training, model={"dropout_rate": 0.0})
    outcome = MlpObjective().run(context)

    assert outcome.metrics["test_r2"] > 0.8
    assert outcome.metrics["n_parameters"] == 5 * 16 + 16 + 16 * 16 + 16 + 16 + 1


def test_without_hidden_layers_it_is_linear(project: Path) -> None:
    context = _context(project, model={"layers": 0})

    assert MlpObjective().run(context).metrics["n_parameters"] == COLUMNS + 1


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "silu"])
def test_its_network_can_be_used_elsewhere(project: Path, activation: str) -> None:
    from safetensors.torch import save_file

    context = _context(project, model={"activation": activation}, dataset={"drop_channels": [1]})
    MlpObjective().run(context)
    x = np.load(project / "x.npy")
    test = split_indices(ROWS, MlpRun().data_split).test
    y_pred = np.load(context.directory.predictions_file)

    packaged = load_packaged(context.directory)
    assert packaged.sample_shape == (COLUMNS,)
    assert shape_text(packaged) == f"(N, {COLUMNS})"
    assert fits(packaged, x.shape[1:])
    assert open_signals(project / "x.npy", "x.npy", packaged).shape == x.shape
    np.testing.assert_allclose(packaged.predict(x[test]), y_pred, rtol=1e-4, atol=1e-4)

    folder = context.directory.path
    save_file(torch.load(context.directory.weights_file), folder / "model.safetensors")
    standalone = _standalone().Network(folder)
    np.testing.assert_allclose(standalone.predict(x[test]), y_pred, rtol=1e-4, atol=1e-4)


def _standalone() -> Any:
    spec = importlib.util.find_spec("tunectl.training.standalone")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_signals_are_flattened(project: Path) -> None:
    rng = np.random.default_rng(1)
    np.save(project / "x.npy", rng.normal(size=(ROWS, 2, 6)).astype(np.float32))
    context = _context(project, dataset={"downsample_factor": 2}, model={"layers": 0})

    assert MlpObjective().run(context).metrics["n_parameters"] == 2 * 3 + 1
    assert load_packaged(context.directory).sample_shape == (2, 6)


def test_a_row_cannot_be_downsampled(project: Path) -> None:
    run = MlpRun.model_validate(_run(project, dataset={"downsample_factor": 2}))

    (problem,) = MlpObjective().problems(run, project)

    assert problem.key == "dataset.downsample_factor"
    with pytest.raises(DataError):
        MlpObjective().setup().prepare(run, project, "cpu")


def test_it_can_be_rehearsed(project: Path) -> None:
    run = MlpRun.model_validate(_run(project))
    objective = find_objective(run)
    assert isinstance(objective, MlpObjective)

    result = objective.rehearse(run, Runtime(), project, "cpu")

    assert result.n_parameters == objective.size(run, project).n_parameters
    assert result.gradients_finite
    assert result.output_shape == (8, 1)


def test_without_data_of_ones_own_it_reads_the_diabetes_set(tmp_path: Path) -> None:
    context = context_for(
        tmp_path, {"objective": "mlp", "training": {"epochs": 2}}, "val_r2", outputs="o"
    )
    assert MlpObjective().problems(context.config.run, tmp_path) == []
    MlpObjective().run(context)

    document = json.loads(context.directory.metrics_file.read_text())
    assert set(document["per_target"]) == {"target_0"}
    assert np.load(tmp_path / "data" / "diabetes" / "x.npy").shape == (442, 10)
