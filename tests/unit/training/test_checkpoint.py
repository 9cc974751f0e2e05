"""A training that is stopped anywhere and gone on with gives the bits of one that was not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tunectl.config.signal_run import DataSplit, Training
from tunectl.training.architecture import Architecture
from tunectl.training.checkpoint import CheckpointClock, restore_latest, save_checkpoint
from tunectl.training.data import Samples, split_indices
from tunectl.training.loop import fit, start_training
from tunectl.training.losses import WeightedMSELoss
from tunectl.training.state import FitPlan, FitResult, TrainingState
from tunectl.training.tensors import SampleTensors

BATCHES, EPOCHS = 4, 3


class Stop(Exception):  # noqa: N818 - a signal, not an error
    """What a stopped training ends with."""


class Case:
    """A small training, made anew each time as another process would make it."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        x = random.normal(size=(22, 2, 16)).astype(np.float32)
        t = x.mean(axis=2) @ random.normal(size=(2, 3)).astype(np.float32)
        self.split = split_indices(len(x), DataSplit())
        self.data = SampleTensors(Samples(x, t), self.split, normalize_targets=True, device="cpu")
        self.training = Training(epochs=EPOCHS, batch_size=4, learning_rate=0.01)

    def start(self) -> TrainingState:
        plan = Architecture(
            kind="cnn1d", channels=2, targets=3, hidden=4, dropout_rate=0.4, use_residual=True
        )
        return start_training(plan, self.training, "cpu")

    def fit(self, state: TrainingState, stop_after: int | None = None) -> FitResult:
        done = 0

        def on_batch() -> None:
            nonlocal done
            done += 1
            if done == stop_after:
                raise Stop

        plan = FitPlan(epochs=EPOCHS, batch_size=4, seed=1, metric="val_mse", direction="minimize")
        loss = WeightedMSELoss([1, 1, 1])
        return fit(state, self.data, self.split, plan, loss, lambda _: None, on_batch)


def assert_same(one: FitResult, other: FitResult) -> None:
    assert one.histories == other.histories
    assert one.best.epoch == other.best.epoch
    for name, weights in one.best.weights.items():
        assert torch.equal(weights, other.best.weights[name]), name


def test_stopped_after_any_batch_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    case = Case()
    whole = case.fit(case.start())

    for stop_after in range(1, BATCHES * EPOCHS + 1):
        folder = tmp_path / str(stop_after)
        state = case.start()
        with pytest.raises(Stop):
            case.fit(state, stop_after)
        save_checkpoint(folder, state)
        torch.manual_seed(99)  # whatever another process drew in between
        again = case.start()
        assert restore_latest(folder, again) is not None
        assert_same(case.fit(again), whole)


def test_stopped_after_every_batch_it_ends_all_the_same(tmp_path: Path) -> None:
    case = Case()
    stops = 0
    while True:
        state = case.start()
        restore_latest(tmp_path, state)
        try:
            result = case.fit(state, stop_after=1)
        except Stop:
            save_checkpoint(tmp_path, state)
            stops += 1
        else:
            break

    assert stops == BATCHES * EPOCHS
    assert_same(result, case.fit(case.start()))


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "garbage"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path, damage: str) -> None:
    case = Case()
    state = case.start()
    files = []
    for stop_after in (3, 2):
        with pytest.raises(Stop):
            case.fit(state, stop_after)
        files.append(save_checkpoint(tmp_path, state))
    content = files[1].read_bytes()
    flipped = bytes([content[500] ^ 1])
    files[1].write_bytes(
        {
            "cut": content[: len(content) // 2],
            "bit": content[:500] + flipped + content[501:],
            "empty": b"",
            "garbage": b"no checkpoint" * 100,
        }[damage]
    )

    again = case.start()

    assert restore_latest(tmp_path, again) == files[0]
    assert_same(case.fit(again), case.fit(case.start()))


def test_only_the_last_two_are_kept_and_none_is_half_written(tmp_path: Path) -> None:
    case = Case()
    state = case.start()
    for _ in range(5):
        with pytest.raises(Stop):
            case.fit(state, 1)
        save_checkpoint(tmp_path, state)

    assert len(list(tmp_path.iterdir())) == 2
    assert restore_latest(tmp_path / "nothing", case.start()) is None


def test_a_checkpoint_is_due_when_training_has_paid_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("tunectl.training.checkpoint.time.monotonic", lambda: now)
    clock = CheckpointClock(share=0.1)
    clock._cost_s = 2.0

    now += 19.0
    assert not clock.is_due()
    now += 1.0
    assert clock.is_due()
