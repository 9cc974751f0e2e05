"""What the objectives have in common that read targets (N, T): their metrics and their data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.run import Run
from tunectl.config.schema import TrialConfig
from tunectl.config.search_schema import Direction
from tunectl.config.signal_run import RegressionRun
from tunectl.errors import Problem
from tunectl.objectives.data_facts import TOLERANCE, DataFacts
from tunectl.objectives.network import NetworkObjective
from tunectl.objectives.signal_data_facts import signal_data_facts
from tunectl.training.data_checks import find_problems
from tunectl.training.metrics import DIRECTIONS

if TYPE_CHECKING:
    from tunectl.training.packaged import PackagedNet


class RegressionObjective(NetworkObjective):
    """Fits a network to targets."""

    kind: ClassVar[type[RegressionRun]]
    """The kind of its run."""

    @property
    def ranking(self) -> Mapping[str, Direction]:
        """Errors on standardised targets, and R²."""
        return DIRECTIONS

    def problems(self, run: Run, project: Path) -> list[Problem]:
        """Look at the configuration and its data without training."""
        return find_problems(run.as_kind(self.kind), project)

    def misfits(self, run: Run, project: Path) -> list[Problem]:
        """Return what would make a trial fail, as far as it shows without reading the data."""
        return find_problems(run.as_kind(self.kind), project, look_at_values=False)

    def data_facts(
        self, directory: TrialDir, config: TrialConfig, project: Path, network: PackagedNet
    ) -> DataFacts | None:
        """Return what is known of a completed trial's data; see `Traceable`."""
        own, tolerance = config.run.as_kind(self.kind), TOLERANCE[config.runtime.precision]
        return signal_data_facts(directory, own, project, network, tolerance)
