from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from tunectl.errors import DataError
from tunectl.training.architecture import Architecture
from tunectl.training.models import build_from
from tunectl.training.packaged import PackagedNet, package
from tunectl.training.prediction import open_signals, predict_signals, shape_text

MEGABYTE = 2**20


def network(length: int = 16, factor: int = 1) -> PackagedNet:
    """Return a small network that looks at channels 0 and 2 of three."""
    torch.manual_seed(0)
    architecture = Architecture(
        kind="cnn1d", channels=2, targets=2, hidden=2, dropout_rate=0.0, use_residual=False
    )
    plan = {
        **architecture.to_json(),
        "input_shape": [2, length],
        "drop_channels": [1],
        "downsample_factor": factor,
        "target_names": ["a", "b"],
    }
    ones = {"mean": [0.0, 0.0], "scale": [1.0, 1.0]}
    scaling = {"inputs": ones, "targets": ones, "normalize_targets": True}
    return package(plan, scaling, build_from(architecture).state_dict())


def test_batches_are_predicted_as_the_whole_would_be() -> None:
    net = network()
    x = np.random.default_rng(0).normal(size=(600, 3, 16))

    batches = list(predict_signals(net, x, "x.npy"))

    with torch.inference_mode():
        whole = net(torch.from_numpy(x.astype(np.float32))).numpy()
    assert [len(batch) for batch in batches] == [256, 256, 88]
    np.testing.assert_allclose(np.concatenate(batches), whole, rtol=1e-5, atol=1e-6)


def test_a_mapped_file_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    net = network(length=2**15)
    file = tmp_path / "x.npy"
    # Holes on the disk: 64 MB that take no room.
    np.lib.format.open_memmap(file, "w+", np.dtype("<f4"), (170, 3, 2**15)).flush()

    signals = open_signals(file, "x.npy", net)
    tracemalloc.start()
    try:
        count = sum(len(batch) for batch in predict_signals(net, signals, "x.npy"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == 170
    assert peak < 24 * MEGABYTE


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<i2", "u1"])
def test_numbers_of_every_type_are_read(tmp_path: Path, dtype: str) -> None:
    net, file = network(), tmp_path / "x.npy"
    x = np.random.default_rng(0).integers(0, 100, size=(5, 3, 16))
    np.save(file, np.asfortranarray(x.astype(dtype)))

    found = np.concatenate(list(predict_signals(net, open_signals(file, "x", net), "x")))

    expected = np.concatenate(list(predict_signals(net, x.astype(np.float32), "x")))
    np.testing.assert_array_equal(found, expected)


def test_the_expected_shape_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.npy"
    np.save(file, np.zeros((5, 16), dtype=np.float32))

    assert shape_text(network()) == "(N, 3, 16)"
    assert shape_text(network(factor=3)) == "(N, 3, 48 to 50)"
    with pytest.raises(DataError, match=r"x: signals must be \(N, 3, 16\).* is \(5, 16\)"):
        open_signals(file, "x", network())


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_value_that_is_no_number_is_refused_with_its_place(value: float) -> None:
    x = np.zeros((600, 3, 16))
    x[300, 2, 7] = value

    with pytest.raises(DataError, match=r"x.npy: 1 value is .*\(300, 2, 7\)"):
        list(predict_signals(network(), x, "x.npy"))


def test_a_channel_that_the_network_does_not_look_at_may_hold_anything() -> None:
    x = np.zeros((5, 3, 16))
    x[:, 1] = np.nan

    assert np.isfinite(np.concatenate(list(predict_signals(network(), x, "x.npy")))).all()
