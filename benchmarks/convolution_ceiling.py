"""How much of a training step is convolution: the large network's layers alone against the step.

    python benchmarks/convolution_ceiling.py [--quick]

The convolutions of the network are taken out with the inputs that they get in it, and their forward
and backward passes are run by themselves, one layer after the other, on one thread. A step cannot
take less than that without faster convolutions. They are timed in every form that PyTorch has for
them on a processor (oneDNN or its own; memory by channel or, in two dimensions, by position), and
the fastest of these is the ceiling.
"""

from __future__ import annotations

import copy
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from loops import OurLoop
from pairs import Side, in_turn
from rows import Row, number, run_alone, seconds
from training_epoch import CASES, Case, configured
from tunectl.training.device import torch_settings

STEPS, QUICK_STEPS = 8, 3
ROUNDS, QUICK_ROUNDS = 5, 2
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
TARGET = 0.85

_onednn: Any = torch.backends.mkldnn  # its attributes have no types


class Layer:
    """One convolution by itself.

    Args:
        module: The convolution.
        x: The input that it gets in the network.
        is_first: Whether nobody needs the gradient of that input.
    """

    def __init__(self, module: nn.Module, x: Tensor, *, is_first: bool) -> None:
        self.module = module
        self.x = x.requires_grad_(not is_first)
        self.gradient = torch.randn_like(module(self.x).detach())
        self.wanted = [*module.parameters(), *([] if is_first else [self.x])]

    def step(self) -> None:
        """Go forward and backward once."""
        torch.autograd.grad(self.module(self.x), self.wanted, self.gradient)


def layers_of(loop: OurLoop, batch_size: int, form: torch.memory_format) -> list[Layer]:
    """Return the network's convolutions, in the order in which they are computed.

    Args:
        loop: Has the network and the data.
        batch_size: Samples of the batch.
        form: How the memory of inputs and weights is laid out.
    """
    seen: list[tuple[nn.Module, Tensor]] = []

    def look(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen.append((module, given[0].detach().clone()))

    model = copy.deepcopy(loop.state.model).train()
    hooks = [
        module.register_forward_pre_hook(look)
        for module in model.modules()
        if isinstance(module, CONVOLUTIONS)
    ]
    model(loop.data.inputs(loop.data.index(loop.split.train[:batch_size])))
    for hook in hooks:
        hook.remove()
    return [
        Layer(
            module.to(memory_format=form),  # type: ignore[call-overload]
            x.contiguous(memory_format=form),
            is_first=index == 0,
        )
        for index, (module, x) in enumerate(seen)
    ]


def layers_side(layers: list[Layer], steps: int, *, onednn: bool) -> Side:
    """Return what takes some steps of the layers alone and returns the median seconds of one."""

    def side() -> float:
        taken = []
        with torch_settings("cpu", threads=1), _with_onednn(onednn):
            for _ in range(steps):
                start = time.perf_counter()
                for layer in layers:
                    layer.step()
                taken.append(time.perf_counter() - start)
        return statistics.median(taken)

    return side


@contextmanager
def _with_onednn(wanted: bool) -> Iterator[None]:
    # PyTorch's own context manager for this sets more, and warns of it.
    before = _onednn.enabled
    _onednn.enabled = wanted
    try:
        yield
    finally:
        _onednn.enabled = before


def training_side(loop: OurLoop, batch_size: int, epochs: int) -> Side:
    """Return what trains some epochs and returns the median seconds of a step."""
    whole_batches = len(loop.split.train) // batch_size

    def side() -> float:
        taken = []
        for _ in range(epochs):
            stamps: list[float] = []
            loop.train_epochs(1, on_batch=partial(_stamp, stamps))
            ends = stamps[:whole_batches]
            taken += [end - start for start, end in itertools.pairwise(ends)]
        return statistics.median(taken)

    return side


def _stamp(stamps: list[float]) -> None:
    stamps.append(time.perf_counter())


def measure_case(case: Case, folder: Path, *, quick: bool) -> Row:
    """Return the row of one case."""
    loop = OurLoop(configured(case, folder), "cpu")
    steps = QUICK_STEPS if quick else STEPS
    forms = {"": torch.contiguous_format}
    if case.layout == "2d":
        forms[", memory by position"] = torch.channels_last
    per_epoch = len(loop.split.train) // case.batch_size - 1
    sides = {"step": training_side(loop, case.batch_size, max(1, round(steps / per_epoch)))}
    for name, form in forms.items():
        layers = layers_of(loop, case.batch_size, form)
        sides[f"oneDNN{name}"] = layers_side(layers, steps, onednn=True)
        sides[f"PyTorch's own{name}"] = layers_side(layers, steps, onednn=False)
    for side in sides.values():
        side()
    taken = in_turn(sides, QUICK_ROUNDS if quick else ROUNDS)
    alone = {name: statistics.median(taken[name]) for name in taken if name != "step"}
    fastest = min(alone, key=lambda name: alone[name])
    shares = [a / b for a, b in zip(taken[fastest], taken["step"], strict=True)]
    return Row(
        what=f"share of the convolution ceiling, large network ({case.layout}, hidden "
        f"{case.hidden}, batch {case.batch_size})",
        ours=f"step {seconds(statistics.median(taken['step']))}",
        theirs=f"convolutions alone {seconds(alone[fastest])}",
        result=statistics.median(shares),
        spread=(min(shares), max(shares)),
        unit="of a step",
        at_least=TARGET,
        note="fastest: "
        + fastest
        + "".join(
            f"; {name}: {number(value / alone[fastest])} × as long"
            for name, value in alone.items()
            if name != fastest
        ),
    )


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield a row for each number of dimensions."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        for case in CASES:
            if case.size == "large":
                yield measure_case(case, Path(name), quick=quick)


if __name__ == "__main__":
    run_alone(measure)
