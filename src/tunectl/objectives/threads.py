"""The threads of a network's training, as `runtime.threads_per_worker` has them."""

from __future__ import annotations

import torch

from tunectl.config.schema import Runtime
from tunectl.objectives.network_setup import Prepared
from tunectl.training.threads import threads_that_pay


def first_threads(runtime: Runtime) -> int | None:
    """Return the threads for reading the data; None leaves PyTorch's own choice."""
    return 1 if runtime.threads_per_worker == "auto" else runtime.threads_per_worker


def take_threads(runtime: Runtime, ready: Prepared, batch_size: int) -> None:
    """Let PyTorch have the threads that pay, now that the sizes are known.

    Args:
        runtime: What the user wrote, settled for the workers of this call.
        ready: Data and network.
        batch_size: Samples that are computed at a time.
    """
    if runtime.threads_per_worker != "auto":
        return
    threads = threads_that_pay(
        runtime.max_threads or 1,
        ready.plan,
        device=ready.data.device.type,
        batch_size=batch_size,
        input_shape=ready.data.input_shape,
    )
    torch.set_num_threads(threads)


def device_text(device: torch.device) -> str:
    """Return where a training runs, for its log."""
    if device.type != "cpu":
        return str(device)
    threads = torch.get_num_threads()
    return f"{device} with {threads} thread{'s' if threads > 1 else ''}"
