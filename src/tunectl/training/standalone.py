"""Predictions with the network of this folder; needs torch, numpy and safetensors, nothing else.

python predict.py X.npy             prints a table of predictions as CSV
python predict.py X.npy Y.npy       writes them as an array (N, T); Y.csv writes the table

X.npy holds what the network was trained on, as it was recorded: signals (N, C, L) or (N, C, H, W),
all channels, a table (N, F), or images. Of images the probability of each class is predicted. In
Python:

    from predict import Network
    y = Network("path/of/this/folder").predict(x)
"""

from __future__ import annotations

import csv
import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional as F  # noqa: N812 - everyone calls it so

BATCH_VALUES = 2**20
EPSILON = 1e-5
RESNET_LAYERS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


class Network:
    """The trained network.

    Args:
        folder: Where model.json, scaling.json and model.safetensors stand.
    """

    def __init__(self, folder: str | Path = Path(__file__).parent) -> None:
        folder = Path(folder)
        self.plan = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.weights = load_file(folder / "model.safetensors")
        scaling = json.loads((folder / "scaling.json").read_text(encoding="utf-8"))
        columns = (1, -1) + (1,) * (len(self.plan["input_shape"]) - 1)
        self.mean, self.scale = (
            torch.tensor(scaling["inputs"][key]).reshape(columns) for key in ("mean", "scale")
        )
        restored = scaling["normalize_targets"]
        self.target_mean = torch.tensor(scaling["targets"]["mean"]) if restored else 0.0
        self.target_scale = torch.tensor(scaling["targets"]["scale"]) if restored else 1.0
        dropped = set(self.plan["drop_channels"])
        there = self.plan["input_shape"][0] + len(dropped)
        self.kept = [channel for channel in range(there) if channel not in dropped]
        self.factor = self.plan["downsample_factor"]
        self.target_names = self.plan["target_names"]
        self.classes = len(self.target_names)
        self.layout = self.plan.get("layout", "signals")
        self.correction = self.plan.get("correction")
        *others, length = self.plan["input_shape"][1:]
        self.sample_shape = (there, *others, length * self.factor)
        self.sample_shape = {
            "rows": (there,),
            "grey": (*others, length),
            "channels_last": (*others, length, there),
        }.get(self.layout, self.sample_shape)
        is_1d = self.plan["kind"] == "cnn1d"
        self.convolution = F.conv1d if is_1d else F.conv2d
        self.pool = F.max_pool1d if is_1d else F.max_pool2d

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return targets (N, T) in their own units.

        Args:
            x: Signals as recorded, (N, C, L) or (N, C, H, W), all channels; may be mapped from a
                file, since it is read batch by batch.
        """
        self.check(x)
        size = max(1, min(256, BATCH_VALUES // int(np.prod(x.shape[1:]))))
        parts = []
        for start in range(0, len(x), size):
            batch = self._arranged(np.array(x[start : start + size], dtype=np.float32))
            batch = np.ascontiguousarray(batch[:, self.kept])
            if not np.isfinite(batch).all():
                raise ValueError(f"NaN or infinities in samples {start} to {start + len(batch)}")
            if self.correction:
                # It is beside this file where a network needs it.
                batch = importlib.import_module("brightness").correct(batch, self.correction)
            with torch.inference_mode():
                parts.append(self._outputs(torch.from_numpy(batch)).numpy())
        return np.concatenate(parts)

    def check(self, x: np.ndarray) -> None:
        """Raise ValueError where these are no signals for this network."""
        *wanted, length = self.sample_shape
        fits = x.ndim == len(wanted) + 2 and list(x.shape[1:-1]) == wanted and len(x) > 0
        if not fits or not length <= x.shape[-1] < length + self.factor:
            shown = ", ".join(str(size) for size in self.sample_shape)
            raise ValueError(f"signals must be (N, {shown}), but their shape is {x.shape}")
        if x.dtype.kind not in "iuf":
            raise ValueError(f"signals must be integers or floats, not {x.dtype}")

    def _arranged(self, x: np.ndarray) -> np.ndarray:
        if self.layout == "rows":
            return x[..., None]
        if self.layout == "grey":
            return x[:, None]
        return np.moveaxis(x, 3, 1) if self.layout == "channels_last" else x

    def _outputs(self, x: torch.Tensor) -> torch.Tensor:
        if self.factor > 1:
            length = x.shape[-1] // self.factor
            grouped = x[..., : length * self.factor].reshape(*x.shape[:-1], length, self.factor)
            x = grouped.mean(dim=-1)
        x = (x - self.mean) / self.scale
        if self.plan.get("is_classifier"):
            return self._patches(x).softmax(dim=1)
        if self.plan["kind"] == "mlp":
            y = self._perceptron(x)
        else:
            y = self._residual(x) if self.plan["use_residual"] else self._plain(x)
        return y * self.target_scale + self.target_mean

    def _perceptron(self, x: torch.Tensor) -> torch.Tensor:
        name = self.plan["activation"]
        activation = torch.tanh if name == "tanh" else getattr(F, name)
        x = x.flatten(1)
        for number in range(self.plan["layers"]):
            x = activation(self._linear(x, f"hidden.{number}"))
        return self._linear(x, "output")

    def _patches(self, x: torch.Tensor) -> torch.Tensor:
        size = self.plan["patch_size"]
        if not size:
            return self._scores(x)
        n, channels, down, across = *x.shape[:2], x.shape[2] // size, x.shape[3] // size
        x = x[:, :, : down * size, : across * size]
        x = x.reshape(n, channels, down, size, across, size).permute(0, 2, 4, 1, 3, 5)
        return (
            self._scores(x.reshape(-1, channels, size, size)).reshape(n, -1, self.classes).mean(1)
        )

    def _scores(self, x: torch.Tensor) -> torch.Tensor:
        if self.plan["kind"] == "small_cnn":
            for number in range(3):
                for layer in (0, 3):
                    name = f"blocks.{number}.body"
                    y = self._convolve(x, f"{name}.{layer}", 1)
                    x = F.relu(self._norm(y, f"{name}.{layer + 1}"))
                x = F.max_pool2d(x, 2, ceil_mode=True)
        else:
            x = self._stages(x)
        return self._linear(x.flatten(2).mean(dim=2), "output")

    def _stages(self, x: torch.Tensor) -> torch.Tensor:
        large = self.plan["stem"] == "large"
        x = F.relu(self._norm(self._convolve(x, "blocks.0.0", 2 if large else 1), "blocks.0.1"))
        x = F.max_pool2d(x, 3, 2, 1) if large else x
        convolutions = (0, 3) if self.plan["kind"] == "resnet18" else (0, 3, 6)
        halving = 0 if self.plan["kind"] == "resnet18" else 3
        number = 1
        for stage, layers in enumerate(RESNET_LAYERS[self.plan["kind"]]):
            for layer in range(layers):
                name, stride, y = f"blocks.{number}", 2 if stage and not layer else 1, x
                for at in convolutions:
                    y = self._convolve(y, f"{name}.body.{at}", stride if at == halving else 1)
                    y = self._norm(y, f"{name}.body.{at + 1}")
                    y = y if at == convolutions[-1] else F.relu(y)
                if f"{name}.shortcut.0.weight" in self.weights:
                    x = self._convolve(x, f"{name}.shortcut.0", stride)
                    x = self._norm(x, f"{name}.shortcut.1")
                x = F.relu(y + x)
                number += 1
        return x

    def _plain(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self._norm(self._convolve(x, "features.0", 2), "features.1"))
        x = F.relu(self._norm(self._convolve(x, "features.3", 2), "features.4"))
        return self._linear(x.flatten(2).mean(dim=2), "regressor.1")

    def _residual(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self._norm(self._convolve(x, "features.0", 2), "features.1"))
        x = self.pool(x, 3, stride=2, padding=1)
        for number, stride in ((4, 1), (5, 2), (6, 2), (7, 1)):
            x = self._block(x, f"features.{number}", stride)
        x = F.relu(self._linear(x.flatten(2).mean(dim=2), "regressor.0"))
        return self._linear(x, "regressor.3")

    def _block(self, x: torch.Tensor, name: str, stride: int) -> torch.Tensor:
        y = F.relu(self._norm(self._convolve(x, f"{name}.body.0", stride), f"{name}.body.1"))
        y = self._norm(self._convolve(y, f"{name}.body.3", 1), f"{name}.body.4")
        if f"{name}.shortcut.0.weight" in self.weights:
            x = self._norm(self._convolve(x, f"{name}.shortcut.0", stride), f"{name}.shortcut.1")
        return F.relu(y + x)

    def _convolve(self, x: torch.Tensor, name: str, stride: int) -> torch.Tensor:
        kernel = self.weights[f"{name}.weight"]
        return self.convolution(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        w = self.weights
        mean, variance = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        return F.batch_norm(x, mean, variance, w[f"{name}.weight"], w[f"{name}.bias"], eps=EPSILON)

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])


def main(arguments: list[str]) -> int:
    """Predict as the first lines of this file say; return the exit code."""
    if arguments in (["-h"], ["--help"]):
        print(__doc__.rstrip())
        return 0
    if not 1 <= len(arguments) <= 2 or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    network = Network()
    try:
        y = network.predict(np.load(arguments[0], mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError) as error:
        return refuse(arguments[0], error)
    try:
        write(y, network.target_names, arguments[1] if len(arguments) == 2 else None)
    except BrokenPipeError:  # whoever read the table, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return refuse(arguments[-1], error)
    return 0


def write(y: np.ndarray, names: list[str], target: str | None) -> None:
    """Write predictions as a table, or as an array; without a target the table is printed."""
    # NumPy's own text of a number is the shortest that reads back as the same one.
    rows = [names, *([str(value) for value in row] for row in y)]
    if target is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
        sys.stdout.flush()
    elif target.endswith(".csv"):
        with open(target, "w", encoding="utf-8", newline="") as out:  # noqa: PTH123
            csv.writer(out, lineterminator="\n").writerows(rows)
    else:
        np.save(target, y)


def refuse(name: str, error: Exception) -> int:
    """Say what is wrong with a file; return the exit code."""
    reason = error.strerror if isinstance(error, OSError) else None
    print(f"{name}: {reason or error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
