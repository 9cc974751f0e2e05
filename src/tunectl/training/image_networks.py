"""Networks that tell classes of images (N, C, H, W) apart: a small one, and residual ones.

The residual networks are those of He, Zhang, Ren and Sun, "Deep residual learning for image
recognition" (CVPR 2016): 18 layers of basic blocks, 50 and 101 of bottlenecks, with the stride in
a bottleneck's middle. For images of less than 64 pixels the first layer is a convolution of 3 by 3
that halves nothing, as theirs for such images is. Written here, since the libraries that have
them take four seconds and more to import, in every process.
"""

from __future__ import annotations

import itertools
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from tunectl.training.plans import RESNET_LAYERS, SMALL_CNN_STAGES, ImagePlan


class ImageNet(nn.Module):
    """Features, their mean over all positions, and a linear layer; patch by patch, if so planned.

    Args:
        plan: Its shape.
    """

    def __init__(self, plan: ImagePlan) -> None:
        super().__init__()
        self.patch_size = plan.patch_size
        blocks = _small_cnn(plan) if plan.kind == "small_cnn" else _residual(plan)
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(plan.dropout_rate)
        self.output = nn.Linear(plan.features, plan.targets)

    def forward(self, x: Tensor) -> Tensor:
        """Return the score of each class (N, K) of standardised images (N, C, H, W)."""
        if not self.patch_size:
            return self._scores(x)
        patches = cut(x, self.patch_size)
        scores = self._scores(patches.flatten(0, 1))
        return scores.reshape(*patches.shape[:2], -1).mean(dim=1)

    def _scores(self, x: Tensor) -> Tensor:
        features = self.blocks(x).flatten(2).mean(dim=2)
        return cast(Tensor, self.output(self.dropout(features)))


def cut(x: Tensor, size: int) -> Tensor:
    """Cut images (N, C, H, W) into squares (N, P, C, size, size); what is left over is dropped."""
    down, across = x.shape[2] // size, x.shape[3] // size
    x = x[:, :, : down * size, : across * size]
    x = x.reshape(x.shape[0], x.shape[1], down, size, across, size)
    return x.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


class ConvBlock(nn.Module):
    """Two convolutions with batch norms, and the larger of each four positions.

    Args:
        channels: Feature maps that come in.
        out: Feature maps that go out.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolve(channels, out, 3),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
            _convolve(out, out, 3),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out, H/2, W/2), rounded up."""
        return functional.max_pool2d(self.body(x), 2, ceil_mode=True)


class BasicBlock(nn.Module):
    """Two convolutions beside a shortcut.

    Args:
        channels: Feature maps that come in.
        width: Feature maps of the stage.
        stride: 2 halves both axes.
    """

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolve(channels, width, 3, stride),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            _convolve(width, width, 3),
            nn.BatchNorm2d(width),
        )
        self.shortcut = _shortcut(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, width, …) of (N, channels, …)."""
        return functional.relu(self.body(x) + self.shortcut(x))


class Bottleneck(nn.Module):
    """A convolution between two of 1 by 1 that narrow and widen, beside a shortcut.

    Args:
        channels: Feature maps that come in.
        width: Feature maps of the stage; four times as many go out.
        stride: 2 halves both axes.
    """

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = width * self.expansion
        self.body = nn.Sequential(
            _convolve(channels, width, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            _convolve(width, width, 3, stride),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            _convolve(width, out, 1),
            nn.BatchNorm2d(out),
        )
        self.shortcut = _shortcut(channels, out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 4 width, …) of (N, channels, …)."""
        return functional.relu(self.body(x) + self.shortcut(x))


def _small_cnn(plan: ImagePlan) -> list[nn.Module]:
    widths = [plan.channels, *(plan.width * 2**stage for stage in range(SMALL_CNN_STAGES))]
    return [ConvBlock(before, after) for before, after in itertools.pairwise(widths)]


def _residual(plan: ImagePlan) -> list[nn.Module]:
    kind = BasicBlock if plan.kind == "resnet18" else Bottleneck
    blocks: list[nn.Module] = [_stem(plan)]
    channels = plan.width
    for stage, layers in enumerate(RESNET_LAYERS[plan.kind]):
        width = plan.width * 2**stage
        for layer in range(layers):
            blocks.append(kind(channels, width, 2 if stage and not layer else 1))
            channels = width * kind.expansion
    return blocks


def _stem(plan: ImagePlan) -> nn.Module:
    large = plan.stem == "large"
    layers: list[nn.Module] = [
        _convolve(plan.channels, plan.width, 7 if large else 3, 2 if large else 1),
        nn.BatchNorm2d(plan.width),
        nn.ReLU(inplace=True),
    ]
    return nn.Sequential(*layers, *([nn.MaxPool2d(3, 2, 1)] if large else []))


def _shortcut(channels: int, out: int, stride: int) -> nn.Module:
    if stride == 1 and channels == out:
        return nn.Identity()
    return nn.Sequential(_convolve(channels, out, 1, stride), nn.BatchNorm2d(out))


def _convolve(channels: int, out: int, kernel: int, stride: int = 1) -> nn.Module:
    return nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)
