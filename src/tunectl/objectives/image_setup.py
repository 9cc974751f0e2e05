"""What a training on images starts from: its data, its network's plan and its loss."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tunectl.config.image_run import ImageRun, ImageTraining
from tunectl.config.run import Run
from tunectl.errors import DataError
from tunectl.objectives.base import ModelSize, TrialContext
from tunectl.objectives.network_setup import Prepared, ReadyTrial
from tunectl.training.data import Indices
from tunectl.training.image_data import (
    ImageFacts,
    image_problems,
    load_images,
    look_at_images,
    split_by_class,
)
from tunectl.training.image_files import Scanned
from tunectl.training.image_tensors import ImageTensors
from tunectl.training.losses import WeightedClassLoss
from tunectl.training.models import build_from
from tunectl.training.plans import ImageKind, ImagePlan

LARGE_STEM_FROM = 64
"""Shorter side in pixels from which on a residual network begins with a large convolution."""


class ImageSetup:
    """Images and a network that tells their classes apart.

    Args:
        scanned: Folders of images that need not be listed again, for what is only looked at.
    """

    def __init__(self, scanned: Scanned | None = None) -> None:
        self._scanned = scanned

    def prepare(self, run: Run, project: Path, device: str) -> Prepared:
        """Read the images and plan the network; see `NetworkSetup.prepare`."""
        own = run.as_kind(ImageRun)
        images = load_images(own.dataset, project)
        problems = image_problems(own, images)
        if problems:
            raise DataError(problems)
        split = split_by_class(images.labels, own.data_split)
        classes = len(images.names)
        return Prepared(
            data=ImageTensors(images, split, own.augmentation, device),
            split=split,
            plan=plan_network(own, images),
            training=own.training,
            loss=make_loss(own.training, images.labels[split.train], classes),
            outputs=classes,
            layout=images.layout,
        )

    def size(self, run: Run, project: Path) -> ModelSize:
        """Return parameters and batch size of a configuration; see `Rehearsable.size`."""
        own = run.as_kind(ImageRun)
        images = look_at_images(own.dataset, project, self._scanned)
        with torch.device("meta"):  # shapes only: no memory, no random numbers
            model = build_from(plan_network(own, images))
        return ModelSize(
            n_parameters=sum(parameter.numel() for parameter in model.parameters()),
            batch_size=own.training.batch_size,
            sample_values=math.prod(images.shape),
            n_samples=len(images.labels),
        )

    def trial(self, context: TrialContext, device: str) -> ReadyTrial:
        """Return a trial that is ready to run."""
        from tunectl.objectives.image_trial import ImageTrial

        return ImageTrial(self, context, device)


def plan_network(run: ImageRun, images: ImageFacts) -> ImagePlan:
    """Return the plan of the network for such images."""
    kinds: dict[str, ImageKind] = {
        "cnn": "small_cnn",
        "resnet18": "resnet18",
        "resnet50": "resnet50",
        "resnet101": "resnet101",
    }
    side = run.model.patch_size or min(images.shape[1:])
    return ImagePlan(
        kind=kinds[run.model.type],
        channels=images.shape[0],
        targets=len(images.names),
        width=run.model.width,
        dropout_rate=run.model.dropout_rate,
        patch_size=run.model.patch_size,
        stem="large" if side >= LARGE_STEM_FROM else "small",
    )


def make_loss(training: ImageTraining, labels: Indices, classes: int) -> nn.Module:
    """Return what the training minimises, a mean over samples.

    Args:
        training: Whether rare classes count more, and the smoothing.
        labels: Of the training split.
        classes: How many there are.
    """
    if not training.class_weights:
        return nn.CrossEntropyLoss(label_smoothing=training.label_smoothing)
    counts = np.bincount(labels, minlength=classes)
    # In inverse proportion to their number, and 1 on the mean over the training split.
    weights = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return WeightedClassLoss(torch.tensor(weights, dtype=torch.float32), training.label_smoothing)
