"""What an objective is, and what a trial gives it.

An objective knows nothing of Optuna, of other trials or of the terminal: it gets a
`TrialContext`, reports its metrics epoch by epoch, and returns what it reached.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import TrainingRun, TrialConfig
from tunectl.errors import Problem


class TrialPruned(Exception):  # noqa: N818 - the field's word for it, as in Optuna
    """Raised through an objective by `TrialContext.report` when the trial is hopeless."""


class TrialInterrupted(Exception):  # noqa: N818
    """Raised through an objective by `TrialContext.report` when the program is to stop."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a trial reached.

    Args:
        value: The study's metric at the best epoch.
        best_epoch: 1-based number of that epoch.
        epochs: Epochs trained.
        metrics: Final metrics by name, each a finite number: `val_*` and `test_*`.
        attributes: Further facts to store with the trial, for example `target_0_r2`.
    """

    value: float
    best_epoch: int
    epochs: int
    metrics: Mapping[str, float]
    attributes: Mapping[str, Any] = field(default_factory=dict)


class TrialContext(Protocol):
    """What a running trial offers its objective."""

    @property
    def config(self) -> TrialConfig:
        """The trial's whole configuration, its parameters merged in."""

    @property
    def project(self) -> Path:
        """Absolute path of the project folder, which the configuration's paths are relative to."""

    @property
    def directory(self) -> TrialDir:
        """The trial's own folder, for everything that it leaves."""

    @property
    def device(self) -> str:
        """The device to run on, as PyTorch names it."""

    @property
    def log(self) -> logging.Logger:
        """The trial's log; what is written here ends in `logs/trial.log`."""

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Tell what an epoch reached.

        Args:
            epoch: 1-based number of the epoch that has just ended.
            metrics: Its metrics; the study's metric must be among them.

        Raises:
            TrialPruned: the pruner gives the trial up.
            TrialInterrupted: the program has been told to stop.
        """


class Objective(Protocol):
    """One kind of trial."""

    @property
    def metrics(self) -> Mapping[str, str]:
        """What `study.metric` may be → the direction in which it is better."""

    def problems(self, run: TrainingRun, project: Path) -> list[Problem]:
        """Look at the configuration and its data without training.

        Args:
            run: The training run before any parameter is proposed.
            project: The project folder.

        Returns:
            Everything that would make a trial fail, empty if all is well. Keys are set, files and
            lines are not: the caller knows where a key was written.
        """

    def run(self, context: TrialContext) -> Outcome:
        """Run one trial to its end.

        Raises:
            TrialPruned, TrialInterrupted: from `context.report`, let through.
            ObjectiveError: the trial failed for a reason worth naming.
        """
