from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from tunectl.training.memory import watch_memory

SIZE = 64 * 2**20


def test_the_peak_of_a_process_is_seen_although_it_is_over() -> None:
    with watch_memory("cpu") as memory:
        values = np.ones(SIZE, dtype=np.uint8)
        time.sleep(0.05)
        del values

    assert SIZE <= memory.peak_bytes < 2 * SIZE


def test_a_failure_in_the_block_is_let_through_and_measured() -> None:
    with pytest.raises(ValueError, match="x"), watch_memory("cpu") as memory:
        raise ValueError("x")

    assert memory.peak_bytes >= 0


def test_on_a_gpu_it_is_what_pytorch_used_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 100)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 350)
    reset: list[str] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset.append)

    with watch_memory("cuda:1") as memory:
        pass

    assert (memory.peak_bytes, reset) == (250, ["cuda:1"])
