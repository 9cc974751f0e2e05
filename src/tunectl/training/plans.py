"""Plans of networks of every kind, as they are written down; it knows no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
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
        is_table: Samples are recorded as rows (N, F); else as (N, C, …), and flattened.
    """

    inputs: int
    targets: int
    nodes: int
    layers: int
    activation: Activation
    dropout_rate: float
    is_table: bool
    kind: Literal["mlp"] = "mlp"

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
    if kind is None or kind in get_args(Kind):
        return Architecture.from_json(document)
    raise ValueError(f"unknown kind of network {kind!r}")
