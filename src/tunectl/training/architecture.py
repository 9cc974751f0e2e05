"""What a network is built from, in plain values that can be written down and read again.

It knows no PyTorch, so that data can be checked against a network without importing it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol, get_args

Kind = Literal["cnn1d", "cnn2d"]
ModelType = Literal["auto", "cnn1d", "cnn2d"]

Layout = Literal["signals", "rows", "grey", "channels_last"]
"""How samples are recorded: (C, …) as the network sees them, (F,), (H, W) or (H, W, C)."""

MIN_LENGTH = 4
"""Shortest signal (positions on the last axis) that the networks are made for."""

PLAIN_SHARE = 8
"""So many times as much work is in a residual network as in a plain one of the same width."""

_NDIM: dict[Kind, int] = {"cnn1d": 3, "cnn2d": 4}
_HALVINGS = {True: 4, False: 2}


class NetworkPlan(Protocol):
    """A network's plan: with the same plan, stored weights fit."""

    @property
    def kind(self) -> str:
        """Which kind of network it is; it tells the plans apart where they are written down."""

    @property
    def targets(self) -> int:
        """Number of outputs."""

    @property
    def first_width(self) -> int:
        """Width of the first layer."""

    def work(self, input_shape: Sequence[int]) -> int:
        """Return what a sample's work in the first layers grows with: width² × positions.

        Args:
            input_shape: Of one sample: (C, L), (C, H, W), or (F, 1) for a table.
        """

    @property
    def title(self) -> str:
        """What it is, for people, without an article."""

    @property
    def words(self) -> str:
        """Its shape, for people."""

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""

    def smallest(self) -> NetworkPlan:
        """Return the plan of a network of the same kind that is as small as can be."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network's plan: with the same plan, stored weights fit.

    Args:
        kind: cnn1d for inputs (N, C, L), cnn2d for (N, C, H, W).
        channels: C, as the network sees it (dropped channels not counted).
        targets: Number of outputs.
        hidden: Width of the first layer.
        dropout_rate: Share of units or feature maps left out in training.
        use_residual: Residual blocks, or a plain stack of two convolutions.
    """

    kind: Kind
    channels: int
    targets: int
    hidden: int
    dropout_rate: float
    use_residual: bool

    @property
    def first_width(self) -> int:
        """Width of the first layer."""
        return self.hidden

    def work(self, input_shape: Sequence[int]) -> int:
        """Return what a sample's work in the first layers grows with."""
        residual = self.hidden**2 * math.prod(input_shape[1:])
        return residual if self.use_residual else residual // PLAIN_SHARE

    @property
    def title(self) -> str:
        """What it is, for people."""
        return "convolutional network"

    @property
    def words(self) -> str:
        """Its shape, for people."""
        body = "residual blocks" if self.use_residual else "a plain stack"
        return f"{self.kind}, {body}, width {self.hidden}"

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return asdict(self)

    def smallest(self) -> Architecture:
        """Return the plan of a network of the same kind that is as small as can be."""
        return replace(self, hidden=2)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Architecture:
        """Return the plan that `to_json` wrote; other keys of the document are passed over.

        Raises:
            ValueError: a key is missing or the kind is unknown.
        """
        values = checked_fields(cls, document)
        if values["kind"] not in get_args(Kind):
            raise ValueError(f"unknown kind of network {values['kind']!r}")
        return cls(**values)


def checked_fields(plan: type[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a document has for each field of a plan.

    Raises:
        ValueError: a field is missing.
    """
    missing = [key for key in plan.__dataclass_fields__ if key not in document]
    if missing:
        raise ValueError(f"no network can be built without {', '.join(missing)}")
    return {key: document[key] for key in plan.__dataclass_fields__}


def resolve_kind(model_type: ModelType, ndim: int) -> Kind:
    """Return the network for inputs of so many dimensions.

    Args:
        model_type: `auto`, or what the user insists on.
        ndim: Dimensions of the inputs, 3 for (N, C, L) or 4 for (N, C, H, W).

    Raises:
        ValueError: there is no such network, or it is not for such inputs.
    """
    fitting: dict[int, Kind] = {wanted: kind for kind, wanted in _NDIM.items()}
    if ndim not in fitting:
        raise ValueError(f"inputs must have 3 or 4 dimensions, not {ndim}")
    if model_type not in ("auto", fitting[ndim]):
        raise ValueError(f"{model_type} is not for inputs of {ndim} dimensions; {fitting[ndim]} is")
    return fitting[ndim]


def narrowest_positions(axes: Sequence[int], *, use_residual: bool) -> int:
    """Return how many positions per feature map are left where the network is narrowest.

    Batch normalisation in training needs more than one value per feature map, so a batch of a
    single sample works only if this is at least 2.

    Args:
        axes: Length of each axis after the channels: (L,) or (H, W).
        use_residual: As in `Architecture`.
    """
    positions = 1
    for length in axes:
        for _ in range(_HALVINGS[use_residual]):
            length = -(-length // 2)
        positions *= length
    return positions
