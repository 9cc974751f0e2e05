"""The objective `image_classifier`: a convolutional network that tells classes of images apart.

This module is light; `image_setup.py` and `image_trial.py` do the work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.image_run import ImageRun
from tunectl.config.run import Run
from tunectl.config.schema import TrialConfig
from tunectl.config.search_schema import Direction
from tunectl.errors import DataError, Problem
from tunectl.objectives.data_facts import TOLERANCE, DataFacts
from tunectl.objectives.image_data_facts import image_data_facts
from tunectl.objectives.network import NetworkObjective
from tunectl.training.class_metrics import DIRECTIONS
from tunectl.training.image_data import (
    forget_images,
    image_problems,
    imbalance,
    load_images,
    look_at_images,
)
from tunectl.training.image_files import Scanned

if TYPE_CHECKING:
    from tunectl.objectives.network_setup import NetworkSetup
    from tunectl.training.packaged import PackagedNet


class ImageClassifier(NetworkObjective):
    """Fits a small convolutional network or a ResNet."""

    def __init__(self) -> None:
        # Every corner of a search space is looked at, and a folder may have very many images.
        self._scanned: Scanned = {}

    @property
    def ranking(self) -> Mapping[str, Direction]:
        """Accuracy, cross entropy, and means over classes."""
        return DIRECTIONS

    @property
    def size_keys(self) -> Sequence[str]:
        """Dotted keys of what decides how long a step takes and how much memory it needs."""
        return (
            "dataset.image_size",
            "dataset.limit_samples",
            "model.type",
            "model.width",
            "model.patch_size",
            "training.batch_size",
            "training.optimizer",
        )

    def problems(self, run: Run, project: Path) -> list[Problem]:
        """Look at the configuration and its images without training."""
        own = run.as_kind(ImageRun)
        try:
            return image_problems(own, load_images(own.dataset, project))
        except DataError as error:
            return list(error.problems)

    def misfits(self, run: Run, project: Path) -> list[Problem]:
        """Return what would make a trial fail, as far as headers and labels tell."""
        own = run.as_kind(ImageRun)
        try:
            return image_problems(own, look_at_images(own.dataset, project, self._scanned))
        except DataError as error:
            return list(error.problems)

    def advice(self, run: Run, project: Path) -> list[Problem]:
        """Return what works but is worth knowing: classes that are out of balance."""
        dataset = run.as_kind(ImageRun).dataset
        try:
            message = imbalance(look_at_images(dataset, project, self._scanned))
        except DataError:
            return []
        return [Problem(key="dataset.source", message=message)] if message else []

    def data_facts(
        self, directory: TrialDir, config: TrialConfig, project: Path, network: PackagedNet
    ) -> DataFacts | None:
        """Return what is known of a completed trial's images; see `Traceable`."""
        own, tolerance = config.run.as_kind(ImageRun), TOLERANCE[config.runtime.precision]
        return image_data_facts(directory, own, project, network, tolerance)

    def setup(self) -> NetworkSetup:
        """Return the heavy half."""
        from tunectl.objectives.image_setup import ImageSetup

        return ImageSetup(self._scanned)

    def forget_data(self) -> None:
        """Let go of the images that are kept in memory between trials."""
        forget_images()
