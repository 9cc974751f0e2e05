"""PyTorch's optimisers without its compiler, and Adam without what it looks up anew at every step.

PyTorch wraps their methods so that `torch.compile` leaves them alone, and the wrapping imports the
compiler when it is first used: more than a second before the first step, for nothing where nothing
is compiled. Unwrapped they do the same, to the bit.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

_O = TypeVar("_O", bound=Optimizer)
_WRAPPED = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


def _without_compiler(kind: type[_O]) -> type[_O]:
    """Return a class of optimisers that work as those of `kind`, outside of compiled code."""
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in _WRAPPED}
    # What else the wrapping does: a step is no part of what gradients are computed of.
    step = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), {**methods, "step": step})


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """What the fused kernel is given at every step, gathered once.

    Args:
        owners: The parameters.
        orders: For each the order of axes in which its numbers lie in memory, None where that is
            their own. The kernel copies what does not lie in order.
        averages: The gradients' averages in order.
        squares: Those of the gradients' squares.
        count: The number of steps taken, one for all.
    """

    owners: list[Tensor]
    orders: list[tuple[int, ...] | None]
    averages: list[Tensor]
    squares: list[Tensor]
    count: Tensor

    def gradients(self) -> list[Tensor] | None:
        """Return the gradients in order; None if a parameter has none."""
        found = [owner.grad for owner in self.owners]
        there = [gradient for gradient in found if gradient is not None]
        return _in_order(there, self.orders) if len(there) == len(found) else None


class _Lean(Optimizer):
    """Steps of fused Adam on a CPU that go straight to its kernel: the same numbers, to the bit.

    A small network's step takes two milliseconds, of which PyTorch's own preparations are a tenth.
    Before the first step, and wherever anything is out of the ordinary, they are left to it.
    """

    _kernel: Callable[..., None] | None
    _prepared: _Prepared | None = None

    def step(self, closure: Any = None) -> Any:
        """Take a step. See `torch.optim.Optimizer.step`."""
        prepared = self._prepared or self._prepare()
        gradients = prepared.gradients() if prepared and closure is None else None
        if prepared is None or gradients is None or self._kernel is None:
            self._part()
            return super().step(closure)
        group = self.param_groups[0]
        with torch.no_grad():
            prepared.count.add_(1)
            self._kernel(
                _in_order(prepared.owners, prepared.orders),
                gradients,
                prepared.averages,
                prepared.squares,
                [],
                [prepared.count] * len(gradients),
                amsgrad=False,
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                maximize=False,
                grad_scale=None,
                found_inf=None,
            )
        return None

    # PyTorch's base class wraps a step in hooks for its profiler, unless that has been done.
    step.hooked = True  # type: ignore[attr-defined]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients. See `torch.optim.Optimizer.zero_grad`."""
        if self._prepared is None or not set_to_none:
            super().zero_grad(set_to_none)
            return
        for owner in self._prepared.owners:
            owner.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state. See `torch.optim.Optimizer.state_dict`."""
        self._part()
        return super().state_dict()

    def load_state_dict(self, state_dict: Any) -> None:
        """Take over another one's state. See `torch.optim.Optimizer.load_state_dict`."""
        self._part()
        super().load_state_dict(state_dict)

    def add_param_group(self, param_group: Any) -> None:
        """Take more parameters. See `torch.optim.Optimizer.add_param_group`."""
        self._part()
        super().add_param_group(param_group)

    def _part(self) -> None:
        """Give each parameter its own count again, as PyTorch and a stored state have it."""
        if self._prepared is not None:
            for owner in self._prepared.owners:
                self.state[owner]["step"] = self._prepared.count.clone()
        self._prepared = None

    def _prepare(self) -> _Prepared | None:
        """Gather what a step needs; None where PyTorch's own is to take it."""
        group, *others = self.param_groups
        owners: list[Tensor] = list(group["params"])
        kept = [self.state.get(owner, {}) for owner in owners]
        if (
            others
            or not group["fused"]
            or any(group[name] for name in ("amsgrad", "maximize", "capturable"))
            or isinstance(group["lr"], Tensor)
            or any(owner.device.type != "cpu" for owner in owners)
            or not all("step" in one for one in kept)
            or len({float(one["step"]) for one in kept}) != 1
        ):
            return None
        count = kept[0]["step"].clone()
        for one in kept:
            one["step"] = count
        orders = [_order(owner) for owner in owners]
        self._prepared = _Prepared(
            owners=owners,
            orders=orders,
            averages=_in_order([one["exp_avg"] for one in kept], orders),
            squares=_in_order([one["exp_avg_sq"] for one in kept], orders),
            count=count,
        )
        return self._prepared


def _lean(kind: type[_O], kernel: str) -> type[_O]:
    """Return a class of optimisers as those of `kind`, with steps by a kernel of PyTorch's."""
    methods = {"_kernel": staticmethod(getattr(torch, kernel))} if hasattr(torch, kernel) else {}
    made = type(kind.__name__, (_Lean, _without_compiler(kind)), {"_kernel": None, **methods})
    return cast(type[_O], made)


SGD = _without_compiler(torch.optim.SGD)
Adam = _lean(torch.optim.Adam, "_fused_adam_")
AdamW = _lean(torch.optim.AdamW, "_fused_adamw_")


def _order(tensor: Tensor) -> tuple[int, ...] | None:
    """Return the axes in the order of their distances in memory; None if they are in order."""
    if tensor.is_contiguous():
        return None
    strides = tensor.stride()
    return tuple(sorted(range(tensor.dim()), key=lambda axis: -strides[axis]))


def _in_order(tensors: list[Tensor], orders: list[tuple[int, ...] | None]) -> list[Tensor]:
    return [
        tensor if order is None else tensor.detach().permute(order)
        for tensor, order in zip(tensors, orders, strict=True)
    ]
