"""What a trained network costs: metrics that any study may weigh against its errors.

Times belong to the machine that measured them: unlike all other metrics they differ a little from
run to run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

from tunectl.config.search_schema import Direction

COSTS: Mapping[str, Direction] = {
    "n_parameters": "minimize",
    "train_time_s": "minimize",
    "inference_time_ms": "minimize",
}
RUNS = 15


def median_time_ms(run: Callable[[], object]) -> float:
    """Return the median time of a call, in milliseconds, after one that is not counted.

    Args:
        run: What is timed; it returns when the device is done.
    """
    run()
    times_s = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        times_s.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times_s)
