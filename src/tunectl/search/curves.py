"""Predicting where a learning curve ends from what it has shown so far.

Two shapes of decay are fitted by least squares, each epoch at its own place, so that nothing lags
and no spacing is assumed: `c + a·exp(−b·t)` and `c + a·t^(−b)`. The second is the `pow3` of the
eleven shapes that Domhan, Springenberg and Hutter (IJCAI 2015) extrapolate learning curves with;
as there, no shape is chosen, but all are averaged by how well they explain the curve. For each rate
b the best a and c follow from linear regression, so that b alone has to be searched (variable
projection: Golub and Pereyra, SIAM Journal on Numerical Analysis 10, 1973).

This module knows numbers only; `pruners.py` decides what to do with a prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEWEST_EPOCHS = 4
COARSE_RATES = 80
FINE_RATES = 80
# A curve may well go on at half the mean speed that it had; none is held to less than a tenth of
# what it has fallen already, which may be noise.
LIKELY_SPEED, LEAST_FALL = 0.5, 0.1
LEAST_WEIGHT = 1e-4
DAMPING = 0.9
_SHIFTS, _SHIFT_WEIGHTS = np.polynomial.hermite_e.hermegauss(7)


@dataclass(frozen=True, kw_only=True)
class Paths:
    """How a curve may go on, as m fitted curves over the f epochs to come, in the losses' units.

    Args:
        losses: Each curve's loss at each epoch, (m, f).
        weights: How likely each curve is; they sum to 1, (m,).
        scatter: Standard deviation of single epochs around it, (m,).
        error: Standard error of the curve itself at its end, as a multiple of `scatter`, (m,).
    """

    losses: Floats
    weights: Floats
    scatter: Floats
    error: Floats


def predict_final(epochs: Floats, losses: Floats, target: float) -> float:
    """Return the loss that a curve is likely to have at a later epoch.

    Args:
        epochs: Increasing, at least 1, (n,).
        losses: The loss at each of them, finite, lower is better, (n,).
        target: The epoch to predict; for one that is not later than the last, the last loss.

    Returns:
        The prediction: the mean over all curves that may explain the losses. A curve that does not
        fall at all is carried on by a straight line whose slope dies out. The last loss where
        there are too few epochs to fit anything.
    """
    if len(epochs) < FEWEST_EPOCHS or target <= epochs[-1]:
        return float(losses[-1])
    paths = carry_on(epochs, losses, np.array([float(target)]))
    if paths is None:
        return _extend_line(epochs, losses, target)
    return float(paths.weights @ paths.losses[:, -1])


def chance_of_reaching(epochs: Floats, losses: Floats, target: float, level: float) -> float:
    """Return how likely it is that the best of a curve's epochs gets as low as a level.

    A curve's best epoch lies below the curve by the luck of the best of many draws, so that a
    noisy curve may well reach what a smooth one with the same end never will.

    Args:
        epochs: Increasing, at least 1, (n,).
        losses: The loss at each of them, finite, lower is better, (n,).
        target: The last epoch.
        level: A loss.

    Returns:
        A probability, for errors that are normal and independent; 1 where an epoch was as low
        already, or where there are too few epochs to fit anything.
    """
    if float(losses.min()) <= level:
        return 1.0
    if target <= epochs[-1]:
        return 0.0
    if len(epochs) < FEWEST_EPOCHS:
        return 1.0
    from scipy.special import log_ndtr  # 0.1 s that no command needs in order to start

    future = np.arange(epochs[-1] + 1.0, np.floor(target) + 1.0)
    if len(future) == 0:
        return 0.0
    paths = carry_on(epochs, losses, future) or _level_off(losses, len(future))
    scatter = np.maximum(paths.scatter, 1e-12 + 1e-9 * np.abs(losses[-1]))
    never = 0.0
    for shift, weight in zip(_SHIFTS, _SHIFT_WEIGHTS / _SHIFT_WEIGHTS.sum(), strict=True):
        shifted = paths.losses + (shift * paths.error * scatter)[:, None]
        above = log_ndtr((shifted - level) / scatter[:, None]).sum(axis=1)
        never += float(weight * (paths.weights @ np.exp(above)))
    return min(max(1.0 - never, 0.0), 1.0)


def carry_on(epochs: Floats, losses: Floats, future: Floats) -> Paths | None:
    """Fit all curves of both shapes and carry them on.

    Args:
        epochs: Increasing, at least 1 and at least `FEWEST_EPOCHS` of them, (n,).
        losses: The loss at each of them, (n,).
        future: Later epochs, increasing, (f,).

    Returns:
        The curves that may explain the losses, None where no decay does.
    """
    # Later epochs say more about the end than the first steep fall does.
    shares = np.arange(1.0, len(epochs) + 1)
    shares /= shares.sum()
    scale = float(np.ptp(losses)) or 1.0
    fits = [
        _fit(shape, epochs, (losses - losses[-1]) / scale, shares, future)
        for shape in (_exponential, _power)
    ]
    paths, errors, widths, leverage = (
        np.concatenate([fit[index] for fit in fits]) for index in range(4)
    )
    falls = np.isfinite(errors)
    if not falls.any():
        return None
    freedom = max(len(epochs) - 3.0, 0.5)
    independent = 1.0 / float(shares @ shares)  # as many epochs of equal weight would say as much
    # Likelihood of a curve with its noise integrated out: error^(−freedom/2).
    score = np.log(widths[falls]) - 0.5 * freedom * np.log(errors[falls] + 1e-14)
    # A curve that still has far to fall is less likely than one that is almost there.
    ahead = (future[-1] - epochs[-1]) / (epochs[-1] - epochs[0])
    likely = max(LIKELY_SPEED * ahead, LEAST_FALL)
    score -= 0.5 * (np.minimum(paths[falls, -1], 0.0) / likely) ** 2
    weights = np.exp(score - score.max())
    weights /= weights.sum()
    kept = weights > LEAST_WEIGHT
    return Paths(
        losses=losses[-1] + scale * paths[falls][kept],
        weights=weights[kept] / weights[kept].sum(),
        scatter=scale * np.sqrt(errors[falls][kept] * len(epochs) / freedom),
        error=np.sqrt((1.0 + leverage[falls][kept]) / independent),
    )


def _exponential(epochs: Floats, rates: Floats, span: float) -> Floats:
    """Return exp(−b·t), b in units of the span of the seen curve, (r, n)."""
    basis: Floats = np.exp(-np.outer(rates / span, epochs - epochs[0]))
    return basis


def _power(epochs: Floats, rates: Floats, span: float) -> Floats:
    """Return t^(−b), b from 0.075 to 7.5 for rates from 0.3 to 30, (r, n)."""
    del span
    basis: Floats = np.exp(-np.outer(rates / 4, np.log(epochs)))
    return basis


def _fit(
    shape: Callable[[Floats, Floats, float], Floats],
    epochs: Floats,
    losses: Floats,
    shares: Floats,
    future: Floats,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Fit one shape at many rates, most of them around the best one.

    Returns:
        Paths (r, f), mean squared errors (r,), infinite where the curve does not fall, the part of
        the rates' logarithmic scale that each stands for (r,), and the squared distance of the
        last epoch from the seen ones in the regression, in standard deviations (r,).
    """
    # The slowest decay that differs from a straight line takes as long as twice what is to come.
    half_way = 0.5 * float((epochs[-1] - epochs[0]) / (future[-1] - epochs[-1]))
    slowest = min(0.3, half_way) if shape is _exponential else 0.3
    coarse = np.geomspace(slowest, 30.0, COARSE_RATES)
    errors = _regress(shape, epochs, losses, shares, future, coarse)[1]
    best = int(np.argmin(errors))
    low, high = coarse[max(best - 1, 0)], coarse[min(best + 1, COARSE_RATES - 1)]
    rates = np.union1d(coarse, np.geomspace(low, high, FINE_RATES))
    paths, errors, leverage = _regress(shape, epochs, losses, shares, future, rates)
    return paths, errors, np.gradient(np.log(rates)), leverage


def _regress(
    shape: Callable[[Floats, Floats, float], Floats],
    epochs: Floats,
    losses: Floats,
    shares: Floats,
    future: Floats,
    rates: Floats,
) -> tuple[Floats, Floats, Floats]:
    """Return paths, errors and squared distances, as `_fit` does, of given rates."""
    basis = shape(np.append(epochs, future), rates, float(epochs[-1] - epochs[0]))
    seen, ahead = basis[:, : len(epochs)], basis[:, len(epochs) :]
    mean_seen, mean_loss = seen @ shares, float(losses @ shares)
    centred = seen - mean_seen[:, None]
    variance = np.maximum((centred**2) @ shares, 1e-300)
    amplitude = (centred * (losses - mean_loss)) @ shares / variance
    residual = losses - mean_loss - amplitude[:, None] * centred
    errors = (residual**2) @ shares
    errors[(amplitude <= 0) | (variance < 1e-12)] = np.inf
    distance = ahead - mean_seen[:, None]
    paths = mean_loss + amplitude[:, None] * distance
    return paths, errors, distance[:, -1] ** 2 / variance


def _level_off(losses: Floats, ahead: int) -> Paths:
    """Return the path of a curve that does not fall: it stays where it has been of late."""
    shares = np.arange(1.0, len(losses) + 1)
    shares /= shares.sum()
    mean = float(losses @ shares)
    return Paths(
        losses=np.full((1, ahead), mean),
        weights=np.ones(1),
        scatter=np.array([np.sqrt(((losses - mean) ** 2) @ shares)]),
        error=np.array([np.sqrt(shares @ shares)]),
    )


def _extend_line(epochs: Floats, losses: Floats, target: float) -> float:
    """Carry a curve on by the slope of its last third, which dies out epoch by epoch."""
    recent = max(FEWEST_EPOCHS - 1, len(epochs) // 3)
    slope = float(np.polyfit(epochs[-recent:], losses[-recent:], 1)[0])
    ahead = target - epochs[-1]
    reach = (1.0 - DAMPING**ahead) * DAMPING / (1.0 - DAMPING)  # Σ DAMPING^k, k = 1 … ahead
    return float(losses[-1] + slope * reach)
