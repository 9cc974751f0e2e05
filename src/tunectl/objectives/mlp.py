"""The objective `mlp`: a multilayer perceptron that reads targets from tables.

Inputs are (N, F), or have more axes and are flattened; targets are (N, T). This module is light;
`mlp_setup.py` and `signal_trial.py` do the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunectl.config.mlp_run import MlpRun
from tunectl.objectives.regression import RegressionObjective

if TYPE_CHECKING:
    from tunectl.objectives.network_setup import NetworkSetup


class MlpObjective(RegressionObjective):
    """Fits a multilayer perceptron."""

    kind = MlpRun

    @property
    def size_keys(self) -> Sequence[str]:
        """Dotted keys of what decides how long a step takes and how much memory it needs."""
        return (
            "dataset.downsample_factor",
            "dataset.limit_samples",
            "model.nodes",
            "model.layers",
            "training.batch_size",
            "training.optimizer",
        )

    def setup(self) -> NetworkSetup:
        """Return the heavy half."""
        from tunectl.objectives.mlp_setup import MlpSetup

        return MlpSetup()
