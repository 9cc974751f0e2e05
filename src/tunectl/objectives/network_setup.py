"""The heavy half of an objective that trains a network: what a trial and its rehearsal start from.

Both share it, so that the one shows what the other will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import nn

from tunectl.config.network_run import NetworkTraining
from tunectl.config.run import Run
from tunectl.objectives.base import ModelSize, Outcome, TrialContext
from tunectl.training.architecture import Layout, NetworkPlan
from tunectl.training.data import Split
from tunectl.training.tensors import TrainingData


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a training starts from.

    Args:
        data: The samples, at hand.
        split: Which of them are for what.
        plan: The network's.
        training: How it is fitted.
        loss: What is minimised.
        outputs: Numbers that the network gives for a sample.
        layout: In which order the axes of a sample are recorded.
    """

    data: TrainingData
    split: Split
    plan: NetworkPlan
    training: NetworkTraining
    loss: nn.Module
    outputs: int
    layout: Layout = "signals"


class ReadyTrial(Protocol):
    """A trial that has what it needs to run."""

    def run(self) -> Outcome:
        """Train, then evaluate the best epoch's weights."""


class NetworkSetup(Protocol):
    """What an objective knows of its data and its network."""

    def prepare(self, run: Run, project: Path, device: str) -> Prepared:
        """Read the data that a configuration selects and plan the network for them.

        Args:
            run: The training run.
            project: The project folder.
            device: Where the network is to be.

        Raises:
            DataError: the data do not fit the configuration, or have changed.
        """

    def size(self, run: Run, project: Path) -> ModelSize:
        """Return how much a configuration without misfits asks of the machine."""

    def trial(self, context: TrialContext, device: str) -> ReadyTrial:
        """Return a trial that is ready to run."""
