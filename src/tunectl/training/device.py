"""Where tensors live, and the process-wide settings of PyTorch that a training needs.

Every setting is put back when the training is over, so that one trial leaves no trace in the next.
"""

from __future__ import annotations

import ctypes
import gc
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tunectl.errors import DeviceError

_OFF, _WARN = 0, 1

# glibc's names for two of its settings, and what its own adjustment of them arrives at.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_USUAL_THRESHOLDS = {_MMAP_THRESHOLD: 32 * 2**20, _TRIM_THRESHOLD: 64 * 2**20}
_LAVISH_THRESHOLDS = {_MMAP_THRESHOLD: 16 * 2**20, _TRIM_THRESHOLD: 2**31 - 1}
_FRUGAL_THRESHOLDS = {_MMAP_THRESHOLD: 2**20, _TRIM_THRESHOLD: 2**20}

# Their attributes have no types.
_deterministic: Any = torch.utils.deterministic
_nnpack: Any = torch.backends.nnpack


def available_devices() -> tuple[str, ...]:
    """Return the devices of this machine as PyTorch names them; `cpu` is always the first."""
    mps = ("mps",) if torch.backends.mps.is_available() else ()
    return ("cpu", *cuda_devices(), *mps)


def cuda_devices() -> tuple[str, ...]:
    """Return this machine's CUDA GPUs as PyTorch names them."""
    return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))


def resolve_device(name: str) -> str:
    """Return the device to run on.

    Args:
        name: `auto` (a CUDA GPU, else Apple's, else the CPU), or a device's own name.

    Raises:
        DeviceError: this machine has no such device; the message lists those it has.
    """
    there = available_devices()
    if name == "auto":
        return next((kind for kind in ("cuda", "mps") if _has(kind, there)), "cpu")
    if not _has(name, there):
        raise DeviceError(f"device {name} is not on this machine; available: {', '.join(there)}")
    return name


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and PyTorch on all devices.

    Args:
        seed: From 0 to 2³² − 1.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@dataclass(frozen=True, kw_only=True)
class RandomStates:
    """PyTorch's random states.

    Args:
        cpu: Of the CPU.
        gpu: Of the training's own GPU, None where it runs on the CPU.
    """

    cpu: torch.Tensor
    gpu: torch.Tensor | None = None


def random_states(device: torch.device) -> RandomStates:
    """Return PyTorch's random states as they are now.

    Args:
        device: That of the training; it may go on on another one of its kind.
    """
    gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return RandomStates(cpu=torch.get_rng_state(), gpu=gpu)


def restore_random(states: RandomStates, device: torch.device) -> None:
    """Put random states back, on whichever GPU the training goes on."""
    torch.set_rng_state(states.cpu)
    if states.gpu is not None and device.type == "cuda":
        torch.cuda.set_rng_state(states.gpu, device)


def derive_seed(*parts: int) -> int:
    """Return a seed that depends on all parts alone, as well mixed as if drawn.

    Args:
        parts: Numbers of at least 0, for example a seed, an epoch and a purpose.
    """
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def torch_settings(
    device: str, *, deterministic: bool = True, threads: int | None = None
) -> Iterator[None]:
    """Set PyTorch up for one training, and put everything back afterwards.

    Denormal numbers are flushed to zero: weights that decay towards zero would otherwise slow a
    CPU down by an order of magnitude.

    Args:
        device: The device of the training.
        deterministic: Take only algorithms that give the same numbers again, where there are such.
        threads: PyTorch's threads on the CPU; None leaves PyTorch's own choice.
    """
    if deterministic and device.startswith("cuda"):
        # cuBLAS reads this once, when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    threads_before = torch.get_num_threads()
    before = (
        torch.get_deterministic_debug_mode(),
        _deterministic.fill_uninitialized_memory,
        torch.backends.cudnn.benchmark,
    )
    # Where oneDNN is left out, NNPACK would take batches from 16 on, at a third of the speed.
    nnpack_before = _nnpack.set_flags(False)
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        # An operation that has no deterministic form warns rather than fails the trial, and filling
        # fresh memory would cost time and change no result.
        _set_deterministic(_WARN if deterministic else _OFF, False, not deterministic)
        torch.set_flush_denormal(True)
        with _kept_memory():
            yield
    finally:
        torch.set_flush_denormal(False)
        _nnpack.set_flags(*nnpack_before)
        _set_deterministic(*before)
        torch.set_num_threads(threads_before)


def frugal_memory() -> AbstractContextManager[None]:
    """Let freed memory go back to the machine at once while the block lasts, which takes time.

    glibc keeps pieces of up to 32 MiB for later and cuts them up, so that a batch in two halves
    would need nearly as much memory as in one. With another C library nothing changes.
    """
    return _thresholds(_FRUGAL_THRESHOLDS)


def release_memory() -> None:
    """Give back what a training has left behind: garbage, gradients on their way, reserves."""
    _drop_unfinished_gradients()
    gc.collect()
    _trim()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _kept_memory() -> AbstractContextManager[None]:
    """Keep freed memory for the next step while the block lasts, and give it back afterwards.

    glibc would give back what was freed last and fetch it again at the next step: a tenth of the
    time of a large network goes into pages that the system clears for that.
    """
    return _thresholds(_LAVISH_THRESHOLDS)


def _drop_unfinished_gradients() -> None:
    """Make PyTorch forget what a backward pass has left that ended in an error.

    The thread's queue still holds the gradients, and with them activations, of the operations that
    were to come next. It lets go of them when it is used again, and has no call for that.
    """
    torch.zeros(1, requires_grad=True).sum().backward()  # type: ignore[no-untyped-call]


def _trim() -> None:
    """Give freed memory back to the machine; with another C library than glibc nothing happens."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@contextmanager
def _thresholds(wanted: Mapping[int, int]) -> Iterator[None]:
    """Set glibc's thresholds while the block lasts; with another C library nothing changes."""
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is None:
        yield
        return
    _trim()
    try:
        for name, size in wanted.items():
            tune(name, size)
        yield
    finally:
        for name, size in _USUAL_THRESHOLDS.items():
            tune(name, size)
        _trim()


def _has(name: str, there: tuple[str, ...]) -> bool:
    return name in there or (name == "cuda" and "cuda:0" in there)


def _set_deterministic(mode: int, fill: bool, benchmark: bool) -> None:
    # `use_deterministic_algorithms` does the same, but imports PyTorch's compiler, for a second.
    torch.set_deterministic_debug_mode(mode)
    _deterministic.fill_uninitialized_memory = fill
    torch.backends.cudnn.benchmark = benchmark
