from __future__ import annotations

import pytest
import torch

from tunectl.training.losses import WeightedMSELoss


def test_the_loss_by_hand() -> None:
    loss = WeightedMSELoss([5.0, 1.0])
    predicted = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    assert float(loss(predicted, torch.zeros(2, 2))) == pytest.approx((5 * 1 + 1 * 9) / 4)


def test_weights_of_one_are_the_plain_mean_squared_error() -> None:
    predicted, true = torch.randn(4, 3), torch.randn(4, 3)
    expected = torch.nn.functional.mse_loss(predicted, true)
    torch.testing.assert_close(WeightedMSELoss([1, 1, 1])(predicted, true), expected)


def test_ten_times_the_weights_are_ten_times_the_loss() -> None:
    predicted, true = torch.randn(4, 2), torch.randn(4, 2)
    small, large = WeightedMSELoss([0.5, 2.0]), WeightedMSELoss([5.0, 20.0])
    torch.testing.assert_close(large(predicted, true), 10 * small(predicted, true))


@pytest.mark.parametrize(
    ("predicted", "true"), [((4, 3), (4, 3)), ((4, 2), (4, 1)), ((4, 2), (2,)), ((2,), (2,))]
)
def test_shapes_that_do_not_fit_are_named(
    predicted: tuple[int, ...], true: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"there are 2 weights"):
        WeightedMSELoss([1, 1])(torch.zeros(predicted), torch.zeros(true))


@pytest.mark.parametrize("weights", [[], [1.0, -1.0], [float("nan")]])
def test_weights_that_make_no_loss(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        WeightedMSELoss(weights)
