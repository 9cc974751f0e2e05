"""Where workers run: a device for each, and threads so that they do not crowd the processor."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tunectl.config.schema import Settings

# Where Linux says how much time a container has of its cores, and whether cores have two threads.
CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
SMT_ACTIVE = Path("/sys/devices/system/cpu/smt/active")


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
    """Return the processor cores that this process may use, as far as a container allows."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, _quota() or cores))


def _quota() -> int | None:
    """Return the whole cores whose time a container may use, None where nothing limits it."""
    try:
        quota, period = CPU_MAX.read_text(encoding="ascii").split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):  # no such control group, or "max"
        return None


def _threads_of_a_core() -> int:
    """Return the hardware threads of a core, which share its arithmetic."""
    try:
        return 2 if SMT_ACTIVE.read_text(encoding="ascii").strip() == "1" else 1
    except OSError:
        return 1


def threads_allowed() -> int | None:
    """Return what OMP_NUM_THREADS allows a process, None where it says nothing."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(first) if first.isdecimal() and int(first) > 0 else None


def with_threads(settings: Settings, n_workers: int) -> Settings:
    """Return settings that say how many threads a worker may have where the user left it open.

    Several workers share the cores, and none has more than the environment allows. One worker may
    leave `null` to PyTorch.
    """
    runtime = settings.surroundings.runtime
    cores = max(1, available_cores() // _threads_of_a_core())
    share = max(1, min(cores // n_workers, threads_allowed() or cores))
    if runtime.threads_per_worker == "auto":
        update = {"most_threads": runtime.most_threads or share}
    elif runtime.threads_per_worker is None and n_workers > 1:
        update = {"threads_per_worker": share}
    else:
        return settings
    runtime = runtime.model_copy(update=update)
    surroundings = settings.surroundings.model_copy(update={"runtime": runtime})
    return settings.model_copy(update={"surroundings": surroundings})


def most_threads(settings: Settings) -> int | None:
    """Return how many threads a worker may have by settled settings, None for PyTorch's choice."""
    runtime = settings.surroundings.runtime
    threads = runtime.threads_per_worker
    return runtime.most_threads if threads == "auto" else threads
