"""The networks: from signals (N, C, L) or (N, C, H, W) to targets (N, T).

Both kinds are one design in one or two dimensions. They know neither data nor training; what they
are given is standardised already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from tunectl.training.architecture import MIN_LENGTH, Architecture, Kind, NetworkPlan, resolve_kind
from tunectl.training.image_networks import ImageNet
from tunectl.training.mlp import Mlp
from tunectl.training.plans import ImagePlan, MlpPlan

__all__ = ["MIN_LENGTH", "FlowNet", "build_model", "resolve_kind"]


@dataclass(frozen=True)
class _Layers:
    """The layers of one dimensionality, and the kernels that suit it."""

    convolution: type[nn.Conv1d] | type[nn.Conv2d]
    norm: type[nn.BatchNorm1d] | type[nn.BatchNorm2d]
    pool: type[nn.MaxPool1d] | type[nn.MaxPool2d]
    map_dropout: type[nn.Dropout1d] | type[nn.Dropout2d]
    plain_kernels: tuple[int, int]

    def halve(self, channels: int, out: int, kernel: int) -> nn.Module:
        """Convolution that halves every axis, rounding up, so that even one position survives."""
        return self.convolve(channels, out, kernel, stride=2)

    def convolve(self, channels: int, out: int, kernel: int, stride: int = 1) -> nn.Module:
        """Convolution with padding on both sides; a batch norm follows, so it has no bias."""
        return self.convolution(
            channels, out, kernel, stride=stride, padding=kernel // 2, bias=False
        )


_LAYERS: dict[Kind, _Layers] = {
    "cnn1d": _Layers(nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d, nn.Dropout1d, (11, 7)),
    "cnn2d": _Layers(nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.Dropout2d, (3, 3)),
}


class FlowNet(nn.Module):
    """Convolutions, the mean over all positions, and a small regressor.

    Args:
        features: From (N, C, …) to (N, F, …).
        regressor: From (N, F) to (N, T).
    """

    def __init__(self, features: nn.Module, regressor: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.regressor = regressor

    def forward(self, x: Tensor) -> Tensor:
        """Return the targets (N, T) of standardised signals (N, C, L) or (N, C, H, W)."""
        # A plain mean, since adaptive pooling has no deterministic gradient on CUDA.
        return cast(Tensor, self.regressor(self.features(x).flatten(2).mean(dim=2)))


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut (He et al., "Deep residual learning", CVPR 2016).

    Args:
        layers: Of one or two dimensions.
        channels: Feature maps that come in.
        out: Feature maps that go out.
        stride: 2 halves every axis.
        dropout_rate: Share of whole feature maps left out in training.
    """

    def __init__(
        self, layers: _Layers, channels: int, out: int, *, stride: int = 1, dropout_rate: float = 0
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            layers.convolve(channels, out, 3, stride),
            layers.norm(out),
            nn.ReLU(inplace=True),
            layers.convolve(out, out, 3),
            layers.norm(out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(
                layers.convolve(channels, out, 1, stride), layers.norm(out)
            )
        self.dropout = layers.map_dropout(dropout_rate)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out, …) of (N, channels, …)."""
        # In place: the body ends with a batch norm, whose gradient does not need what it gave.
        both = self.body(x).add_(self.shortcut(x))
        return cast(Tensor, self.dropout(functional.relu(both, inplace=True)))


def build_model(
    kind: Kind,
    channels: int,
    targets: int,
    hidden: int,
    dropout_rate: float,
    use_residual: bool,
) -> FlowNet:
    """Build a network with fresh weights, drawn from PyTorch's global generator.

    Args:
        kind: cnn1d for (N, C, L), cnn2d for (N, C, H, W).
        channels: C.
        targets: Number of outputs.
        hidden: Width h of the first layer.
        dropout_rate: Share of units or feature maps left out in training.
        use_residual: Residual blocks of h, 2h, 4h and 4h feature maps, or a plain stack of two
            convolutions with h and h/2.

    Returns:
        A network for axes of any length from about `MIN_LENGTH` on.
    """
    layers = _LAYERS[kind]
    if use_residual:
        return _residual(layers, channels, targets, hidden, dropout_rate)
    return _plain(layers, channels, targets, hidden, dropout_rate)


def build_from(plan: NetworkPlan) -> nn.Module:
    """Build the network of a plan, with fresh weights.

    Raises:
        ValueError: there is no such kind of network.
    """
    if isinstance(plan, Architecture):
        return build_model(
            plan.kind,
            plan.channels,
            plan.targets,
            plan.hidden,
            plan.dropout_rate,
            plan.use_residual,
        )
    if isinstance(plan, MlpPlan):
        return Mlp(plan)
    if isinstance(plan, ImagePlan):
        return ImageNet(plan)
    raise ValueError(f"unknown kind of network {plan.kind!r}")


def _residual(layers: _Layers, channels: int, targets: int, h: int, dropout: float) -> FlowNet:
    features = nn.Sequential(
        layers.halve(channels, h, 7),
        layers.norm(h),
        nn.ReLU(inplace=True),
        layers.pool(3, stride=2, padding=1),
        ResidualBlock(layers, h, h),
        ResidualBlock(layers, h, 2 * h, stride=2),
        ResidualBlock(layers, 2 * h, 4 * h, stride=2),
        ResidualBlock(layers, 4 * h, 4 * h, dropout_rate=dropout),
    )
    regressor = nn.Sequential(
        nn.Linear(4 * h, 2 * h),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(2 * h, targets),
    )
    return FlowNet(features, regressor)


def _plain(layers: _Layers, channels: int, targets: int, h: int, dropout: float) -> FlowNet:
    first, second = layers.plain_kernels
    half = h // 2
    features = nn.Sequential(
        layers.halve(channels, h, first),
        layers.norm(h),
        nn.ReLU(inplace=True),
        layers.halve(h, half, second),
        layers.norm(half),
        nn.ReLU(inplace=True),
    )
    return FlowNet(features, nn.Sequential(nn.Dropout(dropout), nn.Linear(half, targets)))
