from __future__ import annotations

import math

import numpy as np
import pytest

from tunectl.training.data import Scaler
from tunectl.training.metrics import ranking_metrics, summarise, target_metrics

TRUE = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 8.0]])
PRED = np.array([[1.0, 1.0], [2.0, 1.0], [4.0, 8.0]])


def test_ranking_metrics_by_hand() -> None:
    metrics = ranking_metrics(PRED, TRUE)
    assert metrics["val_mse"] == pytest.approx(5 / 6)
    assert metrics["val_mae"] == pytest.approx(3 / 6)
    assert metrics["val_rmse"] == pytest.approx(math.sqrt(5 / 6))
    assert metrics["val_r2"] == pytest.approx(((1 - 1 / 8) + (1 - 4 / 26)) / 2)


def test_target_metrics_are_per_target_in_its_own_units() -> None:
    rows = target_metrics(PRED, TRUE, ["a", "b"])
    assert rows["b"] == pytest.approx(
        {"mse": 4 / 3, "mae": 2 / 3, "rmse": math.sqrt(4 / 3), "r2": 1 - 4 / 26}
    )


def test_a_constant_target_has_no_r2_and_does_not_spoil_the_mean() -> None:
    true = TRUE.copy()
    true[:, 0] = 0.1
    assert target_metrics(PRED, true, ["a", "b"])["a"]["r2"] is None
    assert ranking_metrics(PRED, true)["val_r2"] == pytest.approx(1 - 4 / 26)
    assert summarise(target_metrics(PRED, true, ["a", "b"]))["r2"] == pytest.approx(1 - 4 / 26)


def test_only_constant_targets_have_no_mean_r2() -> None:
    true = np.ones((3, 2))
    assert math.isnan(ranking_metrics(PRED, true)["val_r2"])
    assert summarise(target_metrics(PRED, true, ["a", "b"]))["r2"] is None


def test_predictions_that_are_no_numbers_show() -> None:
    pred = PRED.copy()
    pred[0, 0] = math.nan
    assert math.isnan(ranking_metrics(pred, TRUE)["val_mse"])


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_the_units_of_the_targets_do_not_change_the_ranking(unit: float) -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(3, 2, size=(40, 2)).astype(np.float32)
    pred = true + rng.normal(0, 0.5, size=(40, 2)).astype(np.float32)
    train = np.arange(25)

    def ranked(scale: float) -> dict[str, float]:
        own_true = (true * scale).astype(np.float32)
        own_pred = (pred * scale).astype(np.float32)
        scaler = Scaler.fit(own_true, train)
        return ranking_metrics(scaler.standardise(own_pred[25:]), scaler.standardise(own_true[25:]))

    assert ranked(unit) == pytest.approx(ranked(1.0), rel=1e-5)


def test_metrics_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        ranking_metrics(np.zeros((0, 2)), np.zeros((0, 2)))
