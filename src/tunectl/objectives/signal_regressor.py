"""The objective `signal_regressor`: a convolutional network that reads targets from signals.

Signals are (N, C, L) or (N, C, H, W), targets (N, T). This module is light; `signal_setup.py` and
`signal_trial.py` do the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunectl.config.signal_run import SignalRun
from tunectl.objectives.regression import RegressionObjective

if TYPE_CHECKING:
    from tunectl.objectives.network_setup import NetworkSetup


class SignalRegressor(RegressionObjective):
    """Fits a network in one or two dimensions."""

    kind = SignalRun

    @property
    def size_keys(self) -> Sequence[str]:
        """Dotted keys of what decides how long a step takes and how much memory it needs."""
        return (
            "dataset.downsample_factor",
            "dataset.limit_samples",
            "model.hidden",
            "model.use_residual",
            "training.batch_size",
            "training.optimizer",
        )

    def setup(self) -> NetworkSetup:
        """Return the heavy half."""
        from tunectl.objectives.signal_setup import SignalSetup

        return SignalSetup()
