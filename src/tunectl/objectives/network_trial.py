"""One trial of an objective that trains a network: it trains, and leaves what it learnt.

It joins data, network and loop, and decides what is written when. What becomes of the best epoch's
weights is for the kinds of trial that are made from it. It knows nothing of Optuna.
"""

from __future__ import annotations

import io
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tunectl.artifacts import atomic
from tunectl.errors import DivergedError, ObjectiveError
from tunectl.objectives.base import (
    Outcome,
    TrialContext,
    TrialInterrupted,
    TrialPruned,
    TrialTimedOut,
)
from tunectl.objectives.costs import median_time_ms
from tunectl.objectives.exhaustion import memory_errors
from tunectl.objectives.network_setup import NetworkSetup
from tunectl.objectives.torch_runtime import device_text, runtime_settings, take_threads
from tunectl.training.checkpoint import CheckpointClock, restore_latest, save_checkpoint
from tunectl.training.convolutions import Convolutions
from tunectl.training.device import frugal_memory, resolve_device
from tunectl.training.divergence import DIVERGED
from tunectl.training.loop import evaluate, fit, predict, start_training
from tunectl.training.measures import Measure
from tunectl.training.state import EpochRecord, FitPlan, FitResult, TrainingState
from tunectl.training.stopping import StopRules
from tunectl.training.tensors import epoch_batches

# An epoch that takes longer is saved on its way as well.
LONG_EPOCH_S = 30.0


def run_trial(setup: NetworkSetup, context: TrialContext) -> Outcome:
    """Train, evaluate and write; see `NetworkObjective.run`."""
    runtime, is_halved = context.config.runtime, context.config.batch_parts > 1
    device = resolve_device(context.device)
    memory = frugal_memory() if is_halved else nullcontext()
    with runtime_settings(runtime, device), memory, memory_errors(device):
        return setup.trial(context, device).run()


class NetworkTrial(ABC):
    """The parts of a running trial.

    Args:
        setup: What its objective knows of data and network.
        context: What the trial is given.
        device: The device to run on.
    """

    def __init__(self, setup: NetworkSetup, context: TrialContext, device: str) -> None:
        self.context = context
        self.directory = context.directory
        self.config = context.config
        ready = self.ready = setup.prepare(self.config.run, context.project, device)
        self.split = ready.split
        self.plan = self._plan()
        batches = epoch_batches(
            ready.data.index(ready.split.train), self.plan.batch_size, seed=0, epoch=1
        )
        self.state: TrainingState = start_training(
            ready.plan, ready.training, device, steps_per_epoch=len(batches)
        )
        self.clock = CheckpointClock()
        self.convolutions = Convolutions.choose(
            ready.data.device.type,
            hidden=ready.plan.first_width,
            batch_size=self.plan.part_size,
            input_shape=ready.data.input_shape,
            precision=self.plan.precision,
        )
        self.convolutions.arrange(self.state.model)
        take_threads(self.config.runtime, ready, self.plan.part_size)

    @abstractmethod
    def measure(self) -> Measure:
        """Return how the validation split is measured."""

    @abstractmethod
    def evaluate(self, fitted: FitResult) -> Outcome:
        """Use the test split, for the only time, and write everything; metrics.json comes last."""

    def run(self) -> Outcome:
        """Train, then evaluate the best epoch's weights."""
        sizes = tuple(len(part) for part in (self.split.train, self.split.valid, self.split.test))
        data = self.ready.data
        self.context.log.info(
            "%s on %s, inputs %s; %d samples for training, %d for validation, %d for test",
            self.ready.plan.kind,
            device_text(data.device),
            data.input_shape,
            *sizes,
        )
        with self.convolutions.in_use():
            try:
                return self.evaluate(self._fit())
            except (TrialPruned, TrialTimedOut, ObjectiveError):
                self._leave_histories()
                raise

    def _fit(self) -> FitResult:
        """Train from the last checkpoint, if there is one; leave one when told to stop."""
        folder, check_stop = self.directory.checkpoints_dir, self.context.check_stop
        restored = restore_latest(folder, self.state)
        if restored is not None:
            self.context.log.info("goes on from %s", restored.name)
        check_stop()  # nothing was done since that checkpoint
        try:
            fitted = fit(
                self.state,
                self.ready.data,
                self.split,
                self.plan,
                self.ready.loss,
                self._on_epoch,
                self._on_batch,
                self.measure(),
            )
            self.context.trained()
            check_stop()  # what is left to do may take a while, and can be done later
        except TrialInterrupted:
            self.context.settle()
            saved = save_checkpoint(folder, self.state)
            self.context.log.info("interrupted; can go on from %s", saved.name)
            raise
        if fitted.ended_by is not None:
            reason = fitted.ended_by.replace("_", " ")
            self.context.log.info("ended after epoch %d by %s", fitted.epochs, reason)
        if fitted.overfits_from is not None:
            self.context.log.info(
                "overfits from epoch %d on: the training loss falls, the validation error rises",
                fitted.overfits_from,
            )
        return fitted

    def _plan(self) -> FitPlan:
        training, study = self.ready.training, self.config.study
        return FitPlan(
            epochs=training.epochs,
            batch_size=training.batch_size,
            seed=training.seed,
            metric=study.metric,
            direction=study.direction,
            precision=self.config.runtime.precision,
            batch_parts=self.config.batch_parts,
            clip_norm=training.clip_norm,
            stop=StopRules(
                patience=training.early_stopping,
                min_delta=training.early_stopping_delta,
                on_overfitting=training.overfitting == "stop",
            ),
        )

    def _on_batch(self) -> None:
        self.context.check_stop()
        if self.clock.is_due(least_s=LONG_EPOCH_S):
            self._save()

    def _on_epoch(self, record: EpochRecord) -> None:
        metric = self.config.study.metric
        value = record.metrics[metric]
        self.context.log.debug(
            "epoch %d: train_loss %.6g, %s %.6g", record.epoch, record.train_loss, metric, value
        )
        self.context.report(record.epoch, finite(record.metrics))
        if record.epoch < self.plan.epochs and self.clock.is_due():
            self._save()

    def _save(self) -> None:
        self.context.settle()
        self.clock.save(self.directory.checkpoints_dir, self.state)

    def _leave_histories(self) -> None:
        """Write what a trial reached that does not come to its end; the test split stays unused."""
        best = self.state.best
        document: dict[str, Any] = {
            "best_epoch": best.epoch if best else None,
            "epochs": self.state.epoch,
            **(best.metrics if best else {}),
            "histories": self.state.histories,
        }
        self.draw_learning_curves(best.epoch if best else None)
        atomic.write_json(self.directory.metrics_file, document)

    def predict_test(self, fitted: FitResult) -> NDArray[np.float32]:
        """Return the outputs (N_test, T) of the network with the best epoch's weights."""
        self.state.model.load_state_dict(fitted.best.weights)
        # Told to stop here, it goes on from its last checkpoint: this is used again, but only this.
        check_stop = self.context.check_stop
        data, rows = self.ready.data, self.split.test
        return evaluate(self.state.model, data, rows, self.plan, check_stop)

    def refuse_non_finite(self, predictions: NDArray[Any], fitted: FitResult) -> None:
        """Make sure that predictions of the test split are numbers.

        Raises:
            DivergedError: one is not.
        """
        if not np.isfinite(predictions).all():
            raise DivergedError(
                "predictions on the test split are not finite, with the weights of epoch "
                f"{fitted.best.epoch}: {DIVERGED}"
            )

    def costs(self) -> dict[str, float]:
        """Return what the network costs; `inference_time_ms` is that of a single sample."""
        model, data, one = self.state.model, self.ready.data, self.split.test[:1]
        precision = self.plan.precision
        # A network's own time, whatever the batches were that it was trained with.
        take_threads(self.config.runtime, self.ready, batch_size=1)
        inference_ms = median_time_ms(lambda: predict(model, data, one, precision=precision))
        return {
            "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
            "train_time_s": round(self.state.trained_s, 3),
            "inference_time_ms": round(inference_ms, 4),
        }

    def write_model(
        self, fitted: FitResult, plan: Mapping[str, Any], scaling: Mapping[str, Any]
    ) -> None:
        """Write all that is needed to use the network elsewhere: plan, scaling and weights."""
        atomic.write_json(self.directory.model_file, {**self.ready.plan.to_json(), **plan})
        atomic.write_json(self.directory.scaling_file, scaling)
        # Through memory, so that a full disk shows as such and not as an error of PyTorch's.
        buffer = io.BytesIO()
        torch.save(fitted.best.weights, buffer)
        _write_bytes(self.directory.weights_file, buffer.getvalue())

    def document(self, fitted: FitResult, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `metrics.json` holds of any trial that came to its end."""
        notes = {"ended_by": fitted.ended_by, "overfits_from_epoch": fitted.overfits_from}
        return {
            "best_epoch": fitted.best.epoch,
            "epochs": fitted.epochs,
            **metrics,
            **{name: value for name, value in notes.items() if value is not None},
            "histories": fitted.histories,
        }

    def draw_learning_curves(self, best_epoch: int | None) -> None:
        """Draw the training loss and the study's metric by epoch."""
        with self.optional("learning curves"):
            from tunectl.objectives import figures  # Matplotlib, when there is something to draw

            figures.draw_learning_curves(
                self.directory.learning_curves_file,
                self.state.histories,
                metric=self.config.study.metric,
                best_epoch=best_epoch,
            )

    @contextmanager
    def optional(self, what: str) -> Iterator[None]:
        """Let a figure fail without costing the trial."""
        try:
            yield
        except Exception as error:
            self.context.log.warning("no %s: %s: %s", what, type(error).__name__, error)


def finite(values: Mapping[str, float | None]) -> dict[str, float]:
    """Return the values that are numbers: an R² may not exist, and no database takes NaN."""
    return {
        name: value for name, value in values.items() if value is not None and math.isfinite(value)
    }


def write_array(path: Path, values: NDArray[Any]) -> None:
    """Write an array as .npy, whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    _write_bytes(path, buffer.getvalue())


def _write_bytes(path: Path, content: bytes) -> None:
    with atomic.replacing(path) as beside:
        beside.write_bytes(content)
