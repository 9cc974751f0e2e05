"""What a training of a multilayer perceptron starts from: its network's plan."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tunectl.config.mlp_run import MlpRun
from tunectl.config.run import Run
from tunectl.objectives.signal_setup import RegressionSetup
from tunectl.training.plans import MlpPlan


class MlpSetup(RegressionSetup):
    """The networks of `mlp`."""

    def plan(self, run: Run, x_shape: Sequence[int], targets: int) -> MlpPlan:
        """Return the plan of the network for inputs (N, C, …) and so many targets."""
        model = run.as_kind(MlpRun).model
        return MlpPlan(
            inputs=math.prod(x_shape[1:]),
            targets=targets,
            nodes=model.nodes,
            layers=model.layers,
            activation=model.activation,
            dropout_rate=model.dropout_rate,
        )
