"""The training loop: epochs over samples in memory, and the best epoch's weights kept.

It knows neither studies nor files. Whoever calls it is told of every epoch and may stop it by
raising. All that changes while it runs is in `TrainingState`, and each epoch's randomness comes
from (seed, epoch) alone: a state that is put back goes on as if nothing had happened.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from tunectl.config.network_run import NetworkTraining
from tunectl.errors import ObjectiveError
from tunectl.training.architecture import NetworkPlan
from tunectl.training.data import Indices, Split
from tunectl.training.device import (
    derive_seed,
    restore_random,
    seed_everything,
)
from tunectl.training.divergence import check_gradients
from tunectl.training.measures import Measure, RegressionMeasure
from tunectl.training.models import build_from
from tunectl.training.optimizers import SGD, Adam, AdamW
from tunectl.training.schedules import make_schedule
from tunectl.training.state import (
    BestEpoch,
    EpochPosition,
    EpochRecord,
    FitPlan,
    FitResult,
    Precision,
    TrainingState,
)
from tunectl.training.stopping import Ending, ending_of, overfits_from
from tunectl.training.tensors import SampleTensors, TrainingData, epoch_batches

SGD_MOMENTUM = 0.9
EVALUATION_VALUES = 2**20
EVALUATION_SAMPLES = 256
_DROPOUT = 2


def start_training(
    architecture: NetworkPlan,
    training: NetworkTraining,
    device: str,
    *,
    steps_per_epoch: int | None = None,
) -> TrainingState:
    """Build a network with weights drawn from the training's seed, and its optimiser.

    Args:
        architecture: The network's plan.
        training: Seed, optimiser, learning rate with its schedule, and weight decay.
        device: Where the network is to be.
        steps_per_epoch: Batches of an epoch; None leaves the learning rate as it is.
    """
    seed_everything(training.seed)
    # Drawn on the CPU and then moved, so that every device starts from the same weights.
    model = build_from(architecture).to(device)
    optimizer = make_optimizer(model, training)
    schedule = make_schedule(optimizer, training, steps_per_epoch) if steps_per_epoch else None
    return TrainingState(model=model, optimizer=optimizer, schedule=schedule)


def make_optimizer(model: nn.Module, training: NetworkTraining) -> Optimizer:
    """Make the optimiser, in its fused form where PyTorch has one for the device.

    `adam` and `sgd` (momentum 0.9) add the weight decay to the gradient as an L2 penalty; `adamw`
    decouples it from the gradient.
    """
    for fused in (True, None):
        try:
            return _optimizer(model, training, fused)
        except RuntimeError:
            if fused is None:
                raise
    raise AssertionError("the last attempt returns or raises")


def fit(
    state: TrainingState,
    data: TrainingData,
    split: Split,
    plan: FitPlan,
    loss: nn.Module,
    on_epoch: Callable[[EpochRecord], None],
    on_batch: Callable[[], None] = lambda: None,
    measure: Measure | None = None,
) -> FitResult:
    """Train from where the state is to the plan's last epoch.

    Args:
        state: A new one, or one to go on from; it is changed in place, also when this raises.
        data: The samples. Those of the test split are not touched.
        split: Which samples are for training and for validation.
        plan: How the training goes.
        loss: What is minimised, of predictions and targets (B, T): a mean over the samples.
        on_epoch: Told of every epoch when it is in the state; may raise to stop the training.
        on_batch: Called after every batch, and between those of the validation; may raise too. The
            state can then be gone on from.
        measure: Of the validation split; errors on standardised targets where nothing is said.

    Raises:
        DivergedError: loss or metrics are not finite numbers, or have exploded.
        ObjectiveError: the metric does not exist on these data.
    """
    loss = loss.to(data.device)
    train = data.index(split.train)
    judge = measure or _regression(data, split, plan)
    start = time.perf_counter() - state.trained_s

    def after_batch() -> None:
        state.trained_s = time.perf_counter() - start
        on_batch()

    while state.epoch < plan.epochs and _ending(state, plan, judge) is None:
        epoch = state.epoch + 1
        train_loss = _train_epoch(state, data, train, plan, loss, epoch, after_batch)
        outputs = evaluate(state.model, data, split.valid, plan, after_batch)
        norm = _largest_norm(state.position, epoch)
        state.position = EpochPosition()
        metrics = judge.metrics(outputs)
        record = EpochRecord(epoch=epoch, train_loss=train_loss, metrics=metrics)
        _take_down(state, record, norm)
        judge.check(epoch, {"train_loss": train_loss, **metrics})
        if norm is None:
            _check_last_gradients(state.model, epoch)
        _keep_if_best(state, record, plan)
        if state.schedule is not None:
            state.schedule.after_epoch(epoch, metrics[judge.error])
        on_epoch(record)
    if state.best is None:
        raise ObjectiveError("no epoch was trained")
    return FitResult(
        best=state.best,
        epochs=state.epoch,
        histories=state.histories,
        ended_by=_ending(state, plan, judge) if state.epoch < plan.epochs else None,
        overfits_from=overfits_from(state.histories, judge.error),
    )


def train_step(
    state: TrainingState,
    data: TrainingData,
    parts: Sequence[Tensor],
    loss: nn.Module,
    precision: Precision,
    clip_norm: float | None = None,
) -> Tensor:
    """Take one step of the optimiser; the gradients stay until the next one.

    The gradients of the parts add up to that of the whole batch, as far as the network treats
    each sample by itself: batch normalisation sees a part at a time.

    Args:
        state: Its network is in training mode; changed in place.
        data: The samples.
        parts: Those of the batch, in one part or in several to save memory.
        loss: What is minimised, on the data's device: a mean over the samples.
        precision: As in `FitPlan`.
        clip_norm: As in `FitPlan`; with one, the norm of the gradients is noted in the state.

    Returns:
        The batch's loss, a number that is still on the device.
    """
    state.optimizer.zero_grad(set_to_none=True)
    samples = sum(map(len, parts))
    losses = []
    for index in parts:
        with _autocast(data.device, precision):
            outputs = state.model(data.training_inputs(index))
        part_loss = loss(outputs.float(), data.targets(index))
        if len(parts) > 1:
            part_loss = part_loss * (len(index) / samples)
        part_loss.backward()
        losses.append(part_loss.detach())
    if clip_norm is not None:
        norm = nn.utils.clip_grad_norm_(state.model.parameters(), clip_norm)
        state.position.norms.append(norm)
    state.optimizer.step()
    return cast(Tensor, losses[0] if len(losses) == 1 else torch.stack(losses).sum())


def evaluate(
    model: nn.Module,
    data: TrainingData,
    rows: Indices,
    plan: FitPlan,
    on_batch: Callable[[], None] = lambda: None,
) -> NDArray[np.float32]:
    """Return the network's outputs (B, T) as `predict` does, with no more memory than training."""
    return predict(
        model,
        data,
        rows,
        batch_size=plan.part_size,
        precision=plan.precision,
        sparing=plan.batch_parts > 1,
        on_batch=on_batch,
    )


def predict(
    model: nn.Module,
    data: TrainingData,
    rows: Indices,
    *,
    batch_size: int = 1,
    precision: Precision = "fp32",
    sparing: bool = False,
    on_batch: Callable[[], None] = lambda: None,
) -> NDArray[np.float32]:
    """Return the network's outputs (B, T), in the units that it was fitted to.

    Args:
        model: The network; it is left in evaluation mode.
        data: The samples.
        rows: Which of them.
        batch_size: What surely fits into memory; more is taken for samples that are small.
        precision: As in training.
        sparing: Take no more than `batch_size` at a time, however small they are.
        on_batch: Called between two batches; what it raises ends the prediction.
    """
    small = EVALUATION_VALUES // max(1, math.prod(data.input_shape))
    size = batch_size if sparing else max(batch_size, min(EVALUATION_SAMPLES, small))
    model.eval()
    with torch.inference_mode():
        parts: list[Tensor] = []
        for index in torch.split(data.index(rows), size):
            if parts:
                on_batch()
            with _autocast(data.device, precision):
                parts.append(model(data.inputs(index)))
        return cast("NDArray[np.float32]", torch.cat(parts).float().cpu().numpy())


def _train_epoch(
    state: TrainingState,
    data: TrainingData,
    train: Tensor,
    plan: FitPlan,
    loss: nn.Module,
    epoch: int,
    after_batch: Callable[[], None],
) -> float:
    """Train an epoch, or what is left of it, and return its mean loss per sample."""
    position = state.position
    if position.random is not None:
        restore_random(position.random, data.device)
        position.random = None
    elif position.batch == 0:
        torch.manual_seed(derive_seed(plan.seed, epoch, _DROPOUT))
    state.model.train()
    batches = epoch_batches(train, plan.batch_size, seed=plan.seed, epoch=epoch)
    for index in itertools.islice(batches, position.batch, None):
        # Reading a number waits for the device, so losses stay there until the epoch is over.
        parts = plan.split(index)
        position.losses.append(train_step(state, data, parts, loss, plan.precision, plan.clip_norm))
        position.sizes.append(len(index))
        position.batch += 1
        if state.schedule is not None:
            state.schedule.after_batch()
        after_batch()
    # Apple's GPUs have no double precision: first to the CPU, then widened.
    per_batch = torch.stack(position.losses).cpu().double()
    sizes = torch.tensor(position.sizes, dtype=torch.float64)
    return float(per_batch @ sizes) / float(sizes.sum())


def _regression(data: TrainingData, split: Split, plan: FitPlan) -> Measure:
    samples = cast(SampleTensors, data)
    return RegressionMeasure(samples, split.valid, metric=plan.metric, explosion=plan.explosion)


def _ending(state: TrainingState, plan: FitPlan, judge: Measure) -> Ending | None:
    return ending_of(
        plan.stop,
        state.histories,
        metric=plan.metric,
        direction=plan.direction,
        error=judge.error,
    )


def _largest_norm(position: EpochPosition, epoch: int) -> float | None:
    """Return the largest norm of an epoch's gradients, None where they are not clipped."""
    if not position.norms:
        return None
    norm = float(torch.stack(position.norms).max())
    check_gradients(epoch, norm)
    return norm


def _check_last_gradients(model: nn.Module, epoch: int) -> None:
    """Make sure that an epoch's last step was a good one, where no norms are taken on the way."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    check_gradients(epoch, float(nn.utils.get_total_norm(gradients)))


def _take_down(state: TrainingState, record: EpochRecord, norm: float | None) -> None:
    state.epoch = record.epoch
    rate = state.optimizer.param_groups[0]["lr"]
    learning_rate = float(rate) if state.schedule is None else state.schedule.last_rate
    values = {"train_loss": record.train_loss, **record.metrics, "learning_rate": learning_rate}
    if norm is not None:
        values["gradient_norm"] = norm
    for name, value in values.items():
        state.histories.setdefault(name, []).append(value)


def _keep_if_best(state: TrainingState, record: EpochRecord, plan: FitPlan) -> None:
    value = record.metrics[plan.metric]
    if state.best is not None:
        gain = (
            value - state.best.value if plan.direction == "maximize" else state.best.value - value
        )
        if not gain > 0:
            return
    weights = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in state.model.state_dict().items()
    }
    state.best = BestEpoch(epoch=record.epoch, value=value, metrics=record.metrics, weights=weights)


def _autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def _optimizer(model: nn.Module, training: NetworkTraining, fused: bool | None) -> Optimizer:
    parameters = model.parameters()
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "adam":
        return Adam(parameters, lr=rate, weight_decay=decay, fused=fused)
    if training.optimizer == "adamw":
        return AdamW(parameters, lr=rate, weight_decay=decay, fused=fused)
    return SGD(parameters, lr=rate, momentum=SGD_MOMENTUM, weight_decay=decay, fused=fused)
