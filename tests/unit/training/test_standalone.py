"""`predict.py` of a bundle against the program's own network, for every kind of network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tunectl.training import standalone
from tunectl.training.architecture import Architecture, Kind
from tunectl.training.models import build_from
from tunectl.training.packaged import PackagedNet, package

SCALING = {
    "inputs": {"mean": [3.0, -200.0], "scale": [0.1, 50.0]},
    "targets": {"mean": [1e5, 0.5, 0.0], "scale": [2e4, 0.1, 1.0]},
}
AXES: dict[Kind, tuple[int, ...]] = {"cnn1d": (24,), "cnn2d": (9, 24)}


def written(folder: Path, kind: Kind, *, use_residual: bool, **changes: Any) -> PackagedNet:
    """Write the files of a network with random weights and running statistics."""
    torch.manual_seed(0)
    architecture = Architecture(
        kind=kind, channels=2, targets=3, hidden=6, dropout_rate=0.3, use_residual=use_residual
    )
    network = build_from(architecture)
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            tensor.uniform_(0.5, 2.0)
    plan = {
        **architecture.to_json(),
        "input_shape": [2, *AXES[kind]],
        "drop_channels": [1],
        "downsample_factor": 2,
        "target_names": ["a", "b", "c, in m/s"],
        **{key: changes[key] for key in changes if key != "normalize_targets"},
    }
    scaling = {**SCALING, "normalize_targets": changes.get("normalize_targets", True)}
    (folder / "model.json").write_text(json.dumps(plan))
    (folder / "scaling.json").write_text(json.dumps(scaling))
    save_file(network.state_dict(), folder / "model.safetensors")
    return package(plan, scaling, network.state_dict())


def signals(samples: int, shape: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
    values = np.random.default_rng(1).normal(3.0, 2.0, size=(samples, *shape))
    return values.astype(np.float32)


@pytest.mark.parametrize("kind", ["cnn1d", "cnn2d"])
@pytest.mark.parametrize("use_residual", [True, False])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"downsample_factor": 1, "drop_channels": []},
        {"normalize_targets": False, "drop_channels": [0, 3]},
    ],
)
def test_it_predicts_what_the_program_predicts(
    tmp_path: Path, kind: Kind, use_residual: bool, changes: dict[str, Any]
) -> None:
    packaged = written(tmp_path, kind, use_residual=use_residual, **changes)
    network = standalone.Network(tmp_path)
    x = signals(300, packaged.sample_shape)

    with torch.inference_mode():
        expected = packaged(torch.from_numpy(x)).numpy()

    assert network.sample_shape == packaged.sample_shape
    np.testing.assert_allclose(network.predict(x), expected, rtol=1e-5, atol=1e-5)


def test_it_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    packaged = written(tmp_path, "cnn1d", use_residual=False)
    network = standalone.Network(tmp_path)
    good = signals(4, packaged.sample_shape)
    broken = good.copy()
    broken[2, 0, 5] = np.nan

    for bad in (good[0], good[:, :2], good[:, :, :-1], good[:0]):
        with pytest.raises(ValueError, match=r"must be \(N, 3, 48\)"):
            network.predict(bad)
    with pytest.raises(ValueError, match="NaN"):
        network.predict(broken)
    with pytest.raises(ValueError, match="complex"):
        network.predict(good.astype(np.complex64))


def test_channels_that_it_does_not_look_at_may_hold_anything(tmp_path: Path) -> None:
    packaged = written(tmp_path, "cnn1d", use_residual=False)
    network = standalone.Network(tmp_path)
    good = signals(4, packaged.sample_shape)
    odd = good.copy()
    odd[:, 1] = np.nan

    np.testing.assert_array_equal(network.predict(odd), network.predict(good))
