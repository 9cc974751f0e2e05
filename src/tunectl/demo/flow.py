"""Operating points of the rig: superficial velocities and volume fractions that belong together.

Upward flow of water, air and beads in a vertical pipe, in steady state. This module knows nothing
of ultrasound, of arrays of signals or of files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TARGET_NAMES = (
    "solid_velocity",
    "gas_velocity",
    "liquid_velocity",
    "solid_fraction",
    "gas_fraction",
    "liquid_fraction",
)

LIQUID_VELOCITY_M_S = (1.86, 6.43)
GAS_VELOCITY_M_S = (0.3, 65.9)
SHARE_WITHOUT_GAS = 1 / 3
SHARE_WITHOUT_SOLIDS = 1 / 10
MAX_SOLID_FRACTION = 0.225
MAX_SOLID_FRACTION_WITH_GAS = 0.062
MAX_BEADS_IN_SLURRY = 0.305  # a share of the slurry (water and beads), not of the whole pipe

DISTRIBUTION_PARAMETER = 1.096
DRIFT_VELOCITY_M_S = 0.995
SETTLING_VELOCITY_M_S = 0.3
SETTLING_EXPONENT = 2.4

_SKEW_GAS = 1.5  # exponents above 1 put most operating points near the lower end of a range
_SKEW_SOLIDS = 2.0


@dataclass(frozen=True, kw_only=True)
class FlowState:
    """One steady operating point.

    Args:
        solid_velocity: Superficial velocity of the beads, m/s (volume flow over the pipe's area).
        gas_velocity: Superficial velocity of the air, m/s.
        liquid_velocity: Superficial velocity of the water, m/s.
        solid_fraction: Share of the pipe's volume that is beads.
        gas_fraction: Share that is air.
        liquid_fraction: Share that is water; the three sum to 1.
    """

    solid_velocity: float
    gas_velocity: float
    liquid_velocity: float
    solid_fraction: float
    gas_fraction: float
    liquid_fraction: float

    @property
    def targets(self) -> tuple[float, ...]:
        """The six numbers in the order of `TARGET_NAMES`."""
        return tuple(getattr(self, name) for name in TARGET_NAMES)

    @property
    def mixture_velocity(self) -> float:
        """Sum of the superficial velocities, m/s."""
        return self.solid_velocity + self.gas_velocity + self.liquid_velocity

    @property
    def bubble_velocity(self) -> float:
        """Speed at which the slugs of gas pass, m/s: Nicklin et al. (1962), see `gas_fraction`."""
        return DISTRIBUTION_PARAMETER * self.mixture_velocity + DRIFT_VELOCITY_M_S

    @property
    def water_speed(self) -> float:
        """Mean speed of the water itself, m/s."""
        return self.liquid_velocity / self.liquid_fraction

    @property
    def bead_speed(self) -> float:
        """Mean speed of the beads themselves, m/s; 0 where there are none."""
        return self.solid_velocity / self.solid_fraction if self.solid_fraction > 0 else 0.0

    @property
    def beads_in_slurry(self) -> float:
        """Share of the slurry (water and beads without the gas) that is beads."""
        return self.solid_fraction / (self.solid_fraction + self.liquid_fraction)


def flow_state(liquid_velocity: float, gas_velocity: float, beads: float) -> FlowState:
    """Return the steady state that belongs to what is fed into the pipe.

    Args:
        liquid_velocity: Superficial velocity of the water, m/s.
        gas_velocity: Superficial velocity of the air, m/s; 0 for none.
        beads: Share of the slurry (water and beads) that is beads, 0 to 1 (exclusive).

    Returns:
        The state; its fractions sum to 1.
    """
    alpha_g = gas_fraction(liquid_velocity, gas_velocity, beads)
    alpha_s = beads * (1 - alpha_g)
    return FlowState(
        solid_velocity=solid_velocity(liquid_velocity, alpha_g, beads),
        gas_velocity=gas_velocity,
        liquid_velocity=liquid_velocity,
        solid_fraction=alpha_s,
        gas_fraction=alpha_g,
        liquid_fraction=1 - alpha_g - alpha_s,
    )


def solid_velocity(liquid_velocity: float, alpha_g: float, beads: float) -> float:
    """Return the beads' superficial velocity, m/s.

    The beads rise with the slurry less their settling velocity, v_s = (j_l + j_s) / (1 − α_g) − w,
    and j_s = c (1 − α_g) v_s; solved for j_s. Settling among other beads is slower:
    w = w₀ (1 − c)^2.4 (Richardson & Zaki 1954, Newton's regime, wall effect left out).

    Args:
        liquid_velocity: Superficial velocity of the water j_l, m/s.
        alpha_g: Gas fraction.
        beads: Share c of the slurry that is beads.
    """
    return beads / (1 - beads) * (liquid_velocity - _settling_velocity(beads) * (1 - alpha_g))


def gas_fraction(liquid_velocity: float, gas_velocity: float, beads: float) -> float:
    """Return the gas fraction after the drift-flux law.

    The law is j_g / α_g = 1.096 (j_s + j_g + j_l) + 0.995. Its form is that of Nicklin, Wilkes
    & Davidson (1962) and Zuber & Findlay (1965); its two numbers were fitted to a rig's data.
    As j_s depends on α_g a little (see `solid_velocity`), it is a quadratic,
    a α_g² + b α_g − j_g = 0; its positive root is taken in the form without cancellation.

    Args:
        liquid_velocity: Superficial velocity of the water j_l, m/s.
        gas_velocity: Superficial velocity of the air j_g, m/s.
        beads: Share of the slurry that is beads.
    """
    ratio = beads / (1 - beads)
    settling = _settling_velocity(beads)
    a = DISTRIBUTION_PARAMETER * ratio * settling
    slurry = liquid_velocity + ratio * (liquid_velocity - settling)
    b = DISTRIBUTION_PARAMETER * (gas_velocity + slurry) + DRIFT_VELOCITY_M_S
    return 2 * gas_velocity / (b + math.sqrt(b * b + 4 * a * gas_velocity))


def operating_points(samples: int, seed: int) -> list[FlowState]:
    """Return a test plan that covers the rig's ranges evenly, however long it is.

    The plan is a Kronecker sequence with the generalised golden ratio (Roberts 2018), shifted by
    the seed: point i = frac(offset + (i + 1) α). A prefix of a longer plan is the shorter plan, and
    the shares of points without gas (a third) and without beads (a tenth) hold for every prefix.

    Args:
        samples: Number of points.
        seed: Shifts the whole plan.
    """
    offset = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed))).random(5)
    steps = np.arange(1, samples + 1)[:, None] * _kronecker_steps(5)[None, :]
    return [_point(row) for row in ((offset + steps) % 1.0).tolist()]


def _point(plan: Sequence[float]) -> FlowState:
    has_gas, has_beads, liquid, gas, beads = plan
    low, high = LIQUID_VELOCITY_M_S
    j_l = low + (high - low) * liquid
    low, high = GAS_VELOCITY_M_S
    j_g = low + (high - low) * gas**_SKEW_GAS if has_gas >= SHARE_WITHOUT_GAS else 0.0
    most = _most_beads(j_l, j_g)
    return flow_state(
        j_l, j_g, most * beads**_SKEW_SOLIDS if has_beads >= SHARE_WITHOUT_SOLIDS else 0.0
    )


def _most_beads(liquid_velocity: float, gas_velocity: float) -> float:
    """Return how much of the slurry may be beads so that the solid fraction keeps its bounds."""
    if gas_velocity == 0:
        return MAX_SOLID_FRACTION
    # α_g falls with the beads, so 1 − α_g is largest, and the bound safe, at the highest share.
    least_gas = gas_fraction(liquid_velocity, gas_velocity, MAX_BEADS_IN_SLURRY)
    return min(MAX_BEADS_IN_SLURRY, MAX_SOLID_FRACTION_WITH_GAS / (1 - least_gas))


def _settling_velocity(beads: float) -> float:
    return float(SETTLING_VELOCITY_M_S * (1 - beads) ** SETTLING_EXPONENT)


def _kronecker_steps(dimensions: int) -> npt.NDArray[np.float64]:
    """Return φ⁻¹, φ⁻² …, φ the root of φ^(d+1) = φ + 1, by its fixed-point iteration."""
    phi = 2.0
    for _ in range(64):
        phi = (1 + phi) ** (1 / (dimensions + 1))
    return np.asarray([phi**-power for power in range(1, dimensions + 1)])
