"""What is in the pipe: slugs of gas, beads and eddies, as frozen patterns that the flow carries.

Each pattern is drawn once per recording along the pipe and then only moved, each at its own speed
(Taylor's hypothesis of frozen turbulence, 1938). This module knows nothing of ultrasound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tunectl.demo.flow import FlowState

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

PIPE_DIAMETER_M = 0.026
WATER_SLUG_LENGTH_M = 3 * PIPE_DIAMETER_M
SLUG_SHAPE = 16.0  # of the gamma distribution of lengths: they scatter by 25 %
THIN_SHARE, THICK_SHARE = 0.70, 0.95  # of a slug's cross-section that is gas, at α_g = 0 and 1
BEAD_DIAMETER_M = (0.0025, 0.005)
EDDY_LENGTH_M = 0.009
EDDY_MODES = 48


@dataclass(frozen=True)
class Slugs:
    """Slugs of gas along the pipe; positions are lengths that have passed since some moment.

    Args:
        noses_m: Where each begins, ascending.
        tails_m: Where each ends, before the next one's nose.
        film_m: Thickness of the water between a slug and the wall, far behind its nose.
    """

    noses_m: FloatArray
    tails_m: FloatArray
    film_m: float

    @classmethod
    def draw(cls, state: FlowState, length_m: float, random: np.random.Generator) -> Slugs:
        """Draw slugs for a length of pipe, 0 to `length_m`.

        A slug's cross-section holds the share r of gas, more where there is more gas. Slugs of gas
        and of water alternate, and those of gas have the share β = α_g / r of the length, so that
        the mean gas fraction is the state's; the rounding of the noses is left out of that balance.
        The film's thickness δ follows from r = (1 − 2 δ / D)².
        """
        if state.gas_fraction == 0:
            return cls(np.empty(0), np.empty(0), 0.0)
        share = THIN_SHARE + (THICK_SHARE - THIN_SHARE) * state.gas_fraction
        gas_share = state.gas_fraction / share
        unit_m = WATER_SLUG_LENGTH_M / (1 - gas_share)
        units = 2 * int(length_m / unit_m) + 12  # more than enough: their lengths scatter
        lengths = random.gamma(SLUG_SHAPE, 1 / SLUG_SHAPE, (2, units))
        gas_m = lengths[0] * unit_m * gas_share
        water_m = lengths[1] * WATER_SLUG_LENGTH_M
        starts = np.concatenate([[0.0], np.cumsum(gas_m + water_m)[:-1]])
        noses = starts - (2 + random.random()) * unit_m
        return cls(noses, noses + gas_m, PIPE_DIAMETER_M / 2 * (1 - float(np.sqrt(share))))

    def behind(self, passed_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the distances behind the last slug's nose and tail.

        Args:
            passed_m: Lengths that have passed, any shape.

        Returns:
            Distance behind the nose and behind the tail, m; the latter is negative inside a slug.
            Both are infinite where there are no slugs.
        """
        if self.noses_m.size == 0:
            return np.full_like(passed_m, np.inf), np.full_like(passed_m, np.inf)
        last = np.searchsorted(self.noses_m, passed_m, side="right") - 1
        return passed_m - self.noses_m[last], passed_m - self.tails_m[last]


@dataclass(frozen=True)
class Beads:
    """Beads in that part of the pipe which the sound beam sweeps.

    Args:
        places_m: Where each is along the pipe, ascending.
        depths_m: Distance from the near wall.
        sizes_m: Diameter.
    """

    places_m: FloatArray
    depths_m: FloatArray
    sizes_m: FloatArray

    @classmethod
    def draw(
        cls, state: FlowState, length_m: float, width_m: float, random: np.random.Generator
    ) -> Beads:
        """Draw beads for a length of pipe, `-width_m` to `length_m`.

        Their number is Poisson's, with the mean c · D · b · length / V for a share c of the slurry,
        a beam of width b through the diameter D, and a mean volume V = π / 6 · E[d³].
        """
        low, high = BEAD_DIAMETER_M
        volume = np.pi / 6 * (high**4 - low**4) / (4 * (high - low))
        swept = PIPE_DIAMETER_M * width_m * (length_m + 2 * width_m)
        count = random.poisson(state.beads_in_slurry * swept / volume)
        places = np.sort(random.uniform(-width_m, length_m + width_m, count))
        depths = random.uniform(0, PIPE_DIAMETER_M, count)
        return cls(places, depths, random.uniform(low, high, count))

    def within(self, passed_m: FloatArray, reach_m: float) -> tuple[IntArray, IntArray]:
        """Return every pair of a moment and a bead that is in reach at it.

        Args:
            passed_m: Lengths that have passed (moments,).
            reach_m: Distance up to which a bead counts.

        Returns:
            Indices into `passed_m` and into the beads, of the same length.
        """
        first = np.searchsorted(self.places_m, passed_m - reach_m)
        counts = np.searchsorted(self.places_m, passed_m + reach_m) - first
        moment = np.repeat(np.arange(passed_m.size), counts)
        earlier = np.cumsum(counts) - counts
        return moment, np.arange(moment.size) - earlier[moment] + first[moment]


@dataclass(frozen=True)
class Eddies:
    """A smooth random field along the pipe, of mean 0 and variance 1.

    A sum of cosines whose wavenumbers are normal with spread 1 / ℓ: its correlation is that of a
    Gaussian of length ℓ (random Fourier features, Rahimi & Recht 2007).

    Args:
        wavenumbers_per_m: (modes,)
        phases: (modes,)
    """

    wavenumbers_per_m: FloatArray
    phases: FloatArray

    @classmethod
    def draw(cls, random: np.random.Generator) -> Eddies:
        """Draw a field."""
        wavenumbers = random.standard_normal(EDDY_MODES) / EDDY_LENGTH_M
        return cls(wavenumbers, random.uniform(0, 2 * np.pi, EDDY_MODES))

    def at(self, passed_m: FloatArray) -> FloatArray:
        """Return the field's values at lengths that have passed (moments,)."""
        angles = passed_m[:, None] * self.wavenumbers_per_m + self.phases
        return np.asarray(np.sqrt(2 / EDDY_MODES) * np.cos(angles).sum(axis=1))
