"""`flow_cnn` tried out: a few training steps of one configuration, measured and forgotten."""

from __future__ import annotations

import io
import math
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tunectl.config.schema import Runtime
from tunectl.config.signal_run import TrainingRun
from tunectl.errors import DataError
from tunectl.objectives.base import ModelSize, Rehearsal
from tunectl.objectives.exhaustion import memory_errors
from tunectl.objectives.flow_cnn_setup import make_loss, plan_network, prepare_data
from tunectl.training.convolutions import Convolutions
from tunectl.training.data import Split
from tunectl.training.data_files import open_dataset
from tunectl.training.device import torch_settings
from tunectl.training.loop import TrainingState, predict, start_training, train_step
from tunectl.training.memory import watch_memory
from tunectl.training.models import build_from
from tunectl.training.tensors import SampleTensors, epoch_batches

STEPS = 7
PATIENCE_S = 2.0
"""Steps are timed until there are so many, or until this time is over."""

# As measured on trials of six targets; figures hardly depend on the data.
_FIGURE_BYTES = 220_000
_FIGURE_BYTES_PER_TARGET = 25_000
_BYTES_PER_EPOCH = 800  # of histories, log and database
_TEXT_BYTES = 10_000


def measure_size(run: TrainingRun, project: Path) -> ModelSize:
    """Return parameters and batch size of a configuration; see `Rehearsable.size`."""
    opened = open_dataset(run.dataset, project)
    if opened.x is None or opened.t is None:
        raise DataError(opened.problems)
    *axes, length = opened.x.shape[2:]
    shape = (len(opened.channels), *axes, length // run.dataset.downsample_factor)
    architecture = plan_network(run, (opened.limit, *shape), opened.t.shape[1])
    with torch.device("meta"):  # shapes only: no memory, no random numbers
        model = build_from(architecture)
    return ModelSize(
        n_parameters=sum(parameter.numel() for parameter in model.parameters()),
        batch_size=run.training.batch_size,
        sample_values=math.prod(shape),
        n_samples=opened.limit,
    )


def rehearse(run: TrainingRun, runtime: Runtime, project: Path, device: str) -> Rehearsal:
    """Take a few steps; see `Rehearsable.rehearse`."""
    settings = torch_settings(
        device, deterministic=runtime.deterministic, threads=runtime.threads_per_worker
    )
    with settings, memory_errors(device):
        data, split, architecture = prepare_data(run, project, device)
        convolutions = _convolutions(run, runtime, data)
        with convolutions.in_use():
            # A first step loads libraries, whose memory is not the network's.
            tiny = start_training(replace(architecture, hidden=2), run.training, device)
            _Steps(run, runtime, data, split, tiny).take()
            with watch_memory(device) as memory:
                state = start_training(architecture, run.training, device)
                convolutions.arrange(state.model)
                steps = _Steps(run, runtime, data, split, state)
                loss = steps.take()
                gradients_finite = _are_finite(state)
                step_s = steps.time()
                evaluation_s, outputs = steps.evaluate()
            return Rehearsal(
                input_shape=(len(steps.batch), *data.input_shape),
                output_shape=outputs,
                n_parameters=sum(one.numel() for one in state.model.parameters()),
                gradients_finite=gradients_finite,
                loss=loss,
                data_bytes=data.n_bytes,
                peak_memory_bytes=max(memory.peak_bytes, _known_bytes(state, steps)),
                step_s=step_s,
                steps_per_epoch=steps.per_epoch,
                epoch_s=step_s * steps.per_epoch + evaluation_s,
                disk_bytes=_disk_bytes(run, state, split, outputs[1]),
            )


def measure_rate(
    run: TrainingRun, runtime: Runtime, project: Path, device: str, seconds: float
) -> float:
    """Train for a while; see `Rehearsable.rate`."""
    settings = torch_settings(
        device, deterministic=runtime.deterministic, threads=runtime.threads_per_worker
    )
    with settings, memory_errors(device):
        data, split, architecture = prepare_data(run, project, device)
        convolutions = _convolutions(run, runtime, data)
        with convolutions.in_use():
            state = start_training(architecture, run.training, device)
            convolutions.arrange(state.model)
            steps = _Steps(run, runtime, data, split, state)
            steps.take()  # the first one loads libraries
            return steps.rate(seconds)


def _convolutions(run: TrainingRun, runtime: Runtime, data: SampleTensors) -> Convolutions:
    return Convolutions.choose(
        data.device.type,
        hidden=run.model.hidden,
        batch_size=run.training.batch_size,
        input_shape=data.input_shape,
        precision=runtime.precision,
    )


class _Steps:
    """Training steps on the first batch of the first epoch.

    Args:
        run: The configuration.
        runtime: The precision.
        data: Its data.
        split: Its split.
        state: What is trained.
    """

    def __init__(
        self,
        run: TrainingRun,
        runtime: Runtime,
        data: SampleTensors,
        split: Split,
        state: TrainingState,
    ) -> None:
        training = run.training
        rows = data.index(split.train)
        batches = epoch_batches(rows, training.batch_size, seed=training.seed, epoch=1)
        self.batch = batches[0]
        self.per_epoch = len(batches)
        self._precision = runtime.precision
        self._data, self._split, self._state = data, split, state
        targets = data.own_targets(split.train[:1]).shape[1]
        self._loss = make_loss(training, targets).to(data.device)

    def take(self) -> float:
        """Take one step; return the batch's loss."""
        self._state.model.train()
        # Reading the number waits for the device.
        return float(train_step(self._state, self._data, [self.batch], self._loss, self._precision))

    def time(self) -> float:
        """Return the seconds of a step, the median of several."""
        times_s: list[float] = []
        while len(times_s) < STEPS and sum(times_s) < PATIENCE_S:
            start = time.perf_counter()
            self.take()
            times_s.append(time.perf_counter() - start)
        return statistics.median(times_s)

    def rate(self, seconds: float) -> float:
        """Return the steps per second over a time."""
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            self.take()
            count += 1
        return count / (time.perf_counter() - start)

    def evaluate(self) -> tuple[float, tuple[int, ...]]:
        """Return the seconds of a validation, and the shape of what a batch gives."""
        rows = self.batch.cpu().numpy().astype(np.int64)
        outputs = predict(self._state.model, self._data, rows, precision=self._precision)
        start = time.perf_counter()
        predict(self._state.model, self._data, rows, precision=self._precision)
        per_sample_s = (time.perf_counter() - start) / len(rows)
        return per_sample_s * len(self._split.valid), outputs.shape


def _are_finite(state: TrainingState) -> bool:
    gradients = [parameter.grad for parameter in state.model.parameters()]
    return all(one is not None and bool(torch.isfinite(one).all()) for one in gradients)


def _known_bytes(state: TrainingState, steps: _Steps) -> int:
    """Return the memory of the tensors that are there between steps.

    A process that reuses memory which it had before does not grow, so this is the least.
    """
    tensors = [*state.model.parameters(), *state.model.buffers(), steps.batch]
    tensors += [one.grad for one in state.model.parameters() if one.grad is not None]
    for kept in state.optimizer.state.values():
        tensors += [value for value in kept.values() if isinstance(value, torch.Tensor)]
    return sum(tensor.nbytes for tensor in tensors)


def _disk_bytes(run: TrainingRun, state: TrainingState, split: Split, targets: int) -> int:
    buffer = io.BytesIO()
    torch.save(state.model.state_dict(), buffer)
    predictions = 2 * 4 * len(split.test) * targets  # y_pred and y_true, 32-bit floats
    figures = _FIGURE_BYTES + _FIGURE_BYTES_PER_TARGET * targets
    texts = _TEXT_BYTES + _BYTES_PER_EPOCH * run.training.epochs
    return len(buffer.getvalue()) + predictions + figures + texts
