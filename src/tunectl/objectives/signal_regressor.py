"""The objective `signal_regressor`: a convolutional network that reads targets from signals.

Signals are (N, C, L) or (N, C, H, W), targets (N, T). This module is light; `signal_setup.py` and
`signal_trial.py` do the work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunectl.config.run import Run
from tunectl.config.search_schema import Direction
from tunectl.config.signal_run import SignalRun
from tunectl.errors import Problem
from tunectl.objectives.network import NetworkObjective
from tunectl.training.data_checks import find_problems
from tunectl.training.metrics import DIRECTIONS

if TYPE_CHECKING:
    from tunectl.objectives.network_setup import NetworkSetup


class SignalRegressor(NetworkObjective):
    """Fits a network in one or two dimensions."""

    @property
    def ranking(self) -> Mapping[str, Direction]:
        """Errors on standardised targets, and R²."""
        return DIRECTIONS

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

    def problems(self, run: Run, project: Path) -> list[Problem]:
        """Look at the configuration and its data without training."""
        return find_problems(run.as_kind(SignalRun), project)

    def misfits(self, run: Run, project: Path) -> list[Problem]:
        """Return what would make a trial fail, as far as it shows without reading the data."""
        return find_problems(run.as_kind(SignalRun), project, look_at_values=False)

    def setup(self) -> NetworkSetup:
        """Return the heavy half."""
        from tunectl.objectives.signal_setup import SignalSetup

        return SignalSetup()
