"""A network tried out: a few training steps of one configuration, measured and forgotten."""

from __future__ import annotations

import io
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from tunectl.config.run import Run
from tunectl.config.schema import Runtime
from tunectl.objectives.base import Rehearsal
from tunectl.objectives.exhaustion import memory_errors
from tunectl.objectives.network_setup import NetworkSetup, Prepared
from tunectl.objectives.torch_runtime import runtime_settings, take_threads
from tunectl.training.convolutions import Convolutions
from tunectl.training.loop import predict, start_training, train_step
from tunectl.training.memory import watch_memory
from tunectl.training.state import TrainingState
from tunectl.training.tensors import epoch_batches

STEPS = 7
PATIENCE_S = 2.0
"""Steps are timed until there are so many, or until this time is over."""

# As measured on trials of six targets; figures hardly depend on the data.
_FIGURE_BYTES = 220_000
_FIGURE_BYTES_PER_TARGET = 25_000
_BYTES_PER_EPOCH = 800  # of histories, log and database
_TEXT_BYTES = 10_000


def rehearse(
    setup: NetworkSetup, run: Run, runtime: Runtime, project: Path, device: str
) -> Rehearsal:
    """Take a few steps; see `Rehearsable.rehearse`."""
    with runtime_settings(runtime, device), memory_errors(device):
        ready = setup.prepare(run, project, device)
        convolutions = _convolutions(ready, runtime)
        take_threads(runtime, ready, ready.training.batch_size)
        with convolutions.in_use():
            # A first step loads libraries, whose memory is not the network's.
            tiny = start_training(ready.plan.smallest(), ready.training, device)
            _Steps(ready, runtime, tiny).take()
            with watch_memory(device) as memory:
                state = start_training(ready.plan, ready.training, device)
                convolutions.arrange(state.model)
                steps = _Steps(ready, runtime, state)
                loss = steps.take()
                gradients_finite = _are_finite(state)
                step_s = steps.time()
                evaluation_s, outputs = steps.evaluate()
            return Rehearsal(
                input_shape=(len(steps.batch), *ready.data.input_shape),
                output_shape=outputs,
                n_parameters=sum(one.numel() for one in state.model.parameters()),
                gradients_finite=gradients_finite,
                loss=loss,
                data_bytes=ready.data.n_bytes,
                peak_memory_bytes=max(memory.peak_bytes, _known_bytes(state, steps)),
                step_s=step_s,
                steps_per_epoch=steps.per_epoch,
                epoch_s=step_s * steps.per_epoch + evaluation_s,
                disk_bytes=_disk_bytes(ready, state),
            )


def measure_rate(
    setup: NetworkSetup, run: Run, runtime: Runtime, project: Path, device: str, seconds: float
) -> float:
    """Train for a while; see `Rehearsable.rate`."""
    with runtime_settings(runtime, device), memory_errors(device):
        ready = setup.prepare(run, project, device)
        convolutions = _convolutions(ready, runtime)
        take_threads(runtime, ready, ready.training.batch_size)
        with convolutions.in_use():
            state = start_training(ready.plan, ready.training, device)
            convolutions.arrange(state.model)
            steps = _Steps(ready, runtime, state)
            steps.take()  # the first one loads libraries
            return steps.rate(seconds)


def _convolutions(ready: Prepared, runtime: Runtime) -> Convolutions:
    return Convolutions.choose(
        ready.data.device.type,
        hidden=ready.plan.first_width,
        batch_size=ready.training.batch_size,
        input_shape=ready.data.input_shape,
        precision=runtime.precision,
    )


class _Steps:
    """Training steps on the first batch of the first epoch.

    Args:
        ready: What the training starts from.
        runtime: The precision.
        state: What is trained.
    """

    def __init__(self, ready: Prepared, runtime: Runtime, state: TrainingState) -> None:
        training = ready.training
        rows = ready.data.index(ready.split.train)
        batches = epoch_batches(rows, training.batch_size, seed=training.seed, epoch=1)
        self.batch = batches[0]
        self.per_epoch = len(batches)
        self._precision = runtime.precision
        self._data, self._split, self._state = ready.data, ready.split, state
        self._loss = ready.loss.to(ready.data.device)

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


def _disk_bytes(ready: Prepared, state: TrainingState) -> int:
    buffer = io.BytesIO()
    torch.save(state.model.state_dict(), buffer)
    # y_pred and y_true, 32-bit floats
    predictions = 2 * 4 * len(ready.split.test) * ready.outputs
    figures = _FIGURE_BYTES + _FIGURE_BYTES_PER_TARGET * ready.outputs
    texts = _TEXT_BYTES + _BYTES_PER_EPOCH * ready.training.epochs
    return len(buffer.getvalue()) + predictions + figures + texts
