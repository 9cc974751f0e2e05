"""The choice between two ways to compute the same."""

from __future__ import annotations

import pytest
import torch

from tunectl.config.signal_run import DataSplit, Training
from tunectl.training.architecture import Architecture, Kind
from tunectl.training.convolutions import Convolutions
from tunectl.training.data import Samples, split_indices
from tunectl.training.device import torch_settings
from tunectl.training.loop import fit, start_training
from tunectl.training.losses import WeightedMSELoss
from tunectl.training.state import FitPlan, FitResult
from tunectl.training.tensors import SampleTensors

OWN = Convolutions(onednn=False)
SPLIT = split_indices(30, DataSplit())


def _choose(hidden: int, batch_size: int, *shape: int, **more: str) -> Convolutions:
    given = {"device": "cpu", "hidden": hidden, "batch_size": batch_size, "input_shape": shape}
    return Convolutions.choose(**{**given, **more})  # type: ignore[arg-type]


def test_little_work_at_a_time_is_pytorchs_own_and_much_is_onednns() -> None:
    assert _choose(32, 8, 2, 128) == _choose(128, 2, 2, 128) == _choose(32, 2, 2, 16, 32) == OWN
    assert _choose(128, 8, 2, 128) == Convolutions()
    assert _choose(32, 2, 2, 64, 128) == Convolutions(channels_last=True)


def test_half_precision_and_gpus_leave_no_choice() -> None:
    assert _choose(32, 2, 2, 128, precision="bf16") == Convolutions()
    assert _choose(32, 2, 2, 64, 128, device="cuda") == Convolutions()


@pytest.mark.parametrize(("kind", "shape"), [("cnn1d", (2, 24)), ("cnn2d", (2, 16, 24))])
def test_all_ways_lead_to_nearly_the_same_network_in_the_same_file_order(
    kind: Kind, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    x, t = torch.randn(30, *shape).numpy(), torch.randn(30, 2).numpy()
    plan = Architecture(
        kind=kind, channels=2, targets=2, hidden=4, dropout_rate=0.0, use_residual=True
    )

    def train(how: Convolutions) -> FitResult:
        with torch_settings("cpu", threads=1), how.in_use():
            data = SampleTensors(Samples(x, t), SPLIT, normalize_targets=True, device="cpu")
            state = start_training(plan, Training(learning_rate=1e-4), "cpu")
            how.arrange(state.model)
            fitting = FitPlan(
                epochs=2, batch_size=4, seed=1, metric="val_mse", direction="minimize"
            )
            return fit(state, data, SPLIT, fitting, WeightedMSELoss((1, 1)), lambda _: None)

    first, *others = (train(how) for how in (OWN, Convolutions(), Convolutions(channels_last=True)))

    for other in others:
        for name, weights in other.best.weights.items():
            assert weights.is_contiguous()
            torch.testing.assert_close(weights, first.best.weights[name], rtol=1e-2, atol=1e-3)


def test_the_way_is_put_back() -> None:
    before = torch.backends.mkldnn.enabled
    with OWN.in_use():
        assert not torch.backends.mkldnn.enabled
    assert torch.backends.mkldnn.enabled == before
