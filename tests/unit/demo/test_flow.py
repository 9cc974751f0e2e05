"""The operating points keep the rig's laws and ranges, whatever the seed."""

from __future__ import annotations

import numpy as np
import pytest

from tunectl.demo.flow import flow_state, operating_points


@pytest.fixture(params=[0, 1, 42, 2**32 - 1], name="targets")
def targets_of_many_points(request: pytest.FixtureRequest) -> np.ndarray:
    return np.asarray([state.targets for state in operating_points(1000, request.param)])


def test_fractions_are_shares_of_one_whole(targets: np.ndarray) -> None:
    fractions = targets[:, 3:]
    assert np.all(fractions >= 0)
    np.testing.assert_allclose(fractions.sum(axis=1), 1, rtol=0, atol=1e-12)


def test_gas_obeys_the_drift_flux_law(targets: np.ndarray) -> None:
    gas = targets[targets[:, 1] > 0]
    np.testing.assert_allclose(
        gas[:, 1] / gas[:, 4], 1.096 * gas[:, :3].sum(axis=1) + 0.995, rtol=1e-12
    )


def test_ranges_are_the_rig_s(targets: np.ndarray) -> None:
    low = [0, 0, 1.86, 0, 0, 0.075]
    high = [2.84, 65.9, 6.43, 0.225, 0.917, 1]
    assert np.all(targets >= low)
    assert np.all(targets <= high)
    assert np.all(targets[targets[:, 1] > 0, 3] <= 0.062)
    assert np.mean(targets[:, 0] < 0.7) > 0.8


def test_ranges_are_used(targets: np.ndarray) -> None:
    largest = targets.max(axis=0)
    assert np.all(largest > [1.5, 60, 6.3, 0.2, 0.85, 0.999])


@pytest.mark.parametrize("count", [30, 120, 1000])
def test_shares_without_gas_and_without_solids_hold_for_every_prefix(
    targets: np.ndarray, count: int
) -> None:
    first = targets[:count]
    assert np.mean(first[:, 4] == 0) == pytest.approx(1 / 3, abs=0.07)
    assert np.mean(first[:, 3] == 0) == pytest.approx(1 / 10, abs=0.07)
    np.testing.assert_array_equal(first[:, 1] == 0, first[:, 4] == 0)
    np.testing.assert_array_equal(first[:, 0] == 0, first[:, 3] == 0)


def test_a_longer_plan_begins_with_the_shorter_one() -> None:
    assert operating_points(50, seed=3)[:20] == operating_points(20, seed=3)


def test_seeds_differ() -> None:
    assert operating_points(20, seed=3) != operating_points(20, seed=4)


def test_water_alone_fills_the_pipe() -> None:
    state = flow_state(liquid_velocity=2.0, gas_velocity=0.0, beads=0.0)
    assert state.targets == (0.0, 0.0, 2.0, 0.0, 0.0, 1.0)
    assert state.bead_speed == 0.0


def test_beads_lag_behind_the_slurry() -> None:
    state = flow_state(liquid_velocity=3.0, gas_velocity=0.0, beads=0.2)
    assert 0 < state.bead_speed < state.mixture_velocity < state.water_speed
