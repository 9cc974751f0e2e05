"""One trial of `flow_cnn`, from its configuration to what it leaves in its directory.

It joins data, network and loop, and decides what is written when. It knows nothing of Optuna.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tunectl.artifacts import atomic
from tunectl.config.signal_run import TrainingRun
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
from tunectl.objectives.flow_cnn_setup import make_loss, prepare_data
from tunectl.objectives.flow_cnn_summary import evaluation_summary
from tunectl.training.checkpoint import CheckpointClock, restore_latest, save_checkpoint
from tunectl.training.convolutions import Convolutions
from tunectl.training.device import frugal_memory, resolve_device, torch_settings
from tunectl.training.divergence import DIVERGED
from tunectl.training.loop import (
    EpochRecord,
    FitPlan,
    FitResult,
    TrainingState,
    evaluate,
    fit,
    predict,
    start_training,
)
from tunectl.training.metrics import summarise, target_metrics

# An epoch that takes longer is saved on its way as well.
LONG_EPOCH_S = 30.0


def run_trial(context: TrialContext) -> Outcome:
    """Train, evaluate and write; see `FlowCnn.run`."""
    runtime, is_halved = context.config.runtime, context.config.batch_parts > 1
    device = resolve_device(context.device)
    settings = torch_settings(
        device, deterministic=runtime.deterministic, threads=runtime.threads_per_worker
    )
    memory = frugal_memory() if is_halved else nullcontext()
    with settings, memory, memory_errors(device):
        return _Trial(context, device).run()


class _Trial:
    """The parts of a running trial.

    Args:
        context: What the trial is given.
        device: The device to run on.
    """

    def __init__(self, context: TrialContext, device: str) -> None:
        self.context = context
        self.directory = context.directory
        self.config = context.config
        run = self.signal_run = self.config.run.as_kind(TrainingRun)
        self.data, self.split, self.architecture = prepare_data(run, context.project, device)
        self.state: TrainingState = start_training(self.architecture, run.training, device)
        self.clock = CheckpointClock()
        self.plan = self._plan()
        self.convolutions = Convolutions.choose(
            self.data.device.type,
            hidden=run.model.hidden,
            batch_size=self.plan.part_size,
            input_shape=self.data.input_shape,
            precision=self.plan.precision,
        )
        self.convolutions.arrange(self.state.model)

    def run(self) -> Outcome:
        """Train, then evaluate the best epoch's weights."""
        sizes = tuple(len(part) for part in (self.split.train, self.split.valid, self.split.test))
        self.context.log.info(
            "%s on %s, inputs %s; %d samples for training, %d for validation, %d for test",
            self.architecture.kind,
            self.data.device,
            self.data.input_shape,
            *sizes,
        )
        with self.convolutions.in_use():
            try:
                return self._evaluate(self._fit())
            except (TrialPruned, TrialTimedOut, ObjectiveError):
                self._leave_histories()
                raise

    def _fit(self) -> FitResult:
        """Train from the last checkpoint, if there is one; leave one when told to stop."""
        folder, check_stop = self.directory.checkpoints_dir, self.context.check_stop
        restored = restore_latest(folder, self.state)
        if restored is not None:
            self.context.log.info("goes on from %s", restored.name)
        loss = make_loss(self.signal_run.training, self.architecture.targets)
        data, split, plan = self.data, self.split, self.plan
        check_stop()  # nothing was done since that checkpoint
        try:
            fitted = fit(self.state, data, split, plan, loss, self._on_epoch, self._on_batch)
            check_stop()  # what is left to do may take a while, and can be done later
        except TrialInterrupted:
            self.context.settle()
            saved = save_checkpoint(folder, self.state)
            self.context.log.info("interrupted; can go on from %s", saved.name)
            raise
        return fitted

    def _plan(self) -> FitPlan:
        training, study = self.signal_run.training, self.config.study
        return FitPlan(
            epochs=training.epochs,
            batch_size=training.batch_size,
            seed=training.seed,
            metric=study.metric,
            direction=study.direction,
            precision=self.config.runtime.precision,
            batch_parts=self.config.batch_parts,
            explosion=self.config.failures.explosion,
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
        self.context.report(record.epoch, _finite(record.metrics))
        if record.epoch < self.signal_run.training.epochs and self.clock.is_due():
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
        self._draw_learning_curves(best.epoch if best else None)
        atomic.write_json(self.directory.metrics_file, document)

    def _evaluate(self, fitted: FitResult) -> Outcome:
        """Use the test split, for the only time, and write everything; metrics.json comes last."""
        names = self.signal_run.dataset.target_names
        y_pred, y_true = self._predict_test(fitted)
        per_target = target_metrics(y_pred, y_true, names)
        test = {f"test_{name}": value for name, value in summarise(per_target).items()}
        metrics = {**fitted.best.metrics, **test, **self._costs()}
        self._write_model(fitted)
        _write_array(self.directory.predictions_file, y_pred)
        _write_array(self.directory.truth_file, y_true)
        document = {
            "best_epoch": fitted.best.epoch,
            "epochs": fitted.epochs,
            **metrics,
            "histories": fitted.histories,
            "per_target": per_target,
        }
        summary = evaluation_summary(self.config, self.split, document)
        atomic.write_text(self.directory.summary_file, summary)
        self._draw_learning_curves(fitted.best.epoch)
        self._draw_predictions(y_pred, y_true)
        atomic.write_json(self.directory.metrics_file, document)
        r2 = {name: row["r2"] for name, row in per_target.items()}
        self._log_r2(r2)
        return Outcome(
            value=fitted.best.value,
            best_epoch=fitted.best.epoch,
            epochs=fitted.epochs,
            metrics=_finite(metrics),
            attributes=_finite({f"target_{i}_r2": value for i, value in enumerate(r2.values())}),
        )

    def _predict_test(self, fitted: FitResult) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return predictions and truth (N_test, T) of the best epoch, in the targets' own units."""
        self.state.model.load_state_dict(fitted.best.weights)
        # Told to stop here, it goes on from its last checkpoint: this is used again, but only this.
        check_stop = self.context.check_stop
        outputs = evaluate(self.state.model, self.data, self.split.test, self.plan, check_stop)
        y_pred = self.data.to_own(outputs).astype(np.float32)
        if not np.isfinite(y_pred).all():
            raise DivergedError(
                "predictions on the test split are not finite, with the weights of epoch "
                f"{fitted.best.epoch}: {DIVERGED}"
            )
        return y_pred, self.data.own_targets(self.split.test)

    def _costs(self) -> dict[str, float]:
        """Return what the network costs; `inference_time_ms` is that of a single sample."""
        model, one = self.state.model, self.split.test[:1]
        precision = self.plan.precision
        inference_ms = median_time_ms(lambda: predict(model, self.data, one, precision=precision))
        return {
            "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
            "train_time_s": round(self.state.trained_s, 3),
            "inference_time_ms": round(inference_ms, 4),
        }

    def _write_model(self, fitted: FitResult) -> None:
        """Write all that is needed to use the network elsewhere: plan, scaling and weights."""
        dataset = self.signal_run.dataset
        plan = {
            **self.architecture.to_json(),
            "input_shape": list(self.data.input_shape),
            "drop_channels": sorted(set(dataset.drop_channels)),
            "downsample_factor": dataset.downsample_factor,
            "target_names": list(dataset.target_names),
        }
        scaling = {
            "inputs": self.data.input_scaler.to_json(),
            "targets": self.data.target_scaler.to_json(),
            "normalize_targets": self.data.normalize_targets,
        }
        atomic.write_json(self.directory.model_file, plan)
        atomic.write_json(self.directory.scaling_file, scaling)
        # Through memory, so that a full disk shows as such and not as an error of PyTorch's.
        buffer = io.BytesIO()
        torch.save(fitted.best.weights, buffer)
        _write_bytes(self.directory.weights_file, buffer.getvalue())

    def _draw_learning_curves(self, best_epoch: int | None) -> None:
        with self._optional("learning curves"):
            from tunectl.objectives import figures  # Matplotlib, when there is something to draw

            figures.draw_learning_curves(
                self.directory.learning_curves_file,
                self.state.histories,
                metric=self.config.study.metric,
                best_epoch=best_epoch,
            )

    def _draw_predictions(self, y_pred: NDArray[np.float32], y_true: NDArray[np.float32]) -> None:
        with self._optional("evaluation plots"):
            from tunectl.objectives import figures  # Matplotlib, when there is something to draw

            figures.draw_predictions(
                self.directory.plots_dir, y_pred, y_true, self.signal_run.dataset.target_names
            )

    @contextmanager
    def _optional(self, what: str) -> Iterator[None]:
        """Let a figure fail without costing the trial."""
        try:
            yield
        except Exception as error:
            self.context.log.warning("no %s: %s: %s", what, type(error).__name__, error)

    def _log_r2(self, r2: Mapping[str, float | None]) -> None:
        shown = (f"{name} {'–' if value is None else f'{value:.3f}'}" for name, value in r2.items())
        self.context.log.info("R² on the test split: %s", ", ".join(shown))


def _finite(values: Mapping[str, float | None]) -> dict[str, float]:
    """Return the values that are numbers: an R² may not exist, and no database takes NaN."""
    return {
        name: value for name, value in values.items() if value is not None and math.isfinite(value)
    }


def _write_array(path: Path, values: NDArray[np.float32]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    _write_bytes(path, buffer.getvalue())


def _write_bytes(path: Path, content: bytes) -> None:
    with atomic.replacing(path) as beside:
        beside.write_bytes(content)
