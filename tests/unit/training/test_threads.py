from __future__ import annotations

import pytest

from tunectl.training.threads import threads_that_pay


@pytest.mark.parametrize(
    ("hidden", "batch_size", "input_shape", "threads"),
    [
        (32, 2, (2, 128), 1),
        (64, 4, (2, 128), 1),
        (128, 8, (2, 128), 2),
        (32, 2, (2, 64, 128), 1),
        (64, 4, (2, 64, 128), 2),
        (128, 8, (2, 64, 128), 17),
        (512, 64, (10, 1), 1),
    ],
    ids=["small 1d", "middle 1d", "large 1d", "small 2d", "middle 2d", "large 2d", "table"],
)
def test_only_large_layers_are_shared_out(
    hidden: int, batch_size: int, input_shape: tuple[int, ...], threads: int
) -> None:
    sizes = {"hidden": hidden, "batch_size": batch_size}

    assert threads_that_pay(64, device="cpu", input_shape=input_shape, **sizes) == threads
    assert threads_that_pay(1, device="cpu", input_shape=input_shape, **sizes) == 1


def test_a_gpu_needs_one_thread() -> None:
    assert (
        threads_that_pay(8, device="cuda:0", hidden=512, batch_size=64, input_shape=(1, 512)) == 1
    )
