"""How many threads a training takes on a CPU.

A layer's work is shared out among threads that wait for each other when it is done, so threads pay
where the layers are large. How large was measured (see docs/performance.md). It is decided by the
sizes alone, never by a clock: sums of floating-point numbers depend on the number of threads, and a
trial's numbers must not depend on what else the machine was doing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunectl.training.architecture import NetworkPlan

WORK_PER_THREAD: Mapping[str, int] = {
    "cnn1d": 6_000_000,
    "cnn2d": 60_000_000,
    "mlp": 60_000_000,
    "small_cnn": 8_000_000,
    "resnet18": 2_000_000,
    "resnet50": 2_000_000,
    "resnet101": 2_000_000,
}
"""Kind of network → `NetworkPlan.work` of a batch for each thread."""


def threads_that_pay(
    most: int, plan: NetworkPlan, *, device: str, batch_size: int, input_shape: Sequence[int]
) -> int:
    """Return the number of threads that pay, also beside another program.

    Args:
        most: As many as it may have.
        plan: That of the network.
        device: The device of the training; on any but the CPU one thread prepares the work.
        batch_size: Samples that are computed at a time.
        input_shape: Of one sample: (C, L), (C, H, W), or (F, 1) for a table.
    """
    if device != "cpu":
        return 1
    work = batch_size * plan.work(input_shape)
    return max(1, min(most, work // WORK_PER_THREAD[plan.kind]))
