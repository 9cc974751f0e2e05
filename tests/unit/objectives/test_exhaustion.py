from __future__ import annotations

import errno
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tunectl.errors import DataError, MemoryExhaustedError, Problem
from tunectl.objectives.exhaustion import is_out_of_memory, memory_errors

TOO_MUCH = 2**52

OURS = MemoryExhaustedError("said already")


def _from_python() -> object:
    return bytearray(TOO_MUCH)


def _from_numpy() -> object:
    return np.ones(TOO_MUCH)


def _from_pytorch() -> object:
    return torch.empty(TOO_MUCH)


@pytest.mark.parametrize("demand", [_from_python, _from_numpy, _from_pytorch])
def test_memory_that_really_runs_out_is_told_and_says_what_needs_less(
    demand: Callable[[], object],
) -> None:
    words = r"out of memory on cpu: .*batch_size"
    with pytest.raises(MemoryExhaustedError, match=words), memory_errors("cpu"):
        demand()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        torch.OutOfMemoryError(),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("could not create a primitive"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        ImportError("libx.so: failed to map segment from shared object: Cannot allocate memory"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        OURS,
    ],
)
def test_memory_errors_are_known_by_their_words(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError("could not create a primitive descriptor for a convolution"),
        ValueError("out of memory"),  # no library says it so
        OSError(errno.ENOSPC, "No space left on device"),
        DataError([Problem(message="the file cannot be read")]),
    ],
)
def test_other_errors_are_let_through(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, memory_errors("cpu"):
        raise error
    assert raised.value is error


def test_what_is_named_already_keeps_its_name() -> None:
    with pytest.raises(MemoryExhaustedError) as raised, memory_errors("cpu"):
        raise OURS
    assert raised.value is OURS
