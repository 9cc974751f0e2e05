"""One trial of an objective that fits a network to targets: its evaluation, and what it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray

from tunectl.artifacts import atomic
from tunectl.config.signal_run import RegressionRun
from tunectl.objectives.base import Outcome, TrialContext
from tunectl.objectives.network_setup import NetworkSetup
from tunectl.objectives.network_trial import NetworkTrial, finite, write_array
from tunectl.objectives.signal_summary import evaluation_summary
from tunectl.training.measures import RegressionMeasure
from tunectl.training.metrics import summarise, target_metrics
from tunectl.training.state import FitResult
from tunectl.training.tensors import SampleTensors


class RegressionTrial(NetworkTrial):
    """A trial whose network is measured by its errors."""

    def __init__(self, setup: NetworkSetup, context: TrialContext, device: str) -> None:
        super().__init__(setup, context, device)
        self.regression_run = self.config.run.as_kind(RegressionRun)
        self.data = cast(SampleTensors, self.ready.data)
        self.names = self.regression_run.dataset.names_of(self.ready.outputs)

    def measure(self) -> RegressionMeasure:
        """Return errors on standardised targets."""
        return RegressionMeasure(
            self.data,
            self.split.valid,
            metric=self.plan.metric,
            explosion=self.config.failures.explosion,
        )

    def evaluate(self, fitted: FitResult) -> Outcome:
        """Use the test split, for the only time, and write everything; metrics.json comes last."""
        y_pred, y_true = self._predict_targets(fitted)
        per_target = target_metrics(y_pred, y_true, self.names)
        test = {f"test_{name}": value for name, value in summarise(per_target).items()}
        metrics = {**fitted.best.metrics, **test, **self.costs()}
        self._write_network(fitted)
        write_array(self.directory.predictions_file, y_pred)
        write_array(self.directory.truth_file, y_true)
        document = {**self.document(fitted, metrics), "per_target": per_target}
        summary = evaluation_summary(self.config, self.split, document)
        atomic.write_text(self.directory.summary_file, summary)
        self.draw_learning_curves(fitted.best.epoch)
        self._draw_predictions(y_pred, y_true)
        atomic.write_json(self.directory.metrics_file, document)
        r2 = {name: row["r2"] for name, row in per_target.items()}
        self._log_r2(r2)
        return Outcome(
            value=fitted.best.value,
            best_epoch=fitted.best.epoch,
            epochs=fitted.epochs,
            metrics=finite(metrics),
            attributes=finite({f"target_{i}_r2": value for i, value in enumerate(r2.values())}),
        )

    def _predict_targets(
        self, fitted: FitResult
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return predictions and truth (N_test, T) of the best epoch, in the targets' own units."""
        y_pred = self.data.to_own(self.predict_test(fitted)).astype(np.float32)
        self.refuse_non_finite(y_pred, fitted)
        return y_pred, self.data.own_targets(self.split.test)

    def _write_network(self, fitted: FitResult) -> None:
        dataset = self.regression_run.dataset
        plan = {
            "input_shape": list(self.data.input_shape),
            "drop_channels": sorted(set(dataset.drop_channels)),
            "downsample_factor": dataset.downsample_factor,
            "target_names": list(self.names),
            "layout": self.ready.layout,
        }
        scaling = {
            "inputs": self.data.input_scaler.to_json(),
            "targets": self.data.target_scaler.to_json(),
            "normalize_targets": self.data.normalize_targets,
        }
        self.write_model(fitted, plan, scaling)

    def _draw_predictions(self, y_pred: NDArray[np.float32], y_true: NDArray[np.float32]) -> None:
        with self.optional("evaluation plots"):
            from tunectl.objectives import figures  # Matplotlib, when there is something to draw

            figures.draw_predictions(self.directory.plots_dir, y_pred, y_true, self.names)

    def _log_r2(self, r2: Mapping[str, float | None]) -> None:
        shown = (f"{name} {'–' if value is None else f'{value:.3f}'}" for name, value in r2.items())
        self.context.log.info("R² on the test split: %s", ", ".join(shown))
