"""The simulated recordings: what a network could learn from them, and that they can be repeated."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from tunectl.demo.contents import Beads, Eddies, Slugs
from tunectl.demo.flow import TARGET_NAMES, FlowState, flow_state
from tunectl.demo.rig import PULSE_RATE_HZ, US_PER_TIME, gated_energy, record, simulate
from tunectl.errors import UsageError

WATER = flow_state(3.0, 0.0, 0.0)
SLOW_SLUGS = flow_state(1.9, 1.5, 0.0)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def gate(envelope: np.ndarray, from_us: float, to_us: float) -> np.ndarray:
    """Return the highest voltage of each pulse between two delays (transducer, pulse)."""
    highest: np.ndarray = envelope[
        ..., round(from_us / US_PER_TIME) : round(to_us / US_PER_TIME)
    ].max(axis=-1)
    return highest


def test_shapes_types_and_names() -> None:
    signals, images = simulate("1d", 3, seed=1), simulate("2d", 3, seed=1)
    assert signals.x.shape == (3, 4, 128)
    assert images.x.shape == (3, 4, 64, 128)
    assert signals.t.shape == (3, 6)
    assert {signals.x.dtype, signals.t.dtype, images.x.dtype} == {np.dtype(np.float32)}
    assert signals.target_names == TARGET_NAMES
    assert np.isfinite(signals.x).all() and np.isfinite(images.x).all()


def test_both_layouts_are_views_of_one_simulation() -> None:
    signals, images = simulate("1d", 6, seed=5), simulate("2d", 6, seed=5)
    np.testing.assert_array_equal(signals.t, images.t)
    expected = gated_energy(images.x[:, 0::2].astype(np.float64))
    np.testing.assert_allclose(signals.x[:, 0::2, ::2], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("layout", ["1d", "2d"])
def test_same_seed_same_bytes_and_samples_do_not_depend_on_later_ones(
    layout: Literal["1d", "2d"],
) -> None:
    long, short, again = (simulate(layout, count, seed=9) for count in (8, 5, 5))
    assert short.x.tobytes() == again.x.tobytes()
    assert long.x[:5].tobytes() == short.x.tobytes()
    assert long.t[:5].tobytes() == short.t.tobytes()


def test_another_seed_is_another_data_set() -> None:
    one, other = simulate("1d", 4, seed=1), simulate("1d", 4, seed=2)
    assert not np.allclose(one.x[:, 0], other.x[:, 0])
    assert not np.allclose(one.t, other.t)


def test_two_channels_hold_clipped_rubbish_and_two_hold_voltages() -> None:
    x = simulate("2d", 4, seed=0).x
    assert np.abs(x[:, [1, 3]]).max() == 1e6
    assert x[:, [0, 2]].min() >= 0
    assert x[:, [0, 2]].max() <= 2


def test_water_conducts_to_the_far_wall() -> None:
    envelope = record(WATER, random())
    assert np.all(gate(envelope, 42.5, 46) > 0.2)
    assert np.all(gate(envelope, 13, 42) < 0.2)
    near_us = np.argmax(envelope.mean(axis=1), axis=-1) * US_PER_TIME
    np.testing.assert_allclose(near_us, 6.7, atol=US_PER_TIME)


def test_while_gas_passes_the_far_wall_is_missing_and_a_surface_stands_before_it() -> None:
    envelope = record(SLOW_SLUGS, random())
    gas = gate(envelope, 42.5, 46) < 0.15
    surface = gate(envelope, 10.5, 28) > 0.3
    assert 0.1 < gas.mean() < 0.9
    assert np.mean(gas == surface) > 0.95


def test_the_energy_tells_gas_from_water() -> None:
    energy = gated_energy(record(SLOW_SLUGS, random()))
    gas = gate(record(SLOW_SLUGS, random()), 42.5, 46) < 0.15
    assert energy[gas].max() < 0 < energy[~gas].min()


@pytest.mark.parametrize("state", [SLOW_SLUGS, WATER], ids=["slugs", "turbulence"])
def test_the_second_transducer_hears_later_what_the_first_heard(state: FlowState) -> None:
    """The delay that correlates best is that of 9 mm at the pattern's own speed."""
    speed = state.bubble_velocity if state.gas_fraction > 0 else state.water_speed
    expected = 0.009 / speed * PULSE_RATE_HZ
    lags = range(-6, 7)
    total = np.zeros(len(lags))
    for seed in range(5):
        first, second = gated_energy(record(state, random(seed)))
        total += [np.corrcoef(first[6:-6], np.roll(second, -lag)[6:-6])[0, 1] for lag in lags]
    assert lags[int(np.argmax(total))] == pytest.approx(expected, abs=1)


def test_gas_fraction_shows_in_the_share_of_gas() -> None:
    recording = simulate("1d", 60, seed=4)
    share = (recording.x[:, [0, 2]] < 0).mean(axis=(1, 2))
    assert np.corrcoef(share, recording.t[:, 4])[0, 1] > 0.97


def test_beads_scatter_and_take_from_the_far_wall() -> None:
    clean, full = flow_state(3.0, 0.0, 0.0), flow_state(3.0, 0.0, 0.2)
    echoes = [np.stack([record(state, random(s)) for s in range(8)]) for state in (clean, full)]
    far = [gate(envelope, 42.5, 46).mean() for envelope in echoes]
    between = [float(np.square(envelope[..., 40:105]).mean()) for envelope in echoes]
    assert far[1] < far[0]
    assert between[1] > 1.1 * between[0]


def test_slugs_hold_the_state_s_share_of_gas() -> None:
    state = flow_state(4.0, 10.0, 0.0)
    slugs = Slugs.draw(state, 500.0, random())
    _, behind_tail = slugs.behind(np.linspace(0, 500, 50_000))
    cross_section = (1 - 2 * slugs.film_m / 0.026) ** 2
    assert np.mean(behind_tail < 0) * cross_section == pytest.approx(state.gas_fraction, rel=0.03)


def test_beads_hold_the_state_s_share_of_solids() -> None:
    state = flow_state(3.0, 0.0, 0.1)
    beads = Beads.draw(state, 20.0, 0.005, random())
    volume = float((np.pi / 6 * beads.sizes_m**3).sum())
    assert volume / (0.026 * 0.005 * 20.01) == pytest.approx(0.1, rel=0.05)


def test_beads_in_reach_are_found() -> None:
    beads = Beads(np.array([0.0, 0.1, 0.2, 0.3]), np.zeros(4), np.ones(4))
    moment, bead = beads.within(np.array([0.1, 5.0, 0.25]), 0.06)
    assert list(zip(moment.tolist(), bead.tolist(), strict=True)) == [(0, 1), (2, 2), (2, 3)]


def test_eddies_have_mean_0_and_variance_1() -> None:
    values = Eddies.draw(random()).at(np.linspace(0, 100, 20_000))
    assert values.mean() == pytest.approx(0, abs=0.05)
    assert values.var() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    ("layout", "samples", "seed", "message"),
    [
        ("3d", 5, 0, "valid: 1d, 2d"),
        ("1d", 0, 0, "1 to 10000"),
        ("1d", 10_001, 0, "1 to 10000"),
        ("1d", 5, -1, "0 or more"),
    ],
)
def test_impossible_arguments_are_named(
    layout: Literal["1d", "2d"], samples: int, seed: int, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        simulate(layout, samples, seed)
