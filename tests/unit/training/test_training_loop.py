from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tunectl.config.signal_run import DataSplit, Training
from tunectl.errors import DivergedError, ObjectiveError
from tunectl.training import tensors
from tunectl.training.architecture import Architecture
from tunectl.training.data import Samples, Split, split_indices
from tunectl.training.device import torch_settings
from tunectl.training.loop import fit, predict, start_training
from tunectl.training.losses import WeightedMSELoss
from tunectl.training.metrics import ranking_metrics
from tunectl.training.state import EpochRecord, FitPlan, FitResult, TrainingState
from tunectl.training.tensors import SampleTensors, epoch_batches

PLAN = Architecture(
    kind="cnn1d", channels=2, targets=2, hidden=4, dropout_rate=0.2, use_residual=True
)


def _samples(n: int = 40, unit: float = 1.0) -> Samples:
    rng = np.random.default_rng(0)
    t = rng.uniform(1, 3, size=(n, 2))
    time = np.linspace(0, 1, 24)
    x = t[:, :, None] * np.sin(9 * time + 3 * t[:, :1, None]) + rng.normal(0, 0.1, (n, 2, 24))
    return Samples(x.astype(np.float32), (t * [1.0, 20.0] * unit).astype(np.float32))


SPLIT = split_indices(40, DataSplit())


def _tensors(
    samples: Samples | None = None, *, normalize: bool = True, split: Split = SPLIT
) -> SampleTensors:
    return SampleTensors(samples or _samples(), split, normalize_targets=normalize, device="cpu")


def _plan(epochs: int = 4, **changes: object) -> FitPlan:
    fields: dict[str, object] = {
        "epochs": epochs,
        "batch_size": 4,
        "seed": 3,
        "metric": "val_mse",
        "direction": "minimize",
        **changes,
    }
    return FitPlan(**fields)  # type: ignore[arg-type]


def _start(**training: object) -> TrainingState:
    return start_training(PLAN, Training.model_validate({"seed": 3, **training}), "cpu")


def _nothing(record: EpochRecord) -> None:
    del record


def _fit(
    *,
    data: SampleTensors | None = None,
    plan: FitPlan | None = None,
    state: TrainingState | None = None,
    weights: tuple[float, ...] = (1, 1),
    on_epoch: Callable[[EpochRecord], None] = _nothing,
) -> FitResult:
    with torch_settings("cpu", threads=1):
        return fit(
            state or _start(),
            data or _tensors(),
            SPLIT,
            plan or _plan(),
            WeightedMSELoss(weights),
            on_epoch,
        )


def _same_weights(one: FitResult, other: FitResult) -> bool:
    return all(
        torch.equal(tensor, other.best.weights[name]) for name, tensor in one.best.weights.items()
    )


def test_it_learns() -> None:
    histories = _fit(plan=_plan(epochs=25), state=_start(learning_rate=0.01)).histories
    assert histories["train_loss"][-1] < 0.5 * histories["train_loss"][0]
    assert min(histories["val_mse"]) < 0.5


def test_histories_have_one_value_per_epoch() -> None:
    result = _fit()
    assert set(result.histories) == {
        "train_loss",
        "val_mse",
        "val_mae",
        "val_rmse",
        "val_r2",
        "learning_rate",
    }
    assert {len(values) for values in result.histories.values()} == {4}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_plan_gives_the_same_bits(precision: str) -> None:
    one, other = (_fit(plan=_plan(precision=precision)) for _ in range(2))
    assert one.histories == other.histories
    assert _same_weights(one, other)


def test_another_seed_gives_another_training() -> None:
    other = _fit(plan=_plan(seed=4), state=_start(seed=4))
    assert other.histories["train_loss"] != _fit().histories["train_loss"]


def test_a_training_that_is_taken_up_again_gives_the_same_bits() -> None:
    whole = _fit(plan=_plan(epochs=5))

    state = _start()
    _fit(plan=_plan(epochs=2), state=state)
    torch.manual_seed(999)  # whatever happened in between
    saved = copy.deepcopy((state.model.state_dict(), state.optimizer.state_dict()))
    again = _start(seed=1)
    again.model.load_state_dict(saved[0])
    again.optimizer.load_state_dict(saved[1])
    again.epoch, again.histories, again.best = state.epoch, state.histories, state.best
    resumed = _fit(plan=_plan(epochs=5), state=again)

    assert resumed.histories == whole.histories
    assert _same_weights(resumed, whole)


@pytest.mark.parametrize(
    ("metric", "direction", "best_of"),
    [
        ("val_mse", "minimize", np.argmin),
        ("val_mae", "minimize", np.argmin),
        ("val_r2", "maximize", np.argmax),
    ],
)
def test_value_and_weights_are_those_of_the_best_epoch(
    metric: str, direction: str, best_of: Callable[[list[float]], int]
) -> None:
    data, state = _tensors(), _start(learning_rate=0.03)
    plan = _plan(epochs=12, metric=metric, direction=direction)

    result = _fit(data=data, plan=plan, state=state)

    history = result.histories[metric]
    assert result.best.epoch == 1 + int(best_of(history))
    assert result.best.value == history[result.best.epoch - 1] == result.best.metrics[metric]
    assert result.best.epoch < 12, "the case is no good if the last epoch is the best"
    state.model.load_state_dict(result.best.weights)
    with torch_settings("cpu", threads=1):
        outputs = predict(state.model, data, SPLIT.valid, batch_size=4)
    again = ranking_metrics(data.to_standard(outputs), data.standard_targets(SPLIT.valid))
    assert again[metric] == result.best.value


def test_the_caller_may_stop_it_and_finds_the_epochs_in_the_state() -> None:
    def stop(record: EpochRecord) -> None:
        if record.epoch == 3:
            raise KeyboardInterrupt

    state = _start()
    with pytest.raises(KeyboardInterrupt):
        _fit(state=state, on_epoch=stop)
    assert state.epoch == len(state.histories["val_mse"]) == 3
    assert state.best is not None


def test_the_test_split_is_not_touched() -> None:
    spoilt = _samples()
    spoilt.x[SPLIT.test] = np.nan
    spoilt.t[SPLIT.test] = np.nan
    assert _fit(data=_tensors(spoilt)).histories == _fit().histories


def test_large_data_are_not_copied_and_give_the_same_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once = _fit().histories
    monkeypatch.setattr(tensors, "SMALL_BYTES", 0)
    samples = _samples()
    data = _tensors(samples)
    assert _fit(data=data).histories == at_once
    assert np.array_equal(samples.x, _samples().x)


def test_validation_samples_change_no_weights() -> None:
    changed = _samples()
    changed.x[SPLIT.valid] *= 100
    changed.t[SPLIT.valid] += 100
    assert _fit(data=_tensors(changed)).histories["train_loss"] == _fit().histories["train_loss"]


def test_weights_of_the_loss_do_not_scale_the_metric() -> None:
    light, heavy = _fit(plan=_plan(15)), _fit(plan=_plan(15), weights=(10, 10))
    assert heavy.histories["train_loss"][0] > 5 * light.histories["train_loss"][0]
    assert 0.5 < heavy.best.value / light.best.value < 2


def test_the_same_predictions_have_the_same_metric_in_whatever_units_they_were_fitted() -> None:
    rng = np.random.default_rng(1)
    standard, own = _tensors(normalize=True), _tensors(normalize=False)
    own_outputs = _samples().t[SPLIT.valid] + rng.normal(size=(6, 2))
    standard_outputs = standard.target_scaler.standardise(own_outputs)
    truth = standard.standard_targets(SPLIT.valid)

    np.testing.assert_array_equal(own.standard_targets(SPLIT.valid), truth)
    assert ranking_metrics(own.to_standard(own_outputs), truth) == ranking_metrics(
        standard.to_standard(standard_outputs), truth
    )
    np.testing.assert_allclose(standard.to_own(standard_outputs), own.to_own(own_outputs))


def test_units_of_the_data_do_not_change_the_training() -> None:
    small = _fit(data=_tensors(_samples(unit=1e-3)), plan=_plan(8)).best.value
    large = _fit(data=_tensors(_samples(unit=1e3)), plan=_plan(8)).best.value
    assert small == pytest.approx(large, rel=0.05)


def test_switching_normalisation_leaves_the_metric_on_its_scale() -> None:
    plan = _plan(15)
    own = _fit(data=_tensors(normalize=False), plan=plan, state=_start(learning_rate=0.01))
    standard = _fit(plan=plan, state=_start(learning_rate=0.01))
    # The loss in own units is a hundred times as large, the metric is not.
    assert own.histories["train_loss"][0] > 50 * standard.histories["train_loss"][0]
    assert own.best.value < 5


def test_numbers_that_are_not_finite_end_it_and_name_the_epoch() -> None:
    state = _start(learning_rate=1e30, optimizer="sgd")
    with pytest.raises(DivergedError, match=r"val_mse is (nan|inf) in epoch 1: .*diverged"):
        _fit(state=state)
    assert state.epoch == 1


def test_an_exploding_training_ends_and_leaves_the_epoch_in_the_histories() -> None:
    state = _start(learning_rate=1e3)
    with pytest.raises(DivergedError, match=r"in epoch \d+, more than 100 times"):
        _fit(state=state, plan=_plan(explosion=100.0))
    assert state.histories["val_mse"][-1] > 100


@pytest.mark.parametrize("normalize", [True, False])
def test_neither_units_nor_weights_of_the_loss_look_like_an_explosion(normalize: bool) -> None:
    data = _tensors(_samples(unit=1e4), normalize=normalize)
    plan = _plan(explosion=100.0, epochs=2)
    losses = _fit(data=data, plan=plan, weights=(1e6, 1e6)).histories["train_loss"]
    assert min(losses) > 1e4


def test_an_r2_that_does_not_exist_is_explained() -> None:
    samples = _samples()
    samples.t[SPLIT.valid] = 2
    with pytest.raises(ObjectiveError, match="constant in the validation split"):
        _fit(data=_tensors(samples), plan=_plan(metric="val_r2", direction="maximize"))
    assert math.isnan(_fit(data=_tensors(samples)).histories["val_r2"][0])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_every_optimiser_trains(optimizer: str) -> None:
    state = _start(optimizer=optimizer)
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    _fit(state=state, plan=_plan(1))
    assert any(not torch.equal(before[name], v) for name, v in state.model.state_dict().items())


@pytest.mark.parametrize("batch_size", [1, 3, 9, 27, 28])
def test_any_batch_size_gets_through_batch_normalisation(batch_size: int) -> None:
    # 28 samples: 9 and 27 leave one over at the end.
    assert _fit(plan=_plan(1, batch_size=batch_size)).epochs == 1


def _sizes(n: int, batch_size: int) -> list[int]:
    batches = epoch_batches(torch.arange(n), batch_size, seed=1, epoch=1)
    return [len(batch) for batch in batches]


def test_a_single_sample_left_over_joins_the_batch_before() -> None:
    assert _sizes(9, 4) == [4, 5]
    assert _sizes(10, 4) == [4, 4, 2]
    assert _sizes(3, 1) == [1, 1, 1]
    assert _sizes(1, 4) == [1]


def test_every_epoch_takes_each_sample_once_in_an_order_of_its_own() -> None:
    rows = torch.arange(5, 30)

    def order(epoch: int) -> list[int]:
        return [int(i) for i in torch.cat(epoch_batches(rows, 4, seed=1, epoch=epoch))]

    assert sorted(order(1)) == rows.tolist()
    assert order(1) == order(1)
    assert order(1) != order(2)


def test_evaluation_in_pieces_is_evaluation_at_once() -> None:
    data, state = _tensors(), _start()
    rows: NDArray[np.int64] = SPLIT.train
    whole = predict(state.model, data, rows, batch_size=28)
    single = np.concatenate([predict(state.model, data, rows[i : i + 1]) for i in range(len(rows))])
    np.testing.assert_allclose(whole, single, rtol=1e-4, atol=1e-5)


def test_inputs_are_standardised_with_training_statistics_and_never_changed_in_place() -> None:
    samples = _samples()
    before = samples.x.copy()
    data = _tensors(samples)
    train = data.inputs(data.index(SPLIT.train)).numpy()
    np.testing.assert_allclose(train.mean(axis=(0, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(train.std(axis=(0, 2)), 1, rtol=1e-4)
    np.testing.assert_array_equal(samples.x, before)


def test_a_2d_network_trains() -> None:
    rng = np.random.default_rng(0)
    samples = Samples(
        rng.normal(size=(40, 2, 6, 8)).astype(np.float32),
        rng.normal(size=(40, 2)).astype(np.float32),
    )
    plan = Architecture(
        kind="cnn2d", channels=2, targets=2, hidden=2, dropout_rate=0.1, use_residual=True
    )
    state = start_training(plan, Training(), "cpu")
    assert _fit(data=_tensors(samples), state=state, plan=_plan(2)).epochs == 2
