from __future__ import annotations

import numpy as np
import pytest

from tunectl.errors import DivergedError, ObjectiveError
from tunectl.training.divergence import check_epoch, constant_mse

GOOD = {"train_loss": 3.0, "val_mse": 0.5, "val_r2": 0.5}


def check(
    values: dict[str, float], *, metric: str = "val_mse", constant: float = 1.0, epoch: int = 3
) -> None:
    check_epoch(epoch, {**GOOD, **values}, metric=metric, explosion=1e6, constant=constant)


def test_good_numbers_pass() -> None:
    check({})
    check({"train_loss": 1e30})  # the loss has weights and units of its own
    check({"val_mse": 1e6})


@pytest.mark.parametrize("name", ["val_mse", "train_loss"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_finite_number_is_named_with_its_epoch(name: str, value: float) -> None:
    with pytest.raises(DivergedError, match=rf"{name} is {value} in epoch 3: .* has diverged; a"):
        check({name: value})


def test_an_explosion_is_measured_by_a_constant_guess() -> None:
    with pytest.raises(
        DivergedError, match=r"val_mse is 1e\+07 in epoch 3, more than 1e\+06 times"
    ):
        check({"val_mse": 1e7})
    check({"val_mse": 1e7}, constant=20.0)


def test_a_constant_guess_is_as_bad_as_the_validation_split_is_far_from_the_mean() -> None:
    assert constant_mse(np.full((4, 2), 3.0)) == 9.0
    assert constant_mse(np.zeros((4, 2))) == 1.0


def test_an_r2_that_does_not_exist_is_no_divergence() -> None:
    with pytest.raises(ObjectiveError, match="constant in the validation split") as raised:
        check({"val_r2": float("nan")}, metric="val_r2")
    assert not isinstance(raised.value, DivergedError)
    check({"val_r2": float("nan")})
