"""Where workers run: a device for each, and threads so that they do not crowd the processor."""

from __future__ import annotations

import os
from dataclasses import dataclass

from tunectl.config.schema import Settings


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A place for one worker.

    Args:
        worker: Its number among the workers, from 1.
        device: The device that its trials run on, as PyTorch names it.
    """

    worker: int
    device: str


def make_slots(wanted: int, device: str, *, n_gpus: int, per_gpu: int) -> tuple[Slot, ...]:
    """Return a place for each worker; fewer than wanted where they would share GPUs too closely.

    Args:
        wanted: Workers asked for.
        device: `cpu`, `cuda` (all CUDA GPUs, in turn), `cuda:<index>` (that one) or `mps`.
        n_gpus: CUDA GPUs of this machine.
        per_gpu: Workers that may share one GPU.
    """
    if device == "cpu":
        return tuple(Slot(worker=index + 1, device=device) for index in range(wanted))
    gpus = [f"cuda:{index}" for index in range(n_gpus)] if device == "cuda" else [device]
    count = min(wanted, max(1, len(gpus)) * per_gpu)
    return tuple(
        Slot(worker=index + 1, device=gpus[index % len(gpus)] if gpus else device)
        for index in range(count)
    )


def most_workers(device: str, *, n_gpus: int, per_gpu: int) -> int:
    """Return how many workers can be useful at all: one for each core, or for each place on GPUs.

    Args: as for `make_slots`.
    """
    cores = available_cores()
    return len(make_slots(cores, device, n_gpus=n_gpus, per_gpu=per_gpu))


def available_cores() -> int:
    """Return the processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def with_threads(settings: Settings, n_workers: int) -> Settings:
    """Return settings with a number of threads where the user left it open.

    One worker may leave it to PyTorch; several share the cores.
    """
    runtime = settings.surroundings.runtime
    if runtime.threads_per_worker is not None or n_workers == 1:
        return settings
    threads = max(1, available_cores() // n_workers)
    runtime = runtime.model_copy(update={"threads_per_worker": threads})
    surroundings = settings.surroundings.model_copy(update={"runtime": runtime})
    return settings.model_copy(update={"surroundings": surroundings})
