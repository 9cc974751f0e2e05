"""Where a learning curve ends, predicted from its beginning, on families of decays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from tunectl.search.curves import chance_of_reaching, predict_final

Floats = NDArray[np.float64]
EPOCHS: Floats = np.arange(1.0, 51.0)
TARGET = 50.0
SEEN = (8, 12, 20, 30, 40)


def decays(shape: str, count: int = 60) -> Iterator[Floats]:
    """Yield noise-free curves that fall by 0.3 to 3 to an end of 0.05 to 1."""
    random = np.random.default_rng(1)
    for _ in range(count):
        fall, end, rate = random.uniform(0.3, 3), random.uniform(0.05, 1), random.uniform()
        if shape == "exponential":
            yield end + fall * np.exp(-(0.03 + 0.27 * rate) * EPOCHS)
        else:
            yield end + fall * EPOCHS ** -(0.3 + 1.2 * rate)


def median_errors(shape: str, noise: float) -> list[float]:
    """Return the median relative error of the predicted end after 8, 12, 20, 30 and 40 epochs."""
    random = np.random.default_rng(2)
    curves = [(curve, random.standard_normal(len(EPOCHS))) for curve in decays(shape)]
    medians = []
    for n in SEEN:
        ends = [
            (predict_final(EPOCHS[:n], (curve * (1 + noise * z))[:n], TARGET), curve[-1])
            for curve, z in curves
        ]
        medians.append(float(np.median([abs(end - true) / true for end, true in ends])))
    return medians


@pytest.mark.parametrize(
    ("shape", "noise", "bounds"),
    [
        ("exponential", 0.0, (0.002, 0.001, 0.001, 0.001, 0.001)),
        ("power", 0.0, (0.002, 0.001, 0.001, 0.001, 0.001)),
        ("exponential", 0.03, (0.6, 0.3, 0.06, 0.02, 0.015)),
        ("power", 0.03, (0.12, 0.06, 0.03, 0.02, 0.015)),
    ],
)
def test_the_median_error_falls_as_epochs_come_in(
    shape: str, noise: float, bounds: tuple[float, ...]
) -> None:
    errors = median_errors(shape, noise)

    assert all(error <= bound for error, bound in zip(errors, bounds, strict=True)), errors
    assert errors == sorted(errors, reverse=True)


def test_scaling_and_shifting_a_curve_scales_and_shifts_the_prediction() -> None:
    curve = next(decays("power"))[:15]

    plain = predict_final(EPOCHS[:15], curve, TARGET)
    moved = predict_final(EPOCHS[:15], 1e3 * curve - 7, TARGET)

    assert moved == pytest.approx(1e3 * plain - 7)


def test_missing_epochs_are_no_harm() -> None:
    curve = next(decays("exponential"))
    some = np.array([0, 1, 3, 4, 8, 9, 13, 14])

    assert predict_final(EPOCHS[some], curve[some], TARGET) == pytest.approx(curve[-1], rel=0.01)


@pytest.mark.parametrize("curve", [[3.0], [3.0, 2.0, 1.5], [2.0, 2.0, 2.0, 2.0, 2.0]])
def test_with_nothing_to_fit_the_last_loss_is_the_prediction(curve: list[float]) -> None:
    losses = np.array(curve)

    assert predict_final(EPOCHS[: len(losses)], losses, TARGET) == pytest.approx(losses[-1])


def test_a_curve_that_rises_goes_on_rising_for_a_while() -> None:
    losses = 1 + 0.01 * EPOCHS[:20]

    end = predict_final(EPOCHS[:20], losses, TARGET)

    assert losses[-1] < end < losses[-1] + 0.1


def test_a_target_in_the_past_is_the_last_loss() -> None:
    curve = next(decays("power"))

    assert predict_final(EPOCHS, curve, 20.0) == curve[-1]
    assert chance_of_reaching(EPOCHS, curve, 20.0, curve[-1] - 0.01) == 0.0
    assert chance_of_reaching(EPOCHS, curve, 20.0, curve[-1]) == 1.0


def test_a_smooth_curve_reaches_what_lies_above_its_end_and_nothing_below() -> None:
    for shape in ("exponential", "power"):
        for curve in decays(shape, 20):
            fall = curve[14] - curve[-1]
            above, below = curve[-1] + 0.1 * fall, curve[-1] - 0.1 * fall - 0.01
            assert chance_of_reaching(EPOCHS[:15], curve[:15], TARGET, above) > 0.9
            assert chance_of_reaching(EPOCHS[:15], curve[:15], TARGET, below) < 0.1


def test_the_best_of_many_noisy_epochs_lies_below_the_curve() -> None:
    random = np.random.default_rng(3)
    level = 1 + 0.1 * random.standard_normal(len(EPOCHS))

    seen, best = level[:20], float(level[:20].min())

    assert chance_of_reaching(EPOCHS[:20], seen, 200.0, best - 0.02) > 0.3
    assert chance_of_reaching(EPOCHS[:20], seen, 21.0, best - 0.02) < 0.1
    assert chance_of_reaching(EPOCHS[:20], seen, 200.0, 0.2) < 0.01


def test_the_chance_is_about_how_often_it_happens() -> None:
    random = np.random.default_rng(4)
    chances, reached = [], []
    for curve in decays("power", 200):
        noisy = curve * (1 + 0.02 * random.standard_normal(len(EPOCHS)))
        level = float(curve[-1] * random.uniform(0.92, 1.0))
        chances.append(chance_of_reaching(EPOCHS[:15], noisy[:15], TARGET, level))
        reached.append(bool(noisy.min() <= level))
    sure, unsure = np.array(chances) < 0.1, np.array(chances) > 0.5

    assert sure.sum() > 20
    assert np.mean(np.array(reached)[sure]) < 0.15
    assert np.mean(np.array(reached)[unsure]) > 0.4
