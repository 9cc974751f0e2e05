"""One trial of `image_classifier`: its evaluation, and what it leaves."""

from __future__ import annotations

import numpy as np

from tunectl.artifacts import atomic
from tunectl.config.image_run import ImageRun
from tunectl.objectives.base import Outcome, TrialContext
from tunectl.objectives.image_summary import evaluation_summary
from tunectl.objectives.network_setup import NetworkSetup
from tunectl.objectives.network_trial import NetworkTrial, finite, write_array
from tunectl.training.class_metrics import (
    ClassMeasure,
    class_metrics,
    class_rows,
    confusion,
    probabilities,
)
from tunectl.training.image_data import correction_of, imbalance
from tunectl.training.image_tensors import ImageTensors
from tunectl.training.state import FitResult


class ImageTrial(NetworkTrial):
    """A trial whose network is measured by how well it tells classes apart."""

    def __init__(self, setup: NetworkSetup, context: TrialContext, device: str) -> None:
        super().__init__(setup, context, device)
        self.image_run = self.config.run.as_kind(ImageRun)
        assert isinstance(self.ready.data, ImageTensors)
        self.images = self.ready.data.images  # those that the tensors were made of
        message = imbalance(self.images)
        if message is not None:
            context.log.info(message)

    def measure(self) -> ClassMeasure:
        """Return accuracy and the rest on the validation split."""
        return ClassMeasure(
            self.images.labels[self.split.valid],
            self.images.names,
            explosion=self.config.failures.explosion,
        )

    def evaluate(self, fitted: FitResult) -> Outcome:
        """Use the test split, for the only time, and write everything; metrics.json comes last."""
        names, labels = self.images.names, self.images.labels[self.split.test]
        scores = self.predict_test(fitted)
        self.refuse_non_finite(scores, fitted)
        matrix = confusion(labels, scores.argmax(axis=1), len(names))
        test = class_metrics(scores, labels, names, "test")
        metrics = {**fitted.best.metrics, **test, **self.costs()}
        self._write_network(fitted)
        write_array(self.directory.predictions_file, probabilities(scores).astype(np.float32))
        write_array(self.directory.truth_file, labels)
        document = {
            **self.document(fitted, metrics),
            "per_class": class_rows(matrix, names),
            "confusion": matrix.tolist(),
        }
        summary = evaluation_summary(self.config, self.split, document)
        atomic.write_text(self.directory.summary_file, summary)
        self.draw_learning_curves(fitted.best.epoch)
        with self.optional("confusion matrix"):
            from tunectl.objectives import figures  # Matplotlib, when there is something to draw

            figures.draw_confusion(self.directory.plots_dir / "confusion_matrix.png", matrix, names)
        atomic.write_json(self.directory.metrics_file, document)
        self.context.log.info("accuracy on the test split: %.4f", test["test_acc"])
        return Outcome(
            value=fitted.best.value,
            best_epoch=fitted.best.epoch,
            epochs=fitted.epochs,
            metrics=finite(metrics),
        )

    def _write_network(self, fitted: FitResult) -> None:
        assert isinstance(self.ready.data, ImageTensors)
        data, classes = self.ready.data, len(self.images.names)
        plan = {
            "input_shape": list(data.input_shape),
            "drop_channels": [],
            "downsample_factor": 1,
            "target_names": list(self.images.names),
            "layout": self.ready.layout,
            "is_classifier": True,
            "correction": correction_of(self.image_run.dataset),
            "image_size": self.image_run.dataset.image_size,
        }
        scaling = {
            "inputs": data.input_scaler.to_json(),
            "targets": {"mean": [0.0] * classes, "scale": [1.0] * classes},
            "normalize_targets": False,
        }
        self.write_model(fitted, plan, scaling)
