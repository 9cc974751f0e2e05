"""What a training of `flow_cnn` starts from: its data, its network's plan and its loss.

A trial and its rehearsal share it, so that the one shows what the other will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunectl.config.signal_run import Training, TrainingRun
from tunectl.errors import DataError
from tunectl.training.architecture import Architecture, resolve_kind
from tunectl.training.data import Split, load_dataset, split_indices
from tunectl.training.data_checks import find_problems
from tunectl.training.losses import WeightedMSELoss
from tunectl.training.tensors import SampleTensors


def prepare_data(
    config: TrainingRun, project: Path, device: str
) -> tuple[SampleTensors, Split, Architecture]:
    """Read the data that a configuration selects and plan the network for them.

    Args:
        config: The training run.
        project: The project folder.
        device: Where the network is to be.

    Raises:
        DataError: the data do not fit the configuration, or have changed.
    """
    problems = find_problems(config, project, look_at_values=False)
    if problems:
        raise DataError(problems)
    samples = load_dataset(config.dataset, project)
    split = split_indices(len(samples.x), config.data_split)
    normalize_targets = config.training.normalize_targets
    data = SampleTensors(samples, split, normalize_targets=normalize_targets, device=device)
    return data, split, plan_network(config, samples.x.shape, samples.t.shape[1])


def plan_network(config: TrainingRun, x_shape: Sequence[int], targets: int) -> Architecture:
    """Return the plan of the network for signals (N, C, …) and so many targets."""
    return Architecture(
        kind=resolve_kind(config.model.type, len(x_shape)),
        channels=x_shape[1],
        targets=targets,
        hidden=config.model.hidden,
        dropout_rate=config.model.dropout_rate,
        use_residual=config.model.use_residual,
    )


def make_loss(training: Training, targets: int) -> WeightedMSELoss:
    """Return what the training minimises: the weights are all 1 where they are not to be used."""
    weights = training.target_weights[:targets] if training.use_weighted_loss else [1] * targets
    return WeightedMSELoss(weights)
