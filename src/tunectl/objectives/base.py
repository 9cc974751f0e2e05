"""What an objective is, and what a trial gives it.

An objective knows nothing of Optuna, of other trials or of the terminal: it gets a
`TrialContext`, reports its metrics epoch by epoch, and returns what it reached.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.run import Run
from tunectl.config.schema import Runtime, TrialConfig
from tunectl.config.search_schema import Direction, Search
from tunectl.errors import Problem

if TYPE_CHECKING:
    from tunectl.objectives.data_facts import DataFacts
    from tunectl.training.packaged import PackagedNet

TAKEN = ("best_epoch", "epochs", "histories", "steps", "per_target")
"""Keys of `metrics.json` that are no metrics, so that none may be called so."""


class TrialPruned(Exception):  # noqa: N818 - the field's word for it, as in Optuna
    """Raised through an objective by `TrialContext.report` when the trial is hopeless."""


class TrialInterrupted(Exception):  # noqa: N818
    """Raised through an objective by its `TrialContext` when the program is to stop."""


class TrialTimedOut(Exception):  # noqa: N818
    """Raised through an objective by its `TrialContext` when the trial has used up its time."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a trial reached.

    Args:
        value: The metric by which the best epoch was chosen, at that epoch.
        best_epoch: 1-based number of that epoch; None where the trial reported none.
        epochs: Epochs trained, or steps reported.
        metrics: Final metrics by name, each a finite number; whatever a study may optimise is
            among them.
        attributes: Further facts to store with the trial, for example `target_0_r2`.
    """

    value: float
    best_epoch: int | None
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
            TrialTimedOut: it has used up its time, and this is not its last epoch.
            DivergedError: the metric is no finite number.
        """

    def settle(self) -> None:
        """Have everything that was reported written; to be called before a checkpoint is.

        Reports of short epochs are written together, a fraction of a second later. A checkpoint
        that is ahead of them would go on after epochs of which the database never hears.
        """

    def trained(self) -> None:
        """Say that the training is over, also where it ended early: its time limit ends with it.

        What a training has reached is not thrown away for the time that its evaluation takes.
        """

    def check_stop(self) -> None:
        """Stop here if the program has been told to; cheap enough for every batch.

        To be called once before the training begins, too: what is told to stop then need not begin.

        Raises:
            TrialInterrupted: it has been; what is needed to go on must be left in the trial's
                `checkpoints` folder on the way out.
            TrialTimedOut: the trial has used up its time.
        """


class Objective(Protocol):
    """One kind of trial."""

    @property
    def metrics(self) -> Mapping[str, Direction] | None:
        """What `study.metric` may be → the direction in which it is better.

        None where the user's own code decides what there is.
        """

    @property
    def epoch_metrics(self) -> Sequence[str]:
        """Those of the metrics that are reported every epoch; the first is the default.

        Empty where the user's own code decides: then it is the study's first metric.
        """

    @property
    def needs_device(self) -> bool:
        """Whether the device has to be known, which takes PyTorch, before a trial begins."""

    @property
    def leaves_network(self) -> bool:
        """Whether a completed trial leaves a network that `predict` can use."""

    def problems(self, run: Run, project: Path) -> list[Problem]:
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
            TrialPruned, TrialInterrupted, TrialTimedOut: from the context, let through.
            DivergedError: a loss or a metric is no finite number, or has exploded (see
                `context.config.failures.explosion`).
            MemoryExhaustedError: memory ran out. The trial may be run once more, with
                `context.config.batch_parts` of 2.
            ObjectiveError: the trial failed for another reason worth naming.
        """


@runtime_checkable
class Templated(Protocol):
    """An optional part of an objective: it puts values into texts of the user's."""

    def replaced(self, run: Run, search: Search) -> Sequence[str]:
        """Return what is named in those texts and will be replaced by a value, each once."""

    def remarks(self, run: Run, search: Search) -> list[Problem]:
        """Return what in those texts is probably not meant; keys are set."""


@runtime_checkable
class Unstaffed(Protocol):
    """An optional part of an objective: no worker can run its trials."""

    @property
    def driven_by(self) -> str:
        """Who runs them, one sentence without a full stop."""


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """How much a configuration asks of the machine, worked out without training.

    Args:
        n_parameters: Of the network.
        batch_size: Samples per training step.
        sample_values: Numbers in one sample.
        n_samples: Samples that are used.
    """

    n_parameters: int
    batch_size: int
    sample_values: int
    n_samples: int


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a few training steps of one configuration showed.

    Args:
        input_shape: Of one batch, (B, C, …).
        output_shape: Of the network's answer, (B, T).
        n_parameters: Of the network.
        gradients_finite: Whether every parameter has a gradient of finite numbers.
        loss: Of the first batch, before the first step.
        data_bytes: Memory of the selected data.
        peak_memory_bytes: Memory of everything else that a step needs; on a CPU an estimate.
        step_s: Seconds of one step: forward, backward and the optimiser.
        steps_per_epoch: Steps of one epoch.
        epoch_s: Seconds of one epoch with its validation.
        disk_bytes: What a trial leaves, about.
    """

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    n_parameters: int
    gradients_finite: bool
    loss: float
    data_bytes: int
    peak_memory_bytes: int
    step_s: float
    steps_per_epoch: int
    epoch_s: float
    disk_bytes: int


@runtime_checkable
class Advising(Protocol):
    """An optional part of an objective: it has something to say of data that are good."""

    def advice(self, run: Run, project: Path) -> list[Problem]:
        """Return what works but is worth knowing.

        Args:
            run: A training run without problems.
            project: The project folder.
        """


@runtime_checkable
class Traceable(Protocol):
    """An optional part of an objective: it can tell whether a trial's data are still there."""

    def data_facts(
        self, directory: TrialDir, config: TrialConfig, project: Path, network: PackagedNet
    ) -> DataFacts | None:
        """Return what is known of a completed trial's data.

        Args:
            directory: The trial's folder.
            config: The trial's configuration.
            project: Absolute path of the project folder.
            network: The trial's network.

        Returns:
            None where the files are gone, or are not those of the training any more.
        """


@runtime_checkable
class Rehearsable(Protocol):
    """An optional part of an objective: it can be tried out before there is a study."""

    @property
    def size_keys(self) -> Sequence[str]:
        """Dotted keys of what decides how long a step takes and how much memory it needs."""

    def misfits(self, run: Run, project: Path) -> list[Problem]:
        """Return what would make a trial fail, as far as it shows without reading the data."""

    def size(self, run: Run, project: Path) -> ModelSize:
        """Return how much a configuration without misfits asks of the machine."""

    def rehearse(self, run: Run, runtime: Runtime, project: Path, device: str) -> Rehearsal:
        """Take a few training steps and forget them; nothing is written but what can be deleted.

        Args:
            run: A configuration without misfits.
            runtime: Precision, determinism and threads.
            project: The project folder.
            device: The device to run on, as PyTorch names it.

        Raises:
            ObjectiveError: memory ran out.
        """

    def rate(self, run: Run, runtime: Runtime, project: Path, device: str, seconds: float) -> float:
        """Train for a while and forget it; return the training steps per second.

        Args:
            run: A configuration without misfits.
            runtime: Precision, determinism and threads.
            project: The project folder.
            device: The device to run on, as PyTorch names it.
            seconds: How long, reading the data not counted.

        Raises:
            ObjectiveError: memory ran out.
        """
