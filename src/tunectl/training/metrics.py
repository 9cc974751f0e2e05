"""How good predictions are: the numbers that trials are compared by, and those that people read.

It knows NumPy only; neither networks nor the loss's weights have a say here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunectl.config.search_schema import Direction

DIRECTIONS: Mapping[str, Direction] = {
    "val_mse": "minimize",
    "val_mae": "minimize",
    "val_rmse": "minimize",
    "val_r2": "maximize",
}
"""What a study may optimise, and which way."""


def ranking_metrics(pred_std: NDArray[Any], true_std: NDArray[Any]) -> dict[str, float]:
    """Measure predictions on targets standardised with training statistics, without weights.

    Args:
        pred_std: (N, T), in standard deviations of the training split.
        true_std: (N, T), likewise.

    Returns:
        `val_mse` and `val_mae`, means over samples and targets; `val_rmse`, the root of `val_mse`;
        `val_r2`, the mean over targets of 1 − Σ(y − ŷ)² / Σ(y − ȳ)². Targets that are constant
        here have no R² and are left out of the mean; if all are, it is NaN.
    """
    errors = _as_2d(pred_std) - _as_2d(true_std)
    mse = float(np.mean(np.square(errors)))
    return {
        "val_mse": mse,
        "val_mae": float(np.mean(np.abs(errors))),
        "val_rmse": math.sqrt(mse),
        "val_r2": _mean_r2(_r2(errors, _as_2d(true_std))),
    }


def target_metrics(
    pred: NDArray[Any], true: NDArray[Any], names: Sequence[str]
) -> dict[str, dict[str, float | None]]:
    """Measure each target in its own units.

    Args:
        pred: (N, T).
        true: (N, T).
        names: One per target.

    Returns:
        Name → `mse` (units squared), `mae`, `rmse` (units) and `r2`. R² of a target that is
        constant here is None: there is nothing to explain.
    """
    truth = _as_2d(true)
    errors = _as_2d(pred) - truth
    mse, mae = np.mean(np.square(errors), axis=0), np.mean(np.abs(errors), axis=0)
    rows = zip(names, mse.tolist(), mae.tolist(), _r2(errors, truth), strict=True)
    return {
        name: {"mse": square, "mae": absolute, "rmse": math.sqrt(square), "r2": r2}
        for name, square, absolute, r2 in rows
    }


def summarise(per_target: Mapping[str, Mapping[str, float | None]]) -> dict[str, float | None]:
    """Average `target_metrics` over the targets.

    The units of different targets are mixed, so these numbers say something only in comparison
    with the same numbers of another trial on the same data.

    Returns:
        `mse` and `mae`, means over targets; `rmse`, the root of `mse`; `r2`, the mean over the
        targets that have one, or None.
    """
    mse = float(np.mean([_number(row["mse"]) for row in per_target.values()]))
    mae = float(np.mean([_number(row["mae"]) for row in per_target.values()]))
    r2 = _mean_r2([row["r2"] for row in per_target.values()])
    return {"mse": mse, "mae": mae, "rmse": math.sqrt(mse), "r2": None if math.isnan(r2) else r2}


def _r2(errors: NDArray[np.float64], true: NDArray[np.float64]) -> list[float | None]:
    """Return the coefficient of determination of each column, None for a constant one."""
    constant = true.max(axis=0) == true.min(axis=0)
    spread = np.sum(np.square(true - true.mean(axis=0)), axis=0)
    residual = np.sum(np.square(errors), axis=0)
    return [
        None if flat or total == 0 else 1.0 - rest / total
        for flat, rest, total in zip(
            constant.tolist(), residual.tolist(), spread.tolist(), strict=True
        )
    ]


def _mean_r2(values: Sequence[float | None]) -> float:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else math.nan


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _as_2d(values: NDArray[Any]) -> NDArray[np.float64]:
    wide = np.asarray(values, dtype=np.float64)
    if wide.ndim != 2 or not wide.size:
        raise ValueError(f"metrics need (N, T) with at least one sample, not {wide.shape}")
    return wide
