"""State of the user's own as something that can be stored and read without running code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tunectl.errors import ObjectiveError

_ARRAY = "numpy array"


def to_storable(value: Any, where: str = "") -> Any:
    """Return a value with its NumPy arrays as tensors.

    Args:
        value: Numbers, text, lists, mappings, NumPy arrays and tensors.
        where: What is being looked at, for messages.

    Raises:
        ObjectiveError: there is something else in it.
    """
    if value is None or isinstance(value, bool | int | float | str | bytes | torch.Tensor):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        try:
            return {_ARRAY: torch.from_numpy(np.array(value))}
        except TypeError as error:
            raise ObjectiveError(f"{where} is an array of {value.dtype}") from error
    if isinstance(value, Mapping):
        return {
            key: to_storable(one, f"{where}.{key}" if where else str(key))
            for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [to_storable(one, f"{where}[{index}]") for index, one in enumerate(value)]
    raise ObjectiveError(
        f"a checkpoint cannot hold {where}, a {type(value).__name__}; write it to a file of your "
        "own in trial.checkpoint.folder"
    )


def from_storable(value: Any) -> Any:
    """Return what `to_storable` was given; tuples have become lists."""
    if isinstance(value, Mapping):
        if set(value) == {_ARRAY}:
            return value[_ARRAY].numpy()
        return {key: from_storable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [from_storable(one) for one in value]
    return value
