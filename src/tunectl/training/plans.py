"""Plans of networks of every kind, as they are written down; it knows no PyTorch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from tunectl.training.architecture import Architecture, Kind, NetworkPlan, checked_fields

Activation = Literal["relu", "tanh", "gelu", "silu"]


@dataclass(frozen=True, kw_only=True)
class MlpPlan:
    """The plan of a multilayer perceptron.

    Args:
        inputs: Numbers of a sample.
        targets: Number of outputs.
        nodes: Width of each hidden layer.
        layers: Hidden layers.
        activation: What follows each of them.
        dropout_rate: Share of nodes left out in training.
    """

    inputs: int
    targets: int
    nodes: int
    layers: int
    activation: Activation
    dropout_rate: float
    kind: Literal["mlp"] = "mlp"

    @property
    def first_width(self) -> int:
        """Width of the first layer."""
        return self.nodes

    def work(self, input_shape: Sequence[int]) -> int:
        """Return what a sample's work in the first layers grows with; it sees a sample as a row."""
        return self.nodes * max(self.nodes, math.prod(input_shape))

    @property
    def title(self) -> str:
        """What it is, for people."""
        return "multilayer perceptron"

    @property
    def words(self) -> str:
        """Its shape, for people."""
        layers = "1 hidden layer" if self.layers == 1 else f"{self.layers} hidden layers"
        return f"{layers} of {self.nodes}, {self.activation}"

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return asdict(self)

    def smallest(self) -> MlpPlan:
        """Return the plan of a network of the same kind that is as small as can be."""
        return replace(self, nodes=1)


SMALL_CNN_STAGES = 3
RESNET_LAYERS: Mapping[str, tuple[int, ...]] = {
    "resnet18": (2, 2, 2, 2),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
}
"""Residual blocks of each stage."""

LARGE_STEM_HALVINGS = 2

ImageKind = Literal["small_cnn", "resnet18", "resnet50", "resnet101"]


@dataclass(frozen=True, kw_only=True)
class ImagePlan:
    """The plan of a network that tells classes of images apart.

    Args:
        kind: A small stack of convolutions, or residual blocks.
        channels: C of the images.
        targets: Number of classes.
        width: Feature maps of the first stage; each stage has twice as many as the one before.
        dropout_rate: Share of features left out in training.
        patch_size: Side of the squares that it looks at; 0 for the whole image.
        stem: First layer of a residual network: `large` (7 by 7, halves twice) or `small`.
    """

    kind: ImageKind
    channels: int
    targets: int
    width: int
    dropout_rate: float
    patch_size: int
    stem: Literal["small", "large"]

    @property
    def features(self) -> int:
        """Feature maps of the last stage."""
        if self.kind == "small_cnn":
            return self.width << (SMALL_CNN_STAGES - 1)
        last = self.width << (len(RESNET_LAYERS[self.kind]) - 1)
        return last if self.kind == "resnet18" else 4 * last

    @property
    def first_width(self) -> int:
        """Width of the first layer."""
        return self.width

    def work(self, input_shape: Sequence[int]) -> int:
        """Return what a sample's work in the first layers grows with."""
        halvings = LARGE_STEM_HALVINGS if self.stem == "large" and self.kind != "small_cnn" else 0
        return self.width**2 * math.prod(side >> halvings for side in input_shape[1:])

    @property
    def title(self) -> str:
        """What it is, for people."""
        return "convolutional network"

    @property
    def words(self) -> str:
        """Its shape, for people."""
        patches = f", patches of {self.patch_size} pixels" if self.patch_size else ""
        return f"{self.kind}, width {self.width}{patches}"

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return asdict(self)

    def smallest(self) -> ImagePlan:
        """Return the plan of a network of the same kind that is as small as can be."""
        return replace(self, width=1)


def plan_from_json(document: Mapping[str, Any]) -> NetworkPlan:
    """Return the plan that `to_json` wrote; other keys of the document are passed over.

    Raises:
        ValueError: a key is missing or the kind is unknown.
    """
    kind = document.get("kind")
    if kind == "mlp":
        plan = MlpPlan(**checked_fields(MlpPlan, document))
        if plan.activation not in get_args(Activation):
            raise ValueError(f"unknown activation {plan.activation!r}")
        return plan
    if kind in get_args(ImageKind):
        return ImagePlan(**checked_fields(ImagePlan, document))
    if kind is None or kind in get_args(Kind):
        return Architecture.from_json(document)
    raise ValueError(f"unknown kind of network {kind!r}")
