from __future__ import annotations

import random
import weakref
from typing import Any

import numpy as np
import pytest
import torch

from tunectl.errors import DeviceError
from tunectl.training.device import (
    available_devices,
    derive_seed,
    frugal_memory,
    release_memory,
    resolve_device,
    seed_everything,
    torch_settings,
)


def test_auto_is_a_device_of_this_machine() -> None:
    device = resolve_device("auto")
    assert device in (*available_devices(), "cuda")
    torch.zeros(1, device=device)


def test_the_cpu_is_always_there() -> None:
    assert resolve_device("cpu") == "cpu"


@pytest.mark.parametrize("name", ["cuda:99", "gpu", ""])
def test_a_device_that_is_not_there_names_those_that_are(name: str) -> None:
    with pytest.raises(DeviceError, match=r"available: cpu") as raised:
        resolve_device(name)
    assert raised.value.exit_code == 2


def test_seeding_reaches_all_three_generators() -> None:
    def draw() -> tuple[float, float, float]:
        seed_everything(7)
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    assert draw() == draw()


def test_derived_seeds_differ_in_every_part() -> None:
    seeds = {derive_seed(1, 2, 3), derive_seed(1, 3, 2), derive_seed(2, 2, 3), derive_seed(1, 2, 4)}
    assert len(seeds) == 4
    assert derive_seed(1, 2, 3) == derive_seed(1, 2, 3)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_settings_are_put_back_even_after_an_error() -> None:
    threads = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="on purpose"), torch_settings("cpu", threads=1):
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
        assert float(torch.tensor(1e-40) * 1) == 0.0
        raise RuntimeError("on purpose")
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert float(torch.tensor(1e-40) * 1) != 0.0


def test_determinism_can_be_left_out() -> None:
    with torch_settings("cpu", deterministic=False):
        assert not torch.are_deterministic_algorithms_enabled()


def test_memory_can_be_had_as_usual_while_it_is_used_frugally_and_afterwards() -> None:
    with pytest.raises(RuntimeError, match="on purpose"), frugal_memory():
        assert torch.ones(2**20).sum() == 2**20
        raise RuntimeError("on purpose")
    assert torch.ones(2**20).sum() == 2**20


def test_releasing_memory_twice_is_harmless() -> None:
    release_memory()
    release_memory()


def fail_in_the_backward_pass() -> weakref.ref[Any]:
    """Return a reference to what lives as long as an operation that did not get its turn."""

    def run_out(_: torch.Tensor) -> None:
        raise MemoryError

    inputs = torch.zeros(1, requires_grad=True)
    kept, failing = inputs * 2, inputs * 3
    hook = torch.nn.Identity()
    kept.register_hook(hook)  # type: ignore[no-untyped-call]
    failing.register_hook(run_out)  # type: ignore[no-untyped-call]
    with pytest.raises(MemoryError):
        (kept + failing).backward()  # type: ignore[no-untyped-call]
    return weakref.ref(hook)


def test_a_backward_pass_that_failed_leaves_no_gradients_behind() -> None:
    left = fail_in_the_backward_pass()

    release_memory()

    assert left() is None
