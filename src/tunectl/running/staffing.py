"""Which executor a call gets: how many workers, on which devices, with how many threads."""

from __future__ import annotations

import logging
from collections.abc import Callable

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.config.schema import Settings
from tunectl.cores import available_cores
from tunectl.objectives.registry import find_objective
from tunectl.running.executors.base import Executor
from tunectl.running.executors.inline import Inline
from tunectl.running.slots import make_slots, max_threads, most_workers, with_threads

log = logging.getLogger(__name__)


def staff(
    settings: Settings, tree: ProjectTree, told: Callable[[], bool]
) -> tuple[Executor, Settings]:
    """Return what runs the trials of a call.

    Args:
        settings: What the study runs with.
        tree: Where the project is.
        told: Whether the program has been told to stop, while it finds out.

    Returns:
        The executor, and the settings with the number of threads settled for its workers.

    Raises:
        DeviceError: the device asked for is not on this machine.
    """
    runtime = settings.surroundings.runtime
    if runtime.workers == 1:
        return Inline(), with_threads(settings, 1)
    from tunectl.training.device import cuda_devices, resolve_device

    device, per_gpu = resolve_device(runtime.device), runtime.workers_per_gpu
    n_gpus = len(cuda_devices())
    wanted = runtime.workers
    if wanted == "auto":
        from tunectl.running.executors.calibration import best_number

        most = most_workers(device, n_gpus=n_gpus, per_gpu=per_gpu)
        objective = find_objective(settings.run)
        wanted = best_number(settings, objective, tree, device, most, told)
        log.info("workers: %d", wanted)
    slots = make_slots(wanted, device, n_gpus=n_gpus, per_gpu=per_gpu)
    if len(slots) < wanted:
        log.warning(
            "%d workers instead of %d: runtime.workers_per_gpu lets %d share a GPU",
            len(slots),
            wanted,
            per_gpu,
        )
    if len(slots) == 1 and slots[0].device == device:
        return Inline(), with_threads(settings, 1)
    from tunectl.running.executors.processes import Processes

    settled = with_threads(settings, len(slots))
    _warn_if_crowded(settled, len(slots), device)
    return Processes(slots), settled


def _warn_if_crowded(settings: Settings, n_workers: int, device: str) -> None:
    threads, cores = max_threads(settings), available_cores()
    if device == "cpu" and n_workers * threads > cores:
        each = f"{threads} thread{'s' if threads > 1 else ''}"
        log.warning("%d workers with %s each are more than %d cores", n_workers, each, cores)
