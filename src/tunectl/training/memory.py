"""How much memory a piece of work needs at its peak."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch

LOOK_EVERY_S = 0.001


@dataclass
class PeakMemory:
    """What a watched block needed.

    Args:
        peak_bytes: Most memory at a time beyond what was in use before; known when the block ends.
    """

    peak_bytes: int = 0


@contextmanager
def watch_memory(device: str) -> Iterator[PeakMemory]:
    """Measure the peak of the memory that a block takes.

    On a CUDA GPU this is what PyTorch has in use. Elsewhere it is the growth of the process, looked
    at every millisecond, which misses memory that the process had before and uses again.

    Args:
        device: The device of the work.

    Yields:
        The measurement, which is complete when the block has ended.
    """
    memory = PeakMemory()
    if device.startswith("cuda"):
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        yield memory
        memory.peak_bytes = max(0, torch.cuda.max_memory_allocated(device) - before)
        return
    with _watched_process(memory):
        yield memory


@contextmanager
def _watched_process(memory: PeakMemory) -> Iterator[None]:
    process, ended = psutil.Process(), threading.Event()
    before = process.memory_info().rss

    def look() -> None:
        memory.peak_bytes = max(memory.peak_bytes, process.memory_info().rss - before)

    def look_until_ended() -> None:
        while not ended.wait(LOOK_EVERY_S):
            look()

    watcher = threading.Thread(target=look_until_ended, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        look()
