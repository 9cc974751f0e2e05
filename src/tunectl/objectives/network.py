"""What all objectives share that train a network: the light half.

A command may ask what can be optimised and whether the data are in order without waiting for
PyTorch; the heavy half is the objective's `NetworkSetup`, which comes when a trial runs.
"""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunectl.config.run import Run
from tunectl.config.schema import Runtime
from tunectl.config.search_schema import Direction
from tunectl.errors import MemoryExhaustedError, Problem
from tunectl.objectives.base import ModelSize, Outcome, Rehearsal, TrialContext
from tunectl.objectives.costs import COSTS
from tunectl.training.data import forget_datasets

if TYPE_CHECKING:
    from tunectl.objectives.network_setup import NetworkSetup


class NetworkObjective(ABC):
    """Trains one network per trial and evaluates the best epoch's weights on the test split."""

    @property
    @abstractmethod
    def ranking(self) -> Mapping[str, Direction]:
        """The validation metrics, the default one first → the direction in which each is better."""

    @property
    @abstractmethod
    def size_keys(self) -> Sequence[str]:
        """Dotted keys of what decides how long a step takes and how much memory it needs."""

    @abstractmethod
    def problems(self, run: Run, project: Path) -> list[Problem]:
        """Look at the configuration and its data without training.

        Args:
            run: The training run before any parameter is proposed.
            project: The project folder.

        Returns:
            Everything that would make a trial fail; `file` is set only where it is a data file.
        """

    @abstractmethod
    def misfits(self, run: Run, project: Path) -> list[Problem]:
        """Return what would make a trial fail, as far as it shows without reading the data."""

    @abstractmethod
    def setup(self) -> NetworkSetup:
        """Return the heavy half."""

    @property
    def metrics(self) -> Mapping[str, Direction]:
        """What `study.metric` may be → the direction in which it is better."""
        return {**self.ranking, **COSTS}

    @property
    def epoch_metrics(self) -> Sequence[str]:
        """The validation metrics."""
        return tuple(self.ranking)

    @property
    def needs_device(self) -> bool:
        """It trains a network."""
        return True

    @property
    def leaves_network(self) -> bool:
        """It does: plan, scaling and weights."""
        return True

    def size(self, run: Run, project: Path) -> ModelSize:
        """Return how much a configuration without misfits asks of the machine."""
        return self.setup().size(run, project)

    def rehearse(self, run: Run, runtime: Runtime, project: Path, device: str) -> Rehearsal:
        """Take a few training steps and forget them; see `Rehearsable.rehearse`."""
        from tunectl.objectives.network_rehearsal import rehearse
        from tunectl.training.device import release_memory

        try:
            return rehearse(self.setup(), run, runtime, project, device)
        except BaseException as error:
            _forget_frames(error)
            raise
        finally:
            release_memory()

    def rate(self, run: Run, runtime: Runtime, project: Path, device: str, seconds: float) -> float:
        """Return the training steps per second; see `Rehearsable.rate`."""
        from tunectl.objectives.network_rehearsal import measure_rate

        return measure_rate(self.setup(), run, runtime, project, device, seconds)

    def run(self, context: TrialContext) -> Outcome:
        """Run one trial to its end and leave its results in its directory.

        A trial that is pruned, over its time or diverged leaves its histories and no evaluation;
        an interrupted one leaves nothing.

        Raises:
            TrialPruned, TrialInterrupted, TrialTimedOut: from the context, let through.
            DivergedError: the numbers are not finite, or have exploded.
            MemoryExhaustedError: memory ran out.
            DataError: the data do not fit this trial's parameters, or have changed.
            DeviceError: the device is not there.
        """
        # PyTorch comes only when a trial runs, Matplotlib when it has something to draw.
        from tunectl.objectives.network_trial import run_trial
        from tunectl.training.device import release_memory

        try:
            return run_trial(self.setup(), context)
        except BaseException as error:
            _forget_frames(error)
            if isinstance(error, MemoryExhaustedError):
                self.forget_data()
            raise
        finally:
            release_memory()

    def forget_data(self) -> None:
        """Let go of the data that are kept in memory between trials."""
        forget_datasets()


def _forget_frames(error: BaseException | None) -> None:
    """Let go of what an error's frames hold, or model and optimiser would live on in them."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
