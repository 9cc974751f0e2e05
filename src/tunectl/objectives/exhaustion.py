"""Memory that ran out, told from other errors whoever raised it, and named in the user's words.

Python, NumPy, PyTorch, CUDA and the operating system each say it differently. This module is
light: it knows them by their words, so that PyTorch need not be imported to understand it.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from tunectl.errors import MemoryExhaustedError

# RuntimeError is what PyTorch raises, ImportError what comes of a library that finds no room.
_KINDS = (RuntimeError, ImportError, OSError)
_WORDS = re.compile(
    r"out of memory|not enough memory|allocate memory|_alloc_failed"
    r"|could not create a (primitive|memory object)$",  # oneDNN's convolutions
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, of the machine or of a GPU."""
    if isinstance(error, MemoryError | MemoryExhaustedError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    if any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    return isinstance(error, _KINDS) and _WORDS.search(str(error)) is not None


@contextmanager
def memory_errors(device: str) -> Iterator[None]:
    """Name what a trial can do about memory that ran out.

    Args:
        device: Where the trial runs.

    Raises:
        MemoryExhaustedError: memory ran out in the block.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, MemoryExhaustedError) or not is_out_of_memory(error):
            raise
        raise MemoryExhaustedError(
            f"out of memory on {device}: a smaller training.batch_size needs less, and so do a "
            "smaller network and smaller inputs"
        ) from error
