"""How many threads a training takes on a CPU.

A layer's work is shared out among threads that wait for each other when it is done, so threads pay
where the layers are large. How large was measured (see docs/performance.md). It is decided by the
sizes alone, never by a clock: sums of floating-point numbers depend on the number of threads, and a
trial's numbers must not depend on what else the machine was doing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

WORK_PER_THREAD_1D = 6_000_000
"""Width² × samples × positions of a first layer on signals."""
WORK_PER_THREAD = 60_000_000
"""The same on images and tables, which take less time for it."""


def threads_that_pay(
    most: int, *, device: str, hidden: int, batch_size: int, input_shape: Sequence[int]
) -> int:
    """Return the number of threads with which a training is fastest.

    Args:
        most: As many as it may have.
        device: The device of the training; on any but the CPU one thread prepares the work.
        hidden: Width of the first layer.
        batch_size: Samples that are computed at a time.
        input_shape: Of one sample: (C, L), (C, H, W), or (F, 1) for a table.
    """
    if device != "cpu":
        return 1
    positions = math.prod(input_shape[1:])
    is_signal = len(input_shape) == 2 and positions > 1
    work = hidden**2 * batch_size * positions
    return max(1, min(most, work // (WORK_PER_THREAD_1D if is_signal else WORK_PER_THREAD)))
