from __future__ import annotations

import datetime as dt
import io
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import TrialConfig
from tunectl.config.signal_run import TrainingRun
from tunectl.errors import ArtifactError
from tunectl.objectives.flow_cnn import FlowCnn
from tunectl.training.data import split_indices
from tunectl.training.packaged import PackagedNet, load_packaged
from tunectl.training.prediction import fits

TARGETS = ["pressure", "share"]
SIGNALS = {3: (4, 49), 4: (4, 12, 25)}


@dataclass
class Context:
    """A trial that nobody watches."""

    config: TrialConfig
    project: Path
    directory: TrialDir
    device: str = "cpu"
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("test.packaged"))

    def check_stop(self) -> None:
        """Never told to stop."""

    def trained(self) -> None:
        """It has no time limit."""

    def settle(self) -> None:
        """Nothing is written."""

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Never pruned."""


def trained(folder: Path, ndim: int = 3, **changes: Mapping[str, Any]) -> Context:
    """Train a small network on data with scales far from 1."""
    rng = np.random.default_rng(0)
    t = rng.uniform(0, 1, size=(32, 2))
    x = 300.0 + 50 * t[:, :1].reshape(-1, *[1] * (ndim - 1)) + rng.normal(size=(32, *SIGNALS[ndim]))
    np.save(folder / "x.npy", x.astype(np.float32))
    np.save(folder / "t.npy", (1e5 + 2e4 * t).astype(np.float32))
    paths = {"source": "npy", "x_path": "x.npy", "t_path": "t.npy", "target_names": TARGETS}
    sections: dict[str, Any] = {
        "dataset": {**paths, "drop_channels": [], **changes.get("dataset", {})},
        "model": {"hidden": 4, **changes.get("model", {})},
        "training": {"epochs": 2, **changes.get("training", {})},
        "study": {"name": "s", "metric": "val_mse", "direction": "minimize", "values": ["val_mse"]},
    }
    config = TrialConfig.model_validate({**sections, "number": 0, "parameters": {}})
    directory = TrialDir.create(folder / "outputs", dt.datetime(2026, 1, 31))
    context = Context(config, folder, directory)
    FlowCnn().run(context)
    return context


def recorded_test_samples(context: Context) -> torch.Tensor:
    """Return the test split as it stands in the user's file, all channels."""
    x = np.load(context.project / "x.npy")
    return torch.from_numpy(
        x[split_indices(len(x), context.config.run.as_kind(TrainingRun).data_split).test]
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """Return a trial with all that a package has to take care of."""
    folder = tmp_path_factory.mktemp("finished")
    return trained(folder, dataset={"drop_channels": [1, 3], "downsample_factor": 3})


@pytest.mark.parametrize("ndim", [3, 4])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model": {"use_residual": False}},
        {"dataset": {"downsample_factor": 3}},
        {"dataset": {"drop_channels": [0, 2]}, "training": {"normalize_targets": False}},
    ],
    ids=["residual", "plain", "downsampled", "dropped-own-units"],
)
def test_recorded_signals_give_the_predictions_of_the_trial(
    tmp_path: Path, ndim: int, changes: dict[str, Any]
) -> None:
    context = trained(tmp_path, ndim, **changes)
    packaged = load_packaged(context.directory)

    with torch.inference_mode():
        predicted = packaged(recorded_test_samples(context)).numpy()

    expected = np.load(context.directory.predictions_file)
    # Restored targets are around 100,000: a millionth of them is less than 1e-5 of their spread.
    restored = context.config.run.as_kind(TrainingRun).training.normalize_targets
    np.testing.assert_allclose(predicted, expected, rtol=1e-6 if restored else 1e-5)
    assert predicted.dtype == np.float32
    assert packaged.target_names == tuple(TARGETS)


def test_it_knows_the_shape_of_what_was_recorded(finished: Context) -> None:
    packaged = load_packaged(finished.directory)

    assert packaged.sample_shape == (4, 48)  # 49 values, of which the last is left over
    assert all(fits(packaged, (4, length)) for length in (48, 49, 50))
    for shape in ((4, 47), (4, 51), (2, 48), (48,), (4, 48, 1)):
        assert not fits(packaged, shape), shape


def test_its_state_dict_holds_the_scaling_too(finished: Context) -> None:
    packaged, other = load_packaged(finished.directory), load_packaged(finished.directory)
    x = recorded_test_samples(finished)
    for tensor in other.state_dict().values():
        tensor.zero_()

    buffer = io.BytesIO()
    torch.save(packaged.state_dict(), buffer)
    other.load_state_dict(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))

    with torch.inference_mode():
        assert torch.equal(other(x), packaged(x))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_it_can_be_exported_for_any_number_of_samples(finished: Context) -> None:
    packaged, x = load_packaged(finished.directory), recorded_test_samples(finished)

    batch = torch.export.Dim("batch")
    program = torch.export.export(packaged, (x[:2],), dynamic_shapes=({0: batch},))

    exported = program.module()
    assert isinstance(packaged, PackagedNet)
    with torch.inference_mode():
        torch.testing.assert_close(exported(x), packaged(x), rtol=1e-6, atol=0.0)
        torch.testing.assert_close(exported(x[:1]), packaged(x[:1]), rtol=1e-6, atol=0.0)


def damage(file: Path, change: dict[str, Any]) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.json", "{"),
        ("model.json", "[]"),
        ("scaling.json", None),
        ("weights/model_simplecnn_real.pth", "PK"),
        ("weights/model_simplecnn_real.pth", None),
    ],
)
def test_a_file_that_is_gone_or_damaged_is_named(
    tmp_path: Path, finished: Context, name: str, content: str | None
) -> None:
    directory = TrialDir(tmp_path)
    for file in ("model_file", "scaling_file", "weights_file"):
        copy = getattr(directory, file)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(getattr(finished.directory, file).read_bytes())
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(content)

    with pytest.raises(ArtifactError, match=name):
        load_packaged(directory)


@pytest.mark.parametrize(
    "change", [{"hidden": 8}, {"target_names": ["a"]}, {"input_shape": [3, 16]}, {"kind": "cnn9d"}]
)
def test_a_plan_that_is_not_the_weights_is_refused(
    tmp_path: Path, finished: Context, change: dict[str, Any]
) -> None:
    directory = TrialDir(tmp_path)
    directory.weights_file.parent.mkdir()
    directory.weights_file.write_bytes(finished.directory.weights_file.read_bytes())
    directory.scaling_file.write_bytes(finished.directory.scaling_file.read_bytes())
    directory.model_file.write_bytes(finished.directory.model_file.read_bytes())
    damage(directory.model_file, change)

    with pytest.raises(ArtifactError, match="cannot be used"):
        load_packaged(directory)
