"""Our optimisers against PyTorch's own: the same steps, and no compiler."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch

from tunectl.training import optimizers

LOOK = """
import sys
import torch
from tunectl.config.signal_run import Training
from tunectl.training.loop import make_optimizer
for name in ("adam", "adamw", "sgd"):
    model = torch.nn.Linear(3, 2)
    optimizer = make_optimizer(model, Training(optimizer=name))
    optimizer.zero_grad(set_to_none=True)
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
"""


def trained(kind: Any, **options: Any) -> tuple[list[torch.Tensor], dict[str, Any]]:
    """Return the weights after some steps, half of them by an optimiser that was stored."""
    torch.manual_seed(1)
    model, inputs = torch.nn.Linear(5, 3), torch.rand(16, 5)
    optimizer = kind(model.parameters(), lr=0.1, weight_decay=0.01, **options)
    for step in range(6):
        optimizer.zero_grad(set_to_none=True)
        model(inputs).square().mean().backward()
        optimizer.step()
        if step == 2:
            stored = copy.deepcopy(optimizer.state_dict())
            optimizer = kind(model.parameters(), lr=0.5, **options)
            optimizer.load_state_dict(stored)
    return list(model.parameters()), optimizer.state_dict()


@pytest.mark.parametrize("fused", [True, None])
@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD"])
def test_the_steps_are_those_of_pytorch_to_the_bit(name: str, fused: bool | None) -> None:
    options = {"fused": fused, **({"momentum": 0.9} if name == "SGD" else {})}

    ours, our_state = trained(getattr(optimizers, name), **options)
    theirs, their_state = trained(getattr(torch.optim, name), **options)

    assert all(map(torch.equal, ours, theirs))
    assert our_state["param_groups"] == their_state["param_groups"]
    for number, kept in their_state["state"].items():
        for key, value in kept.items():
            assert torch.equal(our_state["state"][number][key], value)
    assert isinstance(ours[0].grad, torch.Tensor)
    assert not any(one.requires_grad for one in our_state["state"][0].values())


def test_a_step_imports_no_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


class Image(torch.nn.Module):
    """A small network for images."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(2, 6, 3), torch.nn.BatchNorm2d(6), torch.nn.Conv2d(6, 5, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.layers(x)
        return outputs.mean()


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_the_order_in_memory_and_a_missing_gradient_change_no_step(name: str) -> None:
    def train(kind: Any) -> list[torch.Tensor]:
        torch.manual_seed(2)
        model = Image()
        optimizer = kind(model.parameters(), lr=0.1, weight_decay=0.01, fused=True)
        for step in range(6):
            if step == 3:  # in the middle of a training
                model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            optimizer.zero_grad(set_to_none=step != 4)
            model(torch.ones(2, 2, 8, 8) * step).backward()
            if step == 2:
                next(model.parameters()).grad = None
            optimizer.step()
        counts = [kept["step"] for kept in optimizer.state_dict()["state"].values()]
        assert len({id(count) for count in counts}) == len(counts)
        return [*model.parameters(), *counts]

    ours, theirs = train(getattr(optimizers, name)), train(getattr(torch.optim, name))

    assert all(map(torch.equal, ours, theirs))
