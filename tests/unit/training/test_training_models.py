from __future__ import annotations

import pytest
import torch
from torch import nn

from tunectl.training.architecture import Architecture, Kind, narrowest_positions
from tunectl.training.models import FlowNet, build_from, build_model, resolve_kind

KINDS: list[Kind] = ["cnn1d", "cnn2d"]
AXES: dict[Kind, tuple[int, ...]] = {"cnn1d": (40,), "cnn2d": (20, 24)}


def _build(
    kind: Kind, hidden: int = 8, dropout_rate: float = 0.0, use_residual: bool = True
) -> FlowNet:
    torch.manual_seed(0)
    return build_model(kind, 2, 6, hidden, dropout_rate, use_residual)


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use_residual", [True, False])
def test_hidden_is_honoured(kind: Kind, use_residual: bool) -> None:
    small = _parameters(_build(kind, 8, use_residual=use_residual))
    large = _parameters(_build(kind, 16, use_residual=use_residual))
    assert large > 1.8 * small


@pytest.mark.parametrize("kind", KINDS)
def test_residual_is_honoured(kind: Kind) -> None:
    residual, plain = _build(kind), _build(kind, use_residual=False)
    assert _parameters(residual) > 2 * _parameters(plain)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use_residual", [True, False])
def test_dropout_is_honoured_in_training_only(kind: Kind, use_residual: bool) -> None:
    x = torch.randn(4, 2, *AXES[kind])
    dropping = _build(kind, dropout_rate=0.5, use_residual=use_residual)
    assert not torch.equal(dropping(x), dropping(x))
    dropping.eval()
    assert torch.equal(dropping(x), dropping(x))
    keeping = _build(kind, dropout_rate=0.0, use_residual=use_residual)
    assert torch.equal(keeping(x), keeping(x))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use_residual", [True, False])
@pytest.mark.parametrize("length", [4, 5, 17])
def test_short_signals_can_be_learnt_from(kind: Kind, use_residual: bool, length: int) -> None:
    axes = (length,) if kind == "cnn1d" else (1, length)
    model = _build(kind, hidden=2, use_residual=use_residual)
    outputs = model(torch.randn(2, 2, *axes))
    assert outputs.shape == (2, 6)
    outputs.square().mean().backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use_residual", [True, False])
@pytest.mark.parametrize("length", [1, 4, 5, 16, 17, 33])
def test_the_narrowest_place_is_told_without_building(
    kind: Kind, use_residual: bool, length: int
) -> None:
    axes = (length,) if kind == "cnn1d" else (3, length)
    features = _build(kind, hidden=2, use_residual=use_residual).eval().features
    positions = features(torch.randn(1, 2, *axes)).flatten(2).shape[2]
    assert narrowest_positions(axes, use_residual=use_residual) == positions


def test_auto_goes_by_the_dimensions() -> None:
    assert resolve_kind("auto", 3) == "cnn1d"
    assert resolve_kind("auto", 4) == "cnn2d"
    assert resolve_kind("cnn2d", 4) == "cnn2d"


@pytest.mark.parametrize(("kind", "ndim"), [("cnn1d", 4), ("cnn2d", 3), ("auto", 2)])
def test_a_kind_that_does_not_fit_is_refused(kind: str, ndim: int) -> None:
    with pytest.raises(ValueError, match="dimensions"):
        resolve_kind(kind, ndim)  # type: ignore[arg-type]


def test_a_network_is_built_again_from_its_written_plan() -> None:
    plan = Architecture(
        kind="cnn1d", channels=2, targets=6, hidden=8, dropout_rate=0.1, use_residual=True
    )
    written = {**plan.to_json(), "input_shape": [2, 40]}
    again = Architecture.from_json(written)
    assert again == plan
    build_from(again).load_state_dict(build_from(plan).state_dict())


def test_an_incomplete_plan_is_refused() -> None:
    with pytest.raises(ValueError, match="hidden"):
        Architecture.from_json({"kind": "cnn1d", "channels": 2})
