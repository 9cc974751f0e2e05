"""Where workers run: a device for each, and threads so that they do not crowd the processor."""

from __future__ import annotations

import os
from dataclasses import dataclass

from tunectl.config.schema import Settings
from tunectl.cores import available_cores, whole_cores


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


def share_of_cores(n_workers: int) -> int:
    """Return how many threads each of several workers may have.

    Two hardware threads of a core share its arithmetic, so a core counts once. No worker has more
    than `OMP_NUM_THREADS` allows.
    """
    cores = whole_cores()
    return max(1, min(cores // n_workers, _threads_allowed() or cores))


def threads_beside_others(settings: Settings) -> int:
    """Return how many threads a worker may have beside workers of which it does not know."""
    own_share = share_of_cores(1) if _threads_allowed() else 1
    return settings.surroundings.runtime.max_threads or own_share


def _threads_allowed() -> int | None:
    """Return what OMP_NUM_THREADS allows a process, None where it says nothing."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(first) if first.isdecimal() and int(first) > 0 else None


def with_threads(settings: Settings, n_workers: int) -> Settings:
    """Return settings that say how many threads a worker may have where the user left it open."""
    runtime = settings.surroundings.runtime
    if runtime.threads_per_worker is None:
        update = {"threads_per_worker": share_of_cores(n_workers)}
    elif runtime.threads_per_worker == "auto" and runtime.max_threads is None:
        update = {"max_threads": share_of_cores(n_workers)}
    else:
        return settings
    runtime = runtime.model_copy(update=update)
    surroundings = settings.surroundings.model_copy(update={"runtime": runtime})
    return settings.model_copy(update={"surroundings": surroundings})


def max_threads(settings: Settings) -> int:
    """Return how many threads a worker may have by settled settings."""
    runtime = settings.surroundings.runtime
    threads = runtime.threads_per_worker
    return (runtime.max_threads if threads == "auto" else threads) or 1
