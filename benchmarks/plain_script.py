"""The yardstick: a study as a capable user would write it down in one file, without `tunectl`.

    python benchmarks/plain_script.py --x x.npy --t t.npy --points points.json --epochs 50

Optuna on SQLite in one process, with its median pruner; the data loaded for each trial; a
`DataLoader`, Adam and `loss.item()` per batch; an evaluation each epoch, the best weights kept; and
of each trial its weights, metrics, predictions and learning curves. The points are given, so that
two programs can be compared on the same trials, and the pruner never has enough trials to prune.

The network is `tunectl`'s own, since it is the program around it that is compared.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tunectl.training.models import build_model

KEPT_CHANNELS = [0, 2]
TARGET_WEIGHTS = [5.0, 1.0, 2.0, 5.0, 1.0, 1.0]
SPLIT_SEED = 42


@dataclass
class Data:
    """The three parts of the data, standardised, and how the targets were."""

    train: TensorDataset
    valid: TensorDataset
    test: TensorDataset
    target_mean: NDArray[np.float32]
    target_std: NDArray[np.float32]


def load_data(x_path: Path, t_path: Path, factor: int, limit: int | None = None) -> Data:
    """Load signals and targets, select, downsample, split and standardise."""
    x = np.load(x_path)[:limit, KEPT_CHANNELS]
    t = np.load(t_path)[:limit]
    length = x.shape[-1] // factor
    x = x[..., : length * factor].reshape(*x.shape[:-1], length, factor).mean(axis=-1)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(x))
    n_train, n_valid = round(0.7 * len(x)), round(0.15 * len(x))
    parts = np.split(order, [n_train, n_train + n_valid])
    axes = (0, *range(2, x.ndim))
    x_mean = x[parts[0]].mean(axis=axes, keepdims=True)
    x_std = x[parts[0]].std(axis=axes, keepdims=True)
    t_mean, t_std = t[parts[0]].mean(axis=0), t[parts[0]].std(axis=0)
    signals = torch.tensor((x - x_mean) / x_std, dtype=torch.float32)
    targets = torch.tensor((t - t_mean) / t_std, dtype=torch.float32)
    train, valid, test = (TensorDataset(signals[part], targets[part]) for part in parts)
    return Data(train, valid, test, t_mean, t_std)


def weighted_mse(predicted: Tensor, true: Tensor, weights: Tensor) -> Tensor:
    """The loss: the mean of squared errors, some targets counting more."""
    return ((predicted - true) ** 2 * weights).mean()


def train_epoch(
    model: nn.Module,
    loader: DataLoader[Any],
    optimizer: torch.optim.Optimizer,
    weights: Tensor,
    device: torch.device,
) -> float:
    """Train one epoch and return its mean loss."""
    model.train()
    total, seen = 0.0, 0
    for x, t in loader:
        x, t = x.to(device), t.to(device)
        optimizer.zero_grad()
        loss = weighted_mse(model(x), t, weights)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += loss.item() * len(x)
        seen += len(x)
    return total / seen


@torch.no_grad()
def predict(
    model: nn.Module, loader: DataLoader[Any], device: torch.device
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return predictions and truth, both standardised."""
    model.eval()
    predicted, true = [], []
    for x, t in loader:
        predicted.append(model(x.to(device)).cpu().numpy())
        true.append(t.numpy())
    return np.concatenate(predicted), np.concatenate(true)


def make_loaders(data: Data, batch_size: int) -> list[DataLoader[Any]]:
    """Return the loaders of the three parts."""
    return [
        DataLoader(data.train, batch_size=batch_size, shuffle=True),
        DataLoader(data.valid, batch_size=batch_size),
        DataLoader(data.test, batch_size=batch_size),
    ]


def save_trial(
    folder: Path,
    model: nn.Module,
    metrics: Mapping[str, Any],
    predicted: NDArray[np.float32],
    true: NDArray[np.float32],
) -> None:
    """Write what a trial leaves."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True)
    torch.save(model.state_dict(), folder / "model.pth")
    (folder / "metrics.json").write_text(json.dumps(metrics))
    np.save(folder / "y_pred.npy", predicted)
    np.save(folder / "y_true.npy", true)
    figure, axes = plt.subplots()
    axes.plot(metrics["train_loss"], label="training loss")
    axes.plot(metrics["val_mse"], label="validation MSE")
    axes.set_xlabel("epoch")
    axes.legend()
    figure.savefig(folder / "learning_curves.png")
    plt.close(figure)


def kind_of(sample: Tensor) -> Literal["cnn1d", "cnn2d"]:
    """Return which network is for a sample (C, L) or (C, H, W)."""
    return "cnn1d" if sample.ndim == 2 else "cnn2d"


class Script:
    """The script's objective and what it needs."""

    def __init__(self, arguments: argparse.Namespace, points: Sequence[Mapping[str, Any]]) -> None:
        self.arguments = arguments
        self.points = points
        self.device = torch.device(arguments.device)

    def objective(self, trial: Any) -> float:
        """Train one trial and return the validation MSE of its best epoch."""
        import optuna

        hidden = trial.suggest_int("model.hidden", 32, 128, step=16)
        dropout = trial.suggest_float("model.dropout_rate", 0.0, 0.5, step=0.05)
        residual = trial.suggest_categorical("model.use_residual", [True, False])
        rate = trial.suggest_float("training.learning_rate", 1e-5, 1e-2, log=True)
        batch_size = trial.suggest_categorical("training.batch_size", [2, 4, 8])
        decay = trial.suggest_float("training.weight_decay", 1e-6, 1e-3, log=True)
        factor = trial.suggest_int("dataset.downsample_factor", 1, 4)
        given = self.arguments
        np.random.seed(given.seed)
        torch.manual_seed(given.seed)
        data = load_data(given.x, given.t, factor)
        train, valid, test = make_loaders(data, batch_size)
        sample, target = data.train[0]
        model = build_model(kind_of(sample), len(sample), len(target), hidden, dropout, residual)
        model = model.to(self.device)
        optimizer = torch.optim.Adam(model.parameters(), lr=rate, weight_decay=decay)
        weights = torch.tensor(TARGET_WEIGHTS[: len(target)], device=self.device)
        losses, values, best = [], [], None
        for epoch in range(1, given.epochs + 1):
            losses.append(train_epoch(model, train, optimizer, weights, self.device))
            predicted, true = predict(model, valid, self.device)
            values.append(float(np.mean((predicted - true) ** 2)))
            if values[-1] <= min(values):
                best = copy.deepcopy(model.state_dict())
            trial.report(values[-1], epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        assert best is not None
        model.load_state_dict(best)
        predicted, true = predict(model, test, self.device)
        predicted = predicted * data.target_std + data.target_mean
        true = true * data.target_std + data.target_mean
        errors = predicted - true
        r2 = 1 - (errors**2).sum(axis=0) / ((true - true.mean(axis=0)) ** 2).sum(axis=0)
        metrics = {
            "train_loss": losses,
            "val_mse": values,
            "test_mse": (errors**2).mean(axis=0).tolist(),
            "test_mae": np.abs(errors).mean(axis=0).tolist(),
            "test_r2": r2.tolist(),
        }
        save_trial(given.out / f"trial_{trial.number}", model, metrics, predicted, true)
        return min(values)

    def run(self) -> None:
        """Run the study."""
        import optuna

        given = self.arguments
        given.out.mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(
            study_name="plain",
            storage=f"sqlite:///{given.out / 'study.db'}",
            sampler=optuna.samplers.TPESampler(seed=given.seed),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=len(self.points) + 1),
            direction="minimize",
        )
        for point in self.points:
            study.enqueue_trial(dict(point))
        study.optimize(self.objective, n_trials=len(self.points))
        print(f"best: trial {study.best_trial.number} with {study.best_value:.4f}")


def main() -> None:
    """Read the arguments and run the study."""
    parser = argparse.ArgumentParser(description="a plain study of given points")
    parser.add_argument("--x", type=Path, required=True, help="signals, .npy")
    parser.add_argument("--t", type=Path, required=True, help="targets, .npy")
    parser.add_argument("--points", type=Path, required=True, help="list of points, .json")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("plain"))
    arguments = parser.parse_args()
    Script(arguments, json.loads(arguments.points.read_text())).run()


if __name__ == "__main__":
    main()
