from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tunectl.config.network_run import DataSplit, NetworkTraining
from tunectl.errors import DivergedError
from tunectl.training.architecture import Architecture
from tunectl.training.checkpoint import restore_latest, save_checkpoint
from tunectl.training.data import Samples, split_indices
from tunectl.training.loop import fit, start_training
from tunectl.training.losses import WeightedMSELoss
from tunectl.training.schedules import make_schedule
from tunectl.training.state import FitPlan, FitResult, TrainingState
from tunectl.training.stopping import StopRules, epochs_without_gain, overfits_from
from tunectl.training.tensors import SampleTensors, epoch_batches

SPLIT = split_indices(40, DataSplit())
PLAN = Architecture(
    kind="cnn1d", channels=2, targets=2, hidden=4, dropout_rate=0.2, use_residual=False
)
EPOCHS, BATCH = 6, 8
STEPS = len(epoch_batches(torch.from_numpy(SPLIT.train), BATCH, seed=0, epoch=1))


def _data() -> SampleTensors:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(40, 2, 24)).astype(np.float32)
    t = generator.normal(size=(40, 2)).astype(np.float32)
    return SampleTensors(Samples(x, t), SPLIT, normalize_targets=True, device="cpu")


def _training(**changes: Any) -> NetworkTraining:
    return NetworkTraining(epochs=EPOCHS, batch_size=BATCH, seed=3, learning_rate=0.01, **changes)


def _start(training: NetworkTraining) -> TrainingState:
    return start_training(PLAN, training, "cpu", steps_per_epoch=STEPS)


def _fit(
    state: TrainingState,
    on_batch: Callable[[], None] = lambda: None,
    loss: nn.Module | None = None,
    **changes: Any,
) -> FitResult:
    fields = {"epochs": EPOCHS, "batch_size": BATCH, "seed": 3, "metric": "val_mse"}
    plan = FitPlan(**{**fields, "direction": "minimize", **changes})
    judge = loss or WeightedMSELoss([1, 1])
    return fit(state, _data(), SPLIT, plan, judge, lambda _: None, on_batch)


def _rates(training: NetworkTraining, errors: list[float] | None = None) -> list[float]:
    """Return the learning rate of each step, three to an epoch."""
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=training.learning_rate)
    schedule = make_schedule(optimizer, training, 3)
    assert schedule is not None
    rates = []
    for epoch in range(1, training.epochs + 1):
        for _ in range(3):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            schedule.after_batch()
        schedule.after_epoch(epoch, errors[epoch - 1] if errors else 1.0)
    return rates


def test_without_a_schedule_the_learning_rate_stays() -> None:
    assert _start(_training()).schedule is None
    assert _fit(_start(_training())).histories["learning_rate"] == [0.01] * EPOCHS


def test_cosine_falls_from_the_learning_rate_to_nearly_nothing() -> None:
    rates = _rates(_training(scheduler="cosine"))

    assert rates[0] == 0.01
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.005 * (1 + math.cos(math.pi * 17 / 18)))


def test_warm_up_rises_step_by_step_and_then_the_schedule_begins() -> None:
    rates = _rates(_training(scheduler="cosine", warmup_epochs=1))

    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert _rates(_training(warmup_epochs=1))[3:] == pytest.approx([0.01] * 15)


def test_steps_drop_the_learning_rate_every_so_many_epochs() -> None:
    rates = _rates(_training(scheduler="step", scheduler_epochs=2, scheduler_factor=0.5))

    assert rates[::3] == pytest.approx([0.01, 0.01, 0.005, 0.005, 0.0025, 0.0025])


def test_plateau_drops_it_where_the_error_gains_no_more() -> None:
    training = _training(scheduler="plateau", scheduler_epochs=1, scheduler_factor=0.5)

    assert _rates(training, [1.0, 0.5, 0.5, 0.5, 0.2, 0.1])[::3] == pytest.approx(
        [0.01, 0.01, 0.01, 0.01, 0.005, 0.005]
    )


def test_one_cycle_rises_to_the_learning_rate_and_falls() -> None:
    rates = _rates(_training(scheduler="one_cycle"))
    peak = rates.index(max(rates))

    assert 0 < peak < len(rates) / 2
    assert max(rates) == pytest.approx(0.01, rel=0.05)
    assert rates[-1] < rates[0] < max(rates)


def test_one_cycle_leaves_the_momentum_as_it_is() -> None:
    state = _start(_training(scheduler="one_cycle", optimizer="sgd"))
    _fit(state)

    assert state.optimizer.param_groups[0]["momentum"] == 0.9


def test_the_histories_have_the_learning_rate_that_an_epoch_used() -> None:
    training = _training(scheduler="step", scheduler_epochs=1, scheduler_factor=0.5)
    rates = _fit(_start(training)).histories["learning_rate"]

    assert rates == pytest.approx([0.01 * 0.5**epoch for epoch in range(EPOCHS)])


@pytest.mark.parametrize("scheduler", ["cosine", "step", "plateau", "one_cycle"])
def test_a_training_with_a_schedule_goes_on_to_the_bit(scheduler: str, tmp_path: Path) -> None:
    training = _training(
        scheduler=scheduler, warmup_epochs=1, scheduler_epochs=1, optimizer="adamw"
    )
    whole = _fit(_start(training), clip_norm=0.5)
    state, batches = _start(training), 0

    def stop() -> None:
        nonlocal batches
        batches += 1
        if batches == STEPS * 2 + 1:  # within the third epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _fit(state, stop, clip_norm=0.5)
    save_checkpoint(tmp_path, state)
    again = _start(training)
    assert restore_latest(tmp_path, again) is not None
    resumed = _fit(again, clip_norm=0.5)

    assert resumed.histories == whole.histories
    for name, weight in whole.best.weights.items():
        assert torch.equal(resumed.best.weights[name], weight), name


def test_gradients_are_clipped_and_their_norm_is_kept() -> None:
    plain, clipped = _fit(_start(_training())), _fit(_start(_training()), clip_norm=1e-3)

    assert "gradient_norm" not in plain.histories
    assert len(clipped.histories["gradient_norm"]) == EPOCHS
    assert clipped.histories["gradient_norm"][0] > 1e-3
    assert clipped.histories["train_loss"] != plain.histories["train_loss"]
    # What is not reached is not changed.
    loose = _fit(_start(_training()), clip_norm=1e9)
    assert loose.histories["train_loss"] == plain.histories["train_loss"]


def test_gradients_that_explode_are_named_with_their_epoch() -> None:
    class Exploding(nn.Module):
        def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return (outputs - targets).square().mean() * 1e38 * 1e38

    with pytest.raises(DivergedError, match=r"gradients exploded in epoch 1, norm (inf|nan)"):
        _fit(_start(_training()), loss=Exploding(), clip_norm=1.0)


def test_gradients_that_are_no_numbers_are_seen_without_clipping_and_in_no_metric() -> None:
    state = _start(_training())
    unused = nn.Parameter(torch.zeros(1))
    state.model.register_parameter("unused", unused)

    class Cusp(nn.Module):
        def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return (outputs - targets).square().mean() + (0 * unused).sqrt().sum()

    with pytest.raises(DivergedError, match="gradients exploded in epoch 1, norm nan"):
        _fit(state, loss=Cusp())
    assert "gradient_norm" not in state.histories


def test_a_training_that_gains_no_more_is_ended() -> None:
    training = _training(optimizer="sgd")
    state = start_training(PLAN, training.model_copy(update={"learning_rate": 1e-12}), "cpu")

    result = _fit(state, epochs=50, stop=StopRules(patience=3, min_delta=0.1))

    assert result.ended_by == "early_stopping"
    assert result.epochs < 10
    assert result.best.epoch <= result.epochs
    # Taken up once more, it is still at its end.
    assert _fit(state, epochs=50, stop=StopRules(patience=3, min_delta=0.1)).epochs == result.epochs


@pytest.mark.parametrize(
    ("values", "direction", "min_delta", "expected"),
    [
        ([], "minimize", 0.0, 0),
        ([3.0], "minimize", 0.0, 0),
        ([3.0, 2.0, 2.0, 2.5], "minimize", 0.0, 2),
        ([3.0, 2.0, 1.9, 1.85], "minimize", 0.5, 2),
        ([0.1, 0.5, 0.4, 0.6], "maximize", 0.0, 0),
        ([0.1, 0.5, 0.4, 0.5], "maximize", 0.0, 2),
    ],
)
def test_a_gain_is_better_than_the_best_so_far(
    values: list[float], direction: str, min_delta: float, expected: int
) -> None:
    behind = epochs_without_gain(values, direction=direction, min_delta=min_delta)

    assert behind == expected


def test_overfitting_is_a_falling_loss_with_a_rising_error() -> None:
    falling = list(np.linspace(1.0, 0.1, 60))
    valley = [abs(epoch - 30) / 30 + 0.2 for epoch in range(60)]

    found = overfits_from({"train_loss": falling, "val_mse": valley}, "val_mse")

    assert found is not None
    assert 35 <= found <= 45
    assert overfits_from({"train_loss": falling, "val_mse": falling}, "val_mse") is None
    assert overfits_from({"train_loss": valley, "val_mse": valley}, "val_mse") is None
    assert overfits_from({"train_loss": falling[:19], "val_mse": valley[:19]}, "val_mse") is None


def test_a_training_that_overfits_can_be_ended() -> None:
    rules = StopRules(on_overfitting=True)
    training = _training(weight_decay=0.0)
    plain = Architecture(
        kind="cnn1d", channels=2, targets=2, hidden=32, dropout_rate=0.0, use_residual=True
    )
    noted = _fit(start_training(plain, training, "cpu"), epochs=45)
    ended = _fit(start_training(plain, training, "cpu"), epochs=45, stop=rules)

    assert noted.ended_by is None
    assert noted.overfits_from is not None
    assert ended.ended_by == "overfitting"
    assert ended.epochs == noted.overfits_from
