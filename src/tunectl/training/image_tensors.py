"""Images as the network sees them: standardised, on the device, by index."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tunectl.config.image_run import Augmentation
from tunectl.training.augment import augment
from tunectl.training.data import Indices, Scaler, Split
from tunectl.training.image_data import Images


class ImageTensors:
    """All images, at hand for a training.

    They stay as they were recorded, whole numbers in a byte each, and are standardised batch by
    batch.

    Args:
        images: The images.
        split: Which of them are for training; the scaler looks at no others.
        augmentation: How images of the training split are changed.
        device: Where the network is.
    """

    def __init__(
        self, images: Images, split: Split, augmentation: Augmentation, device: str
    ) -> None:
        self.images = images
        self._device = torch.device(device)
        self.input_scaler = Scaler.fit(images.x, split.train)
        self._augmentation = augmentation
        self._is_changed = augmentation != Augmentation()
        self._x = torch.from_numpy(images.x)
        self._labels = torch.from_numpy(images.labels).to(self._device)
        self._mean, self._scale = (
            torch.tensor(np.asarray(values, np.float32), device=self._device).reshape(1, -1, 1, 1)
            for values in (self.input_scaler.mean, self.input_scaler.scale)
        )

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self._device

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one image: (C, H, W)."""
        return tuple(self._x.shape[1:])

    @property
    def n_bytes(self) -> int:
        """Memory of images and labels."""
        return int(self._x.nbytes + self._labels.nbytes)

    def index(self, rows: Indices) -> Tensor:
        """Return rows as an index for the methods below."""
        return torch.from_numpy(rows)

    def inputs(self, index: Tensor) -> Tensor:
        """Return standardised images (B, C, H, W) on the device."""
        x = self._x.index_select(0, index).to(self._device).float()
        return x.sub_(self._mean).div_(self._scale)

    def training_inputs(self, index: Tensor) -> Tensor:
        """Return the same, changed anew by the augmentation."""
        x = self.inputs(index)
        return augment(x, self._augmentation) if self._is_changed else x

    def targets(self, index: Tensor) -> Tensor:
        """Return the number of each image's class (B,) on the device."""
        return self._labels.index_select(0, index.to(self._device))
