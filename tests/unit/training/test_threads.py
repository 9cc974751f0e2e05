from __future__ import annotations

from typing import Any

import pytest

from tunectl.training.architecture import Architecture, Kind, NetworkPlan
from tunectl.training.plans import ImageKind, ImagePlan, MlpPlan
from tunectl.training.threads import threads_that_pay


def signals(kind: Kind, hidden: int, *, use_residual: bool = True) -> Architecture:
    return Architecture(
        kind=kind,
        channels=2,
        targets=6,
        hidden=hidden,
        dropout_rate=0.1,
        use_residual=use_residual,
    )


def images(kind: ImageKind, width: int, **more: Any) -> ImagePlan:
    usual = {"channels": 3, "targets": 10, "dropout_rate": 0.1, "patch_size": 0, "stem": "small"}
    return ImagePlan(kind=kind, width=width, **{**usual, **more})


def table(nodes: int) -> MlpPlan:
    return MlpPlan(
        inputs=256, targets=4, nodes=nodes, layers=3, activation="relu", dropout_rate=0.1
    )


CASES: dict[str, tuple[NetworkPlan, int, tuple[int, ...], int]] = {
    "small 1d": (signals("cnn1d", 32), 2, (2, 128), 1),
    "middle 1d": (signals("cnn1d", 64), 4, (2, 128), 1),
    "large 1d": (signals("cnn1d", 128), 8, (2, 128), 2),
    "small 2d": (signals("cnn2d", 32), 2, (2, 64, 128), 1),
    "middle 2d": (signals("cnn2d", 64), 4, (2, 64, 128), 2),
    "large 2d": (signals("cnn2d", 128), 8, (2, 64, 128), 17),
    "plain 1d": (signals("cnn1d", 128, use_residual=False), 8, (2, 128), 1),
    "plain 2d": (signals("cnn2d", 128, use_residual=False), 8, (2, 64, 128), 2),
    "digits": (images("small_cnn", 16), 16, (1, 28, 28), 1),
    "many digits": (images("small_cnn", 32), 64, (1, 28, 28), 6),
    "residual": (images("resnet18", 32), 8, (1, 28, 28), 3),
    "one photograph": (images("resnet18", 32, stem="large"), 1, (3, 224, 224), 1),
    "photographs": (images("resnet18", 64, stem="large"), 4, (3, 224, 224), 25),
    "table": (table(512), 64, (256, 1), 1),
    "wide table": (table(1024), 128, (256, 1), 2),
    "signals as a table": (table(64), 32, (2, 1024), 1),
    "long signals as a table": (table(512), 64, (2, 4096), 4),
}


@pytest.mark.parametrize("case", CASES)
def test_only_large_layers_are_shared_out(case: str) -> None:
    plan, batch_size, input_shape, threads = CASES[case]

    def with_most(most: int) -> int:
        return threads_that_pay(
            most, plan, device="cpu", batch_size=batch_size, input_shape=input_shape
        )

    assert with_most(64) == threads
    assert with_most(1) == 1


def test_a_gpu_needs_one_thread() -> None:
    large = signals("cnn1d", 512)

    assert threads_that_pay(8, large, device="cuda:0", batch_size=64, input_shape=(1, 512)) == 1
