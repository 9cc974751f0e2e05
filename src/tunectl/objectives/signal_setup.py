"""What a training on signals starts from: its data, its network's plan and its loss."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch

from tunectl.config.run import Run
from tunectl.config.signal_run import RegressionRun, SignalRun, SignalTraining
from tunectl.errors import DataError
from tunectl.objectives.base import ModelSize, TrialContext
from tunectl.objectives.network_setup import Prepared, ReadyTrial
from tunectl.training.architecture import Architecture, NetworkPlan, resolve_kind
from tunectl.training.data import load_dataset, split_indices
from tunectl.training.data_checks import find_problems
from tunectl.training.data_files import open_dataset
from tunectl.training.losses import WeightedMSELoss
from tunectl.training.models import build_from
from tunectl.training.tensors import SampleTensors


class RegressionSetup(ABC):
    """Samples in two files, and a network from the ones to the others."""

    @abstractmethod
    def plan(self, run: Run, x_shape: Sequence[int], targets: int) -> NetworkPlan:
        """Return the plan of a network.

        Args:
            run: The training run.
            x_shape: (N, C, …), as the network is to see it; a table is (N, F, 1).
            targets: How many there are.
        """

    def prepare(self, run: Run, project: Path, device: str) -> Prepared:
        """Read the data and plan the network; see `NetworkSetup.prepare`."""
        own = run.as_kind(RegressionRun)
        problems = find_problems(own, project, look_at_values=False)
        if problems:
            raise DataError(problems)
        opened = open_dataset(own.dataset, project)
        samples = load_dataset(own.dataset, project)
        split = split_indices(len(samples.x), own.data_split)
        normalize_targets = own.training.normalize_targets
        targets = samples.t.shape[1]
        return Prepared(
            data=SampleTensors(samples, split, normalize_targets=normalize_targets, device=device),
            split=split,
            plan=self.plan(own, samples.x.shape, targets),
            layout="rows" if opened.is_table else "signals",
            training=own.training,
            loss=make_loss(own.training, targets),
            outputs=targets,
        )

    def size(self, run: Run, project: Path) -> ModelSize:
        """Return parameters and batch size of a configuration; see `Rehearsable.size`."""
        own = run.as_kind(RegressionRun)
        opened = open_dataset(own.dataset, project)
        if opened.x is None or opened.t is None:
            raise DataError(opened.problems)
        *axes, length = opened.x.shape[2:]
        shape = (len(opened.channels), *axes, length // own.dataset.downsample_factor)
        x_shape, targets = (opened.limit, *shape), opened.t.shape[1]
        plan = self.plan(own, x_shape, targets)
        with torch.device("meta"):  # shapes only: no memory, no random numbers
            model = build_from(plan)
        return ModelSize(
            n_parameters=sum(parameter.numel() for parameter in model.parameters()),
            batch_size=own.training.batch_size,
            sample_values=math.prod(shape),
            n_samples=opened.limit,
        )

    def trial(self, context: TrialContext, device: str) -> ReadyTrial:
        """Return a trial that is ready to run."""
        from tunectl.objectives.signal_trial import RegressionTrial

        return RegressionTrial(self, context, device)


class SignalSetup(RegressionSetup):
    """The networks of `signal_regressor`."""

    def plan(self, run: Run, x_shape: Sequence[int], targets: int) -> NetworkPlan:
        """Return the plan of the network for signals (N, C, …) and so many targets."""
        model = run.as_kind(SignalRun).model
        return Architecture(
            kind=resolve_kind(model.type, len(x_shape)),
            channels=x_shape[1],
            targets=targets,
            hidden=model.hidden,
            dropout_rate=model.dropout_rate,
            use_residual=model.use_residual,
        )


def make_loss(training: SignalTraining, targets: int) -> WeightedMSELoss:
    """Return what the training minimises: the weights are all 1 where they are not to be used."""
    weights = training.target_weights[:targets] if training.use_weighted_loss else [1] * targets
    return WeightedMSELoss(weights)
