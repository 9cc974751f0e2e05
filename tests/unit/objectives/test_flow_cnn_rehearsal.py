from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tunectl.config.schema import Runtime
from tunectl.config.signal_run import TrainingRun
from tunectl.errors import DataError, ObjectiveError
from tunectl.objectives import network_rehearsal, signal_setup
from tunectl.objectives.base import Rehearsable, Rehearsal
from tunectl.objectives.flow_cnn import FlowCnn
from tunectl.training.architecture import Architecture
from tunectl.training.data import forget_datasets
from tunectl.training.models import build_from

SECTIONS: dict[str, dict[str, Any]] = {
    "dataset": {
        "source": "npy",
        "x_path": "x.npy",
        "t_path": "t.npy",
        "target_names": ["a", "b", "c"],
        "downsample_factor": 2,
    },
    "model": {"hidden": 4},
    "training": {"batch_size": 8, "epochs": 5},
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    forget_datasets()
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(40, 4, 48)).astype(np.float32))
    np.save(tmp_path / "t.npy", rng.normal(size=(40, 3)).astype(np.float32))
    return tmp_path


def run_of(**changes: dict[str, Any]) -> TrainingRun:
    sections = {name: {**values, **changes.get(name, {})} for name, values in SECTIONS.items()}
    return TrainingRun.model_validate(sections)


def rehearsed(project: Path, **changes: dict[str, Any]) -> Rehearsal:
    return FlowCnn().rehearse(run_of(**changes), Runtime(), project, "cpu")


def test_it_is_rehearsable_and_light() -> None:
    code = (
        "import sys; from tunectl.objectives.flow_cnn import FlowCnn; FlowCnn().size_keys; "
        "assert 'torch' not in sys.modules"
    )

    assert isinstance(FlowCnn(), Rehearsable)
    subprocess.run([sys.executable, "-c", code], check=True)


def test_size_keys_are_values_of_the_training_run() -> None:
    plain = TrainingRun().model_dump()

    for key in FlowCnn().size_keys:
        section, name = key.split(".")
        assert name in plain[section]


def test_a_rehearsal_shows_what_a_trial_would_do(project: Path) -> None:
    before = sorted(project.iterdir())
    network = Architecture(
        kind="cnn1d", channels=2, targets=3, hidden=4, dropout_rate=0.1, use_residual=True
    )
    n_parameters = sum(one.numel() for one in build_from(network).parameters())

    result = rehearsed(project)

    assert (result.input_shape, result.output_shape) == ((8, 2, 24), (8, 3))
    assert result.n_parameters == n_parameters
    assert result.gradients_finite and np.isfinite(result.loss)
    assert result.steps_per_epoch == 4  # 28 samples for training
    assert result.peak_memory_bytes >= 4 * 4 * n_parameters  # weights, gradients, Adam's moments
    assert result.epoch_s > result.step_s * result.steps_per_epoch > 0
    assert result.data_bytes == 4 * 40 * (2 * 24 + 3)
    assert sorted(project.iterdir()) == before


def test_weights_and_histories_count_for_the_disk(project: Path) -> None:
    small, large = rehearsed(project), rehearsed(project, model={"hidden": 64})
    longer = rehearsed(project, training={"epochs": 500})

    more = 4 * (large.n_parameters - small.n_parameters)
    assert 0.9 * more < large.disk_bytes - small.disk_bytes < 1.1 * more
    assert longer.disk_bytes > small.disk_bytes


def test_the_size_is_that_of_the_network_that_is_then_built(project: Path) -> None:
    for changes in ({}, {"model": {"use_residual": False}}, {"model": {"hidden": 9}}):
        size = FlowCnn().size(run_of(**changes), project)

        assert size.n_parameters == rehearsed(project, **changes).n_parameters
        assert (size.batch_size, size.sample_values, size.n_samples) == (8, 2 * 24, 40)


def test_the_size_of_a_huge_network_costs_nothing(project: Path) -> None:
    size = FlowCnn().size(run_of(model={"hidden": 4096}), project)

    assert size.n_parameters > 10**9


def test_gradients_that_are_not_finite_are_seen(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(torch.nn.Module):
        def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return (outputs - targets).sum() * float("inf")

    monkeypatch.setattr(signal_setup, "make_loss", lambda *_: Broken())

    result = rehearsed(project)

    assert not result.gradients_finite
    assert not np.isfinite(result.loss)


def test_running_out_of_memory_says_what_needs_less(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(network_rehearsal, "train_step", fail)

    with pytest.raises(ObjectiveError, match=r"a smaller training\.batch_size"):
        rehearsed(project)


def test_a_misfit_is_named(project: Path) -> None:
    run = run_of(training={"batch_size": 29})

    (problem,) = FlowCnn().misfits(run, project)

    assert problem.key == "training.batch_size"
    with pytest.raises(DataError):
        FlowCnn().rehearse(run, Runtime(), project, "cpu")


def test_settings_of_the_process_are_put_back(project: Path) -> None:
    before = (torch.get_num_threads(), torch.get_deterministic_debug_mode())

    rehearsed(project)

    assert (torch.get_num_threads(), torch.get_deterministic_debug_mode()) == before
