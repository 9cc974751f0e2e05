"""PyTorch as the section `runtime` has it for the training of a network."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from tunectl.config.schema import Runtime
from tunectl.objectives.network_setup import Prepared
from tunectl.training.device import torch_settings
from tunectl.training.threads import threads_that_pay


def runtime_settings(runtime: Runtime, device: str) -> AbstractContextManager[None]:
    """Set PyTorch up for one training, and put everything back afterwards.

    Args:
        runtime: What the user wrote; `auto` is one thread until `take_threads`.
        device: The device of the training.
    """
    threads = 1 if runtime.threads_per_worker == "auto" else runtime.threads_per_worker
    return torch_settings(device, deterministic=runtime.deterministic, threads=threads)


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
