"""A trained network with its scaling inside: from a user's own inputs to targets in own units.

It reads what a trial or a bundle holds and knows neither data sets nor training.
"""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tunectl.artifacts.bundle import PLAN, SCALING, WEIGHTS, read_bundle
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.errors import ArtifactError
from tunectl.training.architecture import Layout, NetworkPlan
from tunectl.training.brightness import correct
from tunectl.training.data import Scaler
from tunectl.training.models import build_from
from tunectl.training.new_images import ImageForm
from tunectl.training.plans import plan_from_json

DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, pickle.UnpicklingError)
"""What reading a damaged or missing file raises."""


class PackagedNet(nn.Module):
    """Channels, downsampling, scaling and network in one, as its own `state_dict` holds it.

    Args:
        network: From standardised signals to targets as it was fitted to them.
        kept: The channels that it looks at, of those recorded.
        factor: Mean of so many neighbours along the last axis.
        input_shape: Of one sample as the network sees it: (C, L) or (C, H, W).
        inputs: Mean and scale of each kept channel.
        targets: Mean and scale of each target; None for a network fitted to own units.
        target_names: One per target.
        dropped: How many of the recorded channels it leaves out.
        layout: How samples are recorded.
        is_classifier: The outputs are scores of classes, of which it gives the probabilities.
        correction: Brightness correction of images, None for none; see `brightness.correct`.
        image_size: Image files are brought to so many pixels a side; None: taken as they are.
    """

    kept: Tensor
    input_mean: Tensor
    input_scale: Tensor
    target_mean: Tensor
    target_scale: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        kept: Sequence[int],
        factor: int,
        input_shape: Sequence[int],
        inputs: Scaler,
        targets: Scaler | None,
        target_names: Sequence[str],
        dropped: int,
        layout: Layout = "signals",
        is_classifier: bool = False,
        correction: Mapping[str, Any] | None = None,
        image_size: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.factor = factor
        self.input_shape = tuple(input_shape)
        self.target_names = tuple(target_names)
        self.channels = len(kept) + dropped
        self.layout = layout
        self.is_classifier = is_classifier
        self.correction = correction
        self.image_size = image_size
        count = len(self.target_names)
        columns = (1, -1, *(1 for _ in self.input_shape[1:]))
        self.register_buffer("kept", torch.tensor(list(kept)))
        self.register_buffer("input_mean", _floats(inputs.mean).reshape(columns))
        self.register_buffer("input_scale", _floats(inputs.scale).reshape(columns))
        self.register_buffer("target_mean", _floats(targets.mean if targets else [0.0] * count))
        self.register_buffer("target_scale", _floats(targets.scale if targets else [1.0] * count))

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample as recorded, all channels, in the order of axes of the layout.

        The last axis may be longer by less than `factor` values, which are not looked at.
        """
        if self.layout == "rows":
            return (self.channels,)
        *axes, length = self.input_shape[1:]
        if self.layout == "grey":
            return (*axes, length)
        if self.layout == "channels_last":
            return (*axes, length, self.channels)
        return (self.channels, *axes, length * self.factor)

    @property
    def looked_at(self) -> tuple[int, ...]:
        """The recorded channels that the network looks at; empty for all."""
        has_channels = self.layout in ("signals", "rows")
        return tuple(self.kept.tolist()) if has_channels else ()

    @property
    def images(self) -> ImageForm | None:
        """How it takes images; None for a network that takes none."""
        if not self.is_classifier:
            return None
        return ImageForm(layout=self.layout, shape=self.input_shape, image_size=self.image_size)

    def like_recorded(self, noise: Tensor) -> Tensor:
        """Return standard normal noise (N, …) distributed as the training's signals were.

        Args:
            noise: Of the recorded shape; changed in place.
        """
        samples = self._arranged(noise)
        samples[:, self.kept] *= self.input_scale
        samples[:, self.kept] += self.input_mean
        return noise

    def predict(self, signals: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return targets (N, T) in their own units; see `forward`, of which it is the NumPy form.

        Args:
            signals: As recorded, (N, C, L) or (N, C, H, W), all channels.
        """
        if self.correction is not None:
            arranged = self._arranged(torch.from_numpy(signals)).numpy()
            corrected = torch.from_numpy(correct(arranged, dict(self.correction)))
            with torch.inference_mode():
                return self._answers(corrected.to(self.kept.device)).cpu().numpy()
        with torch.inference_mode():
            return np.asarray(self(torch.from_numpy(signals).to(self.kept.device)).cpu().numpy())

    def classify(self, images: NDArray[Any], batch_size: int = 256) -> NDArray[np.float32]:
        """Return the probability of each class of images that a training holds in memory.

        Args:
            images: (N, C, H, W), corrected already.
            batch_size: Images at a time.
        """
        with torch.inference_mode():
            starts = range(0, len(images), batch_size)
            parts = (torch.from_numpy(images[at : at + batch_size]).float() for at in starts)
            return torch.cat([self._answers(part) for part in parts]).cpu().numpy()

    def forward(self, x: Tensor) -> Tensor:
        """Return targets (N, T) in their own units.

        Args:
            x: Signals as recorded, 32-bit floats (N, C, L) or (N, C, H, W), all channels.
        """
        return self._answers(self._arranged(x))

    def _arranged(self, x: Tensor) -> Tensor:
        """Return a view of samples as recorded in which the channels are axis 1."""
        if self.layout == "rows":
            return x.unsqueeze(-1)
        if self.layout == "grey":
            return x.unsqueeze(1)
        return x.permute(0, 3, 1, 2) if self.layout == "channels_last" else x

    def _answers(self, x: Tensor) -> Tensor:
        """Return targets or probabilities of samples (N, C, …)."""
        if len(self.kept) < self.channels:
            x = x.index_select(1, self.kept)
        if self.factor > 1:
            length = x.shape[-1] // self.factor
            grouped = x.narrow(-1, 0, length * self.factor)
            x = grouped.reshape(*x.shape[:-1], length, self.factor).mean(dim=-1)
        outputs = self.network((x - self.input_mean) / self.input_scale)
        if self.is_classifier:
            return cast(Tensor, outputs.softmax(dim=1))
        return cast(Tensor, outputs * self.target_scale + self.target_mean)


def load_packaged(directory: TrialDir) -> PackagedNet:
    """Return the network that a completed trial left, in evaluation mode, on the CPU.

    Args:
        directory: The trial's folder.

    Raises:
        ArtifactError: a file of it is gone or damaged.
    """
    plan = _document(directory.model_file, _read(directory.model_file))
    scaling = _document(directory.scaling_file, _read(directory.scaling_file))
    try:
        weights = torch.load(directory.weights_file, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        raise ArtifactError(_cannot_be_used(directory.weights_file, error)) from error
    try:
        return package(plan, scaling, weights)
    except DAMAGE as error:
        raise ArtifactError(_cannot_be_used(directory.path, error)) from error


def load_bundle(path: Path) -> PackagedNet:
    """Return the network of a bundle, in evaluation mode, on the CPU.

    Args:
        path: The bundle's folder or zip archive.

    Raises:
        UsageError: there is no bundle.
        ArtifactError: it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    content = {name: read_bundle(path, name) for name in (PLAN, SCALING, WEIGHTS)}
    missing = [name for name, read in content.items() if read is None]
    if missing:
        raise ArtifactError(f"bundle {path} is damaged: it has no {', '.join(missing)}")
    read = {name: part for name, part in content.items() if part is not None}
    plan, scaling = (_document(path / name, read[name]) for name in (PLAN, SCALING))
    try:
        return package(plan, scaling, load(read[WEIGHTS]))
    except (*DAMAGE, SafetensorError) as error:
        raise ArtifactError(_cannot_be_used(path, error)) from error


def package(
    plan: Mapping[str, Any], scaling: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> PackagedNet:
    """Put a network together from what `model.json`, `scaling.json` and the weights hold.

    Args:
        plan: `model.json`.
        scaling: `scaling.json`.
        weights: The network's `state_dict`.

    Returns:
        The network in evaluation mode, on the CPU.

    Raises:
        KeyError, TypeError, ValueError: something is missing or of a wrong kind.
        RuntimeError: the weights are not those of this plan.
    """
    own = plan_from_json(plan)
    network = build_from(own)
    network.load_state_dict(weights)
    dropped = sorted(set(plan["drop_channels"]))
    there = range(int(plan["input_shape"][0]) + len(dropped))
    inputs, targets = Scaler.from_json(scaling["inputs"]), Scaler.from_json(scaling["targets"])
    _check_sizes(own, plan, inputs, targets)
    packaged = PackagedNet(
        network,
        kept=[channel for channel in there if channel not in dropped],
        factor=int(plan["downsample_factor"]),
        input_shape=[int(size) for size in plan["input_shape"]],
        inputs=inputs,
        targets=targets if scaling["normalize_targets"] else None,
        target_names=plan["target_names"],
        dropped=len(dropped),
        layout=plan.get("layout", "signals"),
        is_classifier=bool(plan.get("is_classifier", False)),
        correction=plan.get("correction"),
        image_size=plan.get("image_size"),
    )
    return packaged.eval()


def _check_sizes(
    own: NetworkPlan, plan: Mapping[str, Any], inputs: Scaler, targets: Scaler
) -> None:
    seen = plan.get("channels", plan["input_shape"][0])
    channels = {seen, plan["input_shape"][0], len(inputs.mean), len(inputs.scale)}
    outputs = {own.targets, len(plan["target_names"]), len(targets.mean)}
    if len(channels) > 1 or len(outputs | {len(targets.scale)}) > 1:
        raise ValueError("plan and scaling are not of one network")
    if math.prod(plan["input_shape"]) < 1 or plan["downsample_factor"] < 1:
        raise ValueError("plan without a size")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ArtifactError(_cannot_be_used(file, error)) from error


def _document(file: Path, content: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(content)
    except ValueError as error:
        raise ArtifactError(_cannot_be_used(file, error)) from error
    if not isinstance(document, Mapping):
        raise ArtifactError(f"{file} cannot be used: it holds no mapping")
    return document


def _cannot_be_used(file: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{error.filename or file} is gone, so there is no network to use"
    text = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return f"{file} cannot be used: {text}"


def _floats(values: Sequence[float]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float32)
