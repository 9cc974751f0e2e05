"""Changes of training images that leave their class as it is, drawn anew for each time.

All numbers are drawn from PyTorch's global generator of the CPU, which the training seeds by
(seed, epoch) and puts back when it goes on: the same image is changed in the same way again.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from tunectl.config.image_run import Augmentation


def augment(x: Tensor, how: Augmentation) -> Tensor:
    """Return changed images.

    Args:
        x: Standardised images (N, C, H, W).
        how: What is changed, and how far.
    """
    count = len(x)
    if how.shift or how.rotation or how.zoom:
        x = _move(x, how)
    for axis, wanted in ((3, how.flip_horizontal), (2, how.flip_vertical)):
        if wanted:
            flipped = (torch.rand(count) < 0.5).reshape(-1, 1, 1, 1).to(x.device)
            x = torch.where(flipped, x.flip(axis), x)
    if how.contrast:
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        x = (x - mean) * (1 + _draw(count, how.contrast, x)) + mean
    if how.brightness:
        x = x + _draw(count, how.brightness, x)
    if how.noise:
        x = x + how.noise * torch.randn(x.shape).to(x.device)
    return x


def _move(x: Tensor, how: Augmentation) -> Tensor:
    """Turn, scale and shift images; what comes in from outside is the image's edge."""
    count = len(x)
    angle = _uniform(count, math.radians(how.rotation))
    scale = 1 / (1 + _uniform(count, how.zoom))
    height, width = x.shape[2:]
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    theta = torch.stack(
        [
            torch.stack([cosine, -sine * height / width, 2 * _uniform(count, how.shift)], dim=1),
            torch.stack([sine * width / height, cosine, 2 * _uniform(count, how.shift)], dim=1),
        ],
        dim=1,
    ).to(x.device)
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _uniform(count: int, limit: float) -> Tensor:
    return (2 * torch.rand(count) - 1) * limit


def _draw(count: int, limit: float, x: Tensor) -> Tensor:
    return _uniform(count, limit).reshape(-1, 1, 1, 1).to(x.device)
