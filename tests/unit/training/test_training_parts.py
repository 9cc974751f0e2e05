"""Batches that are computed in parts to save memory: the same step, and the same training again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from tunectl.config.signal_run import DataSplit, Training
from tunectl.training.architecture import Architecture
from tunectl.training.checkpoint import restore_latest, save_checkpoint
from tunectl.training.data import Samples, split_indices
from tunectl.training.loop import evaluate, fit, start_training, train_step
from tunectl.training.losses import WeightedMSELoss
from tunectl.training.models import FlowNet
from tunectl.training.state import FitPlan, FitResult, TrainingState
from tunectl.training.tensors import SampleTensors, split_batch

SPLIT = split_indices(40, DataSplit())
PLAN = Architecture(
    kind="cnn1d", channels=2, targets=2, hidden=4, dropout_rate=0.2, use_residual=True
)


def make_data() -> SampleTensors:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(40, 2, 24)).astype(np.float32)
    t = generator.normal(size=(40, 2)).astype(np.float32)
    return SampleTensors(Samples(x, t), SPLIT, normalize_targets=True, device="cpu")


def plain_training() -> TrainingState:
    """Return a training whose network treats each sample by itself."""
    torch.manual_seed(1)
    features = nn.Sequential(nn.Conv1d(2, 6, 5), nn.ReLU(), nn.Conv1d(6, 6, 3), nn.ReLU())
    model = FlowNet(features, nn.Linear(6, 2))
    return TrainingState(model=model, optimizer=SGD(model.parameters(), lr=0.1))


def plan(*, parts: int, epochs: int = 2) -> FitPlan:
    return FitPlan(
        epochs=epochs,
        batch_size=8,
        batch_parts=parts,
        seed=3,
        metric="val_mse",
        direction="minimize",
    )


def sizes(parts: Sequence[Tensor]) -> list[int]:
    return [len(part) for part in parts]


@pytest.mark.parametrize(
    ("samples", "batch_size", "expected"),
    [
        (8, 8, [4, 4]),
        (9, 8, [5, 4]),  # a single sample left over has joined it
        (7, 8, [4, 3]),
        (3, 8, [3]),  # less than half of a batch, so in one
        (4, 4, [2, 2]),
        (2, 2, [1, 1]),
        (3, 3, [2, 1]),
        (1, 1, [1]),
    ],
)
def test_parts_are_nearly_equal_and_not_of_single_samples_where_it_can_be_helped(
    samples: int, batch_size: int, expected: list[int]
) -> None:
    index = torch.arange(samples) + 5
    parts = split_batch(index, 2, batch_size=batch_size)
    assert sizes(parts) == expected
    assert torch.equal(torch.cat(list(parts)), index)


@pytest.mark.parametrize("samples", [1, 2, 5, 9])
def test_one_part_is_the_batch_itself(samples: int) -> None:
    index = torch.arange(samples)
    (part,) = split_batch(index, 1, batch_size=8)
    assert part is index


@pytest.mark.parametrize("parts", [[4, 4], [5, 3], [1, 2, 5], [1] * 8])
def test_a_step_in_parts_is_the_step_of_the_whole_batch(parts: list[int]) -> None:
    data, index, loss = make_data(), torch.arange(8), WeightedMSELoss([5, 1])
    whole, pieces = plain_training(), plain_training()

    loss_of_whole = train_step(whole, data, [index], loss, "fp32")
    loss_of_pieces = train_step(pieces, data, torch.split(index, parts), loss, "fp32")

    torch.testing.assert_close(loss_of_pieces, loss_of_whole, rtol=1e-6, atol=1e-6)
    for one, other in zip(pieces.model.parameters(), whole.model.parameters(), strict=True):
        assert one.grad is not None
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_a_step_in_one_part_is_bit_for_bit_the_plain_one() -> None:
    data, index, loss = make_data(), torch.arange(8), WeightedMSELoss([5, 1])
    ours, plain = plain_training(), plain_training()

    train_step(ours, data, [index], loss, "fp32")
    loss(plain.model(data.inputs(index)), data.targets(index)).backward()
    plain.optimizer.step()

    for one, other in zip(ours.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(one, other)


def run(state: TrainingState, how: FitPlan, stop_at_batch: int | None = None) -> FitResult:
    batches = 0

    def on_batch() -> None:
        nonlocal batches
        batches += 1
        if batches == stop_at_batch:
            raise KeyboardInterrupt

    loss = WeightedMSELoss([1, 1])
    return fit(state, make_data(), SPLIT, how, loss, lambda _: None, on_batch)


def test_a_training_in_parts_goes_on_bit_for_bit_after_an_interruption(tmp_path: Path) -> None:
    training, how = Training(seed=3), plan(epochs=3, parts=2)
    whole = run(start_training(PLAN, training, "cpu"), how)

    state = start_training(PLAN, training, "cpu")
    with pytest.raises(KeyboardInterrupt):
        run(state, how, stop_at_batch=6)
    save_checkpoint(tmp_path, state)
    torch.manual_seed(999)  # whatever happened in between
    again = start_training(PLAN, training, "cpu")
    assert restore_latest(tmp_path, again) is not None
    resumed = run(again, how)

    assert resumed.histories == whole.histories
    assert all(torch.equal(resumed.best.weights[k], v) for k, v in whole.best.weights.items())


@pytest.mark.parametrize(("parts", "largest"), [(1, 28), (2, 4)])
def test_evaluation_takes_no_more_at_a_time_than_there_is_memory_for(
    parts: int, largest: int
) -> None:
    seen = []
    state = plain_training()
    state.model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))

    outputs = evaluate(state.model, make_data(), SPLIT.train, plan(parts=parts))

    assert (max(seen), sum(seen), len(outputs)) == (largest, 28, 28)
