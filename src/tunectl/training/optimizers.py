"""PyTorch's optimisers without its compiler.

Their methods are wrapped so that `torch.compile` leaves them alone, and the wrapping imports the
compiler when it is first used: more than a second before the first step, for nothing where nothing
is compiled. Unwrapped they do the same, to the bit.
"""

from __future__ import annotations

import inspect
from typing import TypeVar

import torch

_O = TypeVar("_O", bound=torch.optim.Optimizer)
_WRAPPED = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


def _without_compiler(kind: type[_O]) -> type[_O]:
    """Return a class of optimisers that work as those of `kind`, outside of compiled code."""
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in _WRAPPED}
    # What else the wrapping does: a step is no part of what gradients are computed of.
    step = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), {**methods, "step": step})


SGD = _without_compiler(torch.optim.SGD)
Adam = _without_compiler(torch.optim.Adam)
AdamW = _without_compiler(torch.optim.AdamW)
