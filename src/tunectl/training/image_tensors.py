"""Images as the network sees them: standardised, on the device, by index."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tunectl.config.image_run import Augmentation
from tunectl.training.augment import augment
from tunectl.training.data import Scaler, Split
from tunectl.training.image_data import Images
from tunectl.training.tensors import HeldTensors


class ImageTensors(HeldTensors):
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
        place = torch.device(device)
        labels = torch.from_numpy(images.labels).to(place)
        super().__init__(place, torch.from_numpy(images.x), labels)
        self.images = images
        self.input_scaler = Scaler.fit(images.x, split.train)
        self._augmentation = augmentation
        self._is_changed = augmentation != Augmentation()
        self._mean, self._scale = (
            torch.tensor(np.asarray(values, np.float32), device=self._device).reshape(1, -1, 1, 1)
            for values in (self.input_scaler.mean, self.input_scaler.scale)
        )

    def inputs(self, index: Tensor) -> Tensor:
        """Return standardised images (B, C, H, W) on the device."""
        x = self._x.index_select(0, index).to(self._device).float()
        return x.sub_(self._mean).div_(self._scale)

    def training_inputs(self, index: Tensor) -> Tensor:
        """Return the same, changed anew by the augmentation."""
        x = self.inputs(index)
        return augment(x, self._augmentation) if self._is_changed else x
