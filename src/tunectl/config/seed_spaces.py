"""The search space and the study that `init` begins each objective with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunectl.config.search_schema import Study
from tunectl.config.signal_run import N_TARGET_WEIGHTS

Space = Mapping[str, Mapping[str, Any]]

_RATE = {"type": "float", "low": 1e-5, "high": 1e-2, "log": True}
_DECAY = {"type": "float", "low": 1e-6, "high": 1e-3, "log": True}
_DROPOUT = {"type": "float", "low": 0.0, "high": 0.5, "step": 0.05}

_SIGNALS: Space = {
    "model.hidden": {"type": "int", "low": 32, "high": 128, "step": 16},
    "model.dropout_rate": _DROPOUT,
    "model.use_residual": {"type": "categorical", "choices": [True, False]},
    "training.learning_rate": _RATE,
    "training.batch_size": {"type": "categorical", "choices": [2, 4, 8]},
    "training.weight_decay": _DECAY,
    "dataset.downsample_factor": {"type": "int", "low": 1, "high": 4},
    "training.epochs": {"type": "int", "low": 50, "high": 200, "step": 50},
}
_TABLES: Space = {
    "model.nodes": {"type": "int", "low": 16, "high": 256, "log": True},
    "model.layers": {"type": "int", "low": 0, "high": 4},
    "model.activation": {"type": "categorical", "choices": ["relu", "tanh", "gelu", "silu"]},
    "model.dropout_rate": _DROPOUT,
    "training.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
    "training.batch_size": {"type": "categorical", "choices": [16, 32, 64]},
    "training.weight_decay": _DECAY,
}
_IMAGES: Space = {
    "model.width": {"type": "categorical", "choices": [16, 32, 64]},
    "model.dropout_rate": _DROPOUT,
    "training.optimizer": {"type": "categorical", "choices": ["adam", "adamw", "sgd"]},
    "training.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
    "training.batch_size": {"type": "categorical", "choices": [16, 32, 64]},
    "training.weight_decay": _DECAY,
    "training.scheduler": {"type": "categorical", "choices": ["none", "cosine", "one_cycle"]},
    "augmentation.shift": {"type": "float", "low": 0.0, "high": 0.2, "step": 0.05},
    "augmentation.rotation": {"type": "float", "low": 0.0, "high": 20.0, "step": 5.0},
}
_WEIGHTS: Space = {
    "training.use_weighted_loss": {"type": "categorical", "choices": [True, False]},
    **{
        f"training.weight_target_{index}": {
            "type": "float",
            "low": 0.1,
            "high": 10.0,
            "when": {"training.use_weighted_loss": True},
        }
        for index in range(N_TARGET_WEIGHTS)
    },
}

SEED_SPACES: Mapping[str, Space] = {
    "flow_cnn": {**_SIGNALS, **_WEIGHTS},
    "signal_regressor": _SIGNALS,
    "mlp": _TABLES,
    "image_classifier": _IMAGES,
}
"""Objective → the parameters to begin a search with."""

SEED_STUDIES: Mapping[str, Study] = {
    "flow_cnn": Study(),
    "signal_regressor": Study(name="signals"),
    "mlp": Study(name="mlp"),
    "image_classifier": Study(name="images", direction=("maximize",), metric=("val_acc",)),
}
"""Objective → its study."""
