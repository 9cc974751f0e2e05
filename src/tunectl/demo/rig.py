"""The rig: ultrasonic pulse echoes from a pipe with slugs of gas, beads and water in it.

Two transducers stand 9 mm apart along the pipe and listen across it. Each pulse brings back (delays
from the transducer's face):

- the near wall's two faces at 6.7 and 8.9 µs, always;
- where water conducts, the far wall's two faces at 44 and 46.5 µs (8.9 µs + 2 · 26 mm / 1480 m/s
  = 44.0 µs);
- gas reflects everything: while a slug of gas passes, the far wall is missing and a strong echo
  stands at the gas surface, at 8.9 µs + 2 δ / c behind a film of water δ;
- beads scatter (weak echoes at their depths) and take from the far wall's echo.

The slugs pass both transducers at their own speed, U = j_g / α_g, the beads at theirs and the
turbulence at the water's: the delay between the transducers carries velocity, the share of time
without a far wall carries gas fraction.

What is simpler than a real rig: the slugs of water are 3 pipe diameters long, where developed ones
have 8 to 16 (Taitel, Barnea & Dukler 1980), so that a short recording holds several; the envelope
of the echoes is recorded, as 128 samples in 48 µs cannot hold the 4 MHz carrier; echoes do not echo
again.

This module knows nothing of files, of training or of the configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from tunectl.demo.contents import (
    BEAD_DIAMETER_M,
    PIPE_DIAMETER_M,
    Beads,
    Eddies,
    FloatArray,
    IntArray,
    Slugs,
)
from tunectl.demo.flow import TARGET_NAMES, FlowState, operating_points
from tunectl.errors import UsageError

Layout = Literal["1d", "2d"]
ComplexArray = npt.NDArray[np.complex128]

MAX_SAMPLES = 10_000
CHANNELS = 4
TRANSDUCER_CHANNELS = (0, 2)  # the other two hold rubbish, as on the rig
RUBBISH_LIMIT = 1.0e6

PULSES = 128
PULSE_RATE_HZ = 1000.0
PULSE_STEP_2D = 2  # the 2d layout keeps every second pulse, which keeps its file small
TIMES = 128
WINDOW_US = 48.0
US_PER_TIME = WINDOW_US / TIMES

TRANSDUCER_SPACING_M = 0.009
BEAM_WIDTH_M = 0.005
SOUND_SPEED_M_S = 1480.0
CARRIER_MHZ = 4.0
ECHO_SIGMA_US = 0.42  # 4 cycles of 4 MHz: 1 µs wide at half its height
MAX_VOLTAGE = 2.0

NEAR_WALL_US = (6.7, 8.9)
NEAR_WALL_V = (1.8, 0.9)
FAR_WALL_US = (44.0, 46.5)
FAR_WALL_V = (0.9, 0.5)
GAS_SURFACE_V = 1.1
FAR_WALL_GATE_US = (42.5, 48.0)
GAS_SURFACE_GATE_US = (9.75, 28.0)

BEAD_ECHO_V = 0.12
BEAD_SHADOW = 0.12
EDDY_STRENGTH = 0.15  # of the far wall's echo
RIPPLE_STRENGTH = 0.15  # of the film's thickness
WAKE_STRENGTH = 0.4  # of the far wall's echo, right behind a slug: small bubbles
COUPLING_SPREAD = 0.15  # of the coupling of transducer and pipe, from one recording to the next
NOISE_V = 0.02

_REACH = np.arange(-4, 5)  # an echo's envelope reaches ±4 time samples, over 3.5 sigma


@dataclass(frozen=True)
class Recording:
    """What the rig recorded, and what the flow was.

    Args:
        x: Signals, float32: (N, 4, pulses, time) in volts for the layout `2d`, (N, 4, pulses) in
            V²·µs for `1d`. Channels 1 and 3 hold rubbish between ±1e6.
        t: Targets (N, 6), float32: velocities in m/s, fractions of 1.
        target_names: One name per column of `t`.
    """

    x: npt.NDArray[np.float32]
    t: npt.NDArray[np.float32]
    target_names: tuple[str, ...] = TARGET_NAMES


def simulate(layout: Layout, samples: int, seed: int) -> Recording:
    """Record many operating points.

    Both layouts are views of one simulation: the same seed gives the same flows and echoes. Sample
    i depends on the seed and on i alone, not on how many samples are asked for.

    Args:
        layout: `2d`, the echo envelope within every second pulse; or `1d`, one number for every
            pulse: the energy in the far wall's gate less that in the gas surface's gate.
        samples: Number of recordings, 1 to `MAX_SAMPLES`.
        seed: 0 or more.

    Raises:
        UsageError: an argument is out of its range.
    """
    check_arguments(layout, samples, seed)
    states = operating_points(samples, seed)
    shape = (PULSES,) if layout == "1d" else (PULSES // PULSE_STEP_2D, TIMES)
    x = np.empty((samples, CHANNELS, *shape), dtype=np.float32)
    for index, state in enumerate(states):
        random = _generator(seed, index)
        envelope = record(state, random)
        rubbish = random.standard_cauchy((CHANNELS - len(TRANSDUCER_CHANNELS), *shape))
        x[index, 1::2] = np.clip(rubbish * RUBBISH_LIMIT, -RUBBISH_LIMIT, RUBBISH_LIMIT)
        x[index, 0::2] = gated_energy(envelope) if layout == "1d" else envelope[:, ::PULSE_STEP_2D]
    return Recording(x, np.asarray([state.targets for state in states], dtype=np.float32))


def check_arguments(layout: str, samples: int, seed: int) -> None:
    """Raise UsageError for arguments that `simulate` cannot take."""
    if layout not in get_args(Layout):
        raise UsageError(f"layout {layout!r} is unknown; valid: {', '.join(get_args(Layout))}")
    if not 1 <= samples <= MAX_SAMPLES:
        raise UsageError(f"samples must be 1 to {MAX_SAMPLES}, not {samples}")
    if seed < 0:
        raise UsageError(f"seed must be 0 or more, not {seed}")


def record(state: FlowState, random: np.random.Generator) -> FloatArray:
    """Record one operating point.

    Args:
        state: The flow.
        random: Gives the slugs, beads, eddies and noise.

    Returns:
        Envelope of the echoes (transducer, pulse, time), 0 to 2 V.
    """
    coupling = np.exp(COUPLING_SPREAD * random.standard_normal())
    pipe = _Pipe.draw(state, random)
    signals = []
    for place_m in (0.0, TRANSDUCER_SPACING_M):
        noise = random.standard_normal((2, PULSES, TIMES)) * NOISE_V
        signals.append(coupling * pipe.echoes(place_m) + noise[0] + 1j * noise[1])
    return np.asarray(np.minimum(np.abs(np.stack(signals)), MAX_VOLTAGE))


def gated_energy(envelope: FloatArray) -> FloatArray:
    """Return each pulse's energy in the far wall's gate less that in the gas surface's, V²·µs.

    Args:
        envelope: Echoes (…, pulse, time), V.

    Returns:
        (…, pulse): above zero while water conducts to the far wall, below while gas is before it.
    """
    energy = envelope**2 * US_PER_TIME
    delay_us = np.arange(TIMES) * US_PER_TIME
    gates = [(delay_us >= a) & (delay_us < b) for a, b in (FAR_WALL_GATE_US, GAS_SURFACE_GATE_US)]
    far, surface = (energy[..., gate].sum(axis=-1) for gate in gates)
    return np.asarray(far - surface)


@dataclass(frozen=True)
class _Pipe:
    """What passes the transducers in one recording."""

    state: FlowState
    slugs: Slugs
    beads: Beads
    eddies: Eddies

    @classmethod
    def draw(cls, state: FlowState, random: np.random.Generator) -> _Pipe:
        duration_s = PULSES / PULSE_RATE_HZ
        slugs = Slugs.draw(state, state.bubble_velocity * duration_s, random)
        beads = Beads.draw(state, state.bead_speed * duration_s, BEAM_WIDTH_M, random)
        return cls(state, slugs, beads, Eddies.draw(random))

    def echoes(self, place_m: float) -> ComplexArray:
        """Return what a transducer at `place_m` along the pipe hears, complex (pulse, time), V."""
        moments_s = _moments_s()
        nose_m, tail_m = self.slugs.behind(self.state.bubble_velocity * moments_s - place_m)
        ripple = self.eddies.at(self.state.water_speed * moments_s - place_m)
        gas = tail_m < 0
        echoes = _Echoes()
        echoes.add_walls(NEAR_WALL_US, NEAR_WALL_V, np.ones(PULSES))
        echoes.add_gas_surface(np.flatnonzero(gas), self.slugs.film_m, nose_m[gas], ripple[gas])
        shadow = self._add_beads(echoes, place_m, gas)
        wake = 1 - WAKE_STRENGTH * np.exp(-np.abs(tail_m) / PIPE_DIAMETER_M)
        echoes.add_walls(
            FAR_WALL_US, FAR_WALL_V, ~gas * wake * shadow * (1 + EDDY_STRENGTH * ripple)
        )
        return echoes.signal

    def _add_beads(self, echoes: _Echoes, place_m: float, gas: npt.NDArray[np.bool_]) -> FloatArray:
        """Add the beads' echoes and return what they leave of the far wall's, per pulse."""
        passed_m = self.state.bead_speed * _moments_s() - place_m
        pulse, bead = self.beads.within(passed_m, BEAM_WIDTH_M)
        seen = ~gas[pulse]
        pulse, bead = pulse[seen], bead[seen]
        off_axis = (self.beads.places_m[bead] - passed_m[pulse]) / (BEAM_WIDTH_M / 2)
        weight = np.exp(-(off_axis**2)) * (self.beads.sizes_m[bead] / BEAD_DIAMETER_M[1]) ** 2
        delay_us = NEAR_WALL_US[1] + _round_trip_us(self.beads.depths_m[bead])
        echoes.add(pulse, delay_us, BEAD_ECHO_V * weight)
        return np.asarray(np.exp(-BEAD_SHADOW * np.bincount(pulse, weight, minlength=PULSES)))


class _Echoes:
    """The sum of echoes, demodulated from the carrier: complex (pulse, time), in V."""

    def __init__(self) -> None:
        self.signal: ComplexArray = np.zeros((PULSES, TIMES), dtype=np.complex128)

    def add(self, pulse: IntArray, delay_us: FloatArray, voltage: FloatArray) -> None:
        """Add echoes, each A · exp(−(t − τ)² / 2 σ²) · exp(−2 π i f τ).

        Args:
            pulse: Index of the pulse that each belongs to (echoes,).
            delay_us: τ (echoes,); what falls out of the window is lost.
            voltage: A (echoes,).
        """
        time = np.rint(delay_us / US_PER_TIME).astype(np.intp)[:, None] + _REACH
        distance = (time * US_PER_TIME - delay_us[:, None]) / ECHO_SIGMA_US
        shape = np.exp(-(distance**2) / 2) * voltage[:, None]
        value = shape * np.exp(-2j * np.pi * CARRIER_MHZ * delay_us)[:, None]
        heard = (time >= 0) & (time < TIMES)
        rows = np.broadcast_to(pulse[:, None], time.shape)[heard]
        np.add.at(self.signal, (rows, time[heard]), value[heard])

    def add_walls(
        self, delays_us: tuple[float, ...], voltages: tuple[float, ...], factor: FloatArray
    ) -> None:
        """Add a wall's faces to every pulse, times `factor` (pulses,)."""
        pulses = np.arange(PULSES)
        for delay_us, voltage in zip(delays_us, voltages, strict=True):
            self.add(pulses, np.full(PULSES, delay_us), voltage * factor)

    def add_gas_surface(
        self, pulse: IntArray, film_m: float, nose_m: FloatArray, ripple: FloatArray
    ) -> None:
        """Add the echo of a slug's surface, whose round nose falls from the axis to the film.

        Args:
            pulse: The pulses that meet gas.
            film_m: Thickness of the film far behind the nose.
            nose_m: Distance behind the nose, for each of those pulses.
            ripple: Waves on the film, mean 0 and variance 1, for each.
        """
        nose = np.exp(-nose_m / (PIPE_DIAMETER_M / 2))
        smooth_m = film_m + (PIPE_DIAMETER_M / 2 - film_m) * nose
        depth_m = smooth_m * (1 + RIPPLE_STRENGTH * np.clip(ripple, -3, 3))
        self.add(pulse, NEAR_WALL_US[1] + _round_trip_us(depth_m), GAS_SURFACE_V * (1 - nose / 2))


def _moments_s() -> FloatArray:
    return np.arange(PULSES, dtype=np.float64) / PULSE_RATE_HZ


def _round_trip_us(depth_m: FloatArray) -> FloatArray:
    return 2.0e6 * depth_m / SOUND_SPEED_M_S


def _generator(seed: int, index: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(index,))))
