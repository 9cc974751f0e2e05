"""The multilayer perceptron: from inputs (N, …), flattened, to targets (N, T)."""

from __future__ import annotations

import itertools
from typing import cast

from torch import Tensor, nn

from tunectl.training.plans import MlpPlan

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


class Mlp(nn.Module):
    """Hidden layers of one width, each with activation and dropout, then a linear one.

    Args:
        plan: Its shape.
    """

    def __init__(self, plan: MlpPlan) -> None:
        super().__init__()
        widths = [plan.inputs, *[plan.nodes] * plan.layers]
        self.hidden = nn.ModuleList(
            nn.Linear(before, after) for before, after in itertools.pairwise(widths)
        )
        self.activation = _ACTIVATIONS[plan.activation]()
        self.dropout = nn.Dropout(plan.dropout_rate)
        self.output = nn.Linear(widths[-1], plan.targets)

    def forward(self, x: Tensor) -> Tensor:
        """Return the targets (N, T) of standardised inputs (N, …)."""
        x = x.flatten(1)
        for layer in self.hidden:
            x = self.dropout(self.activation(layer(x)))
        return cast(Tensor, self.output(x))
