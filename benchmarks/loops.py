"""Two training loops over the same configuration: the plain script's, and `tunectl`'s `fit`.

As a program it is one of them in a process of its own, which trains so many epochs for each number
on its standard input and answers with a line. PyTorch's threads wait for each other as the
environment says when it is loaded, and `tunectl` has them wait otherwise than they do by default.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

import plain_script
from tunectl.config.signal_run import TrainingRun
from tunectl.objectives.signal_setup import SignalSetup
from tunectl.training.convolutions import Convolutions
from tunectl.training.device import torch_settings
from tunectl.training.loop import fit, start_training
from tunectl.training.models import build_from
from tunectl.training.state import FitPlan
from tunectl.training.threads import threads_that_pay

Side = Literal["plain", "ours"]
_POLICY = "OMP_WAIT_POLICY"


class PlainLoop:
    """The plain script's loop over one configuration.

    Args:
        run: The configuration.
        device: Where it trains.
    """

    def __init__(self, run: TrainingRun, device: str) -> None:
        self.device = torch.device(device)
        assert run.dataset.x_path is not None and run.dataset.t_path is not None
        data = plain_script.load_data(
            Path(run.dataset.x_path), Path(run.dataset.t_path), 1, run.dataset.limit_samples or None
        )
        self.train, self.valid, _ = plain_script.make_loaders(data, run.training.batch_size)
        ready = SignalSetup().prepare(run, Path(), "cpu")
        torch.manual_seed(run.training.seed)
        self.model = build_from(ready.plan).to(self.device)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(),
            lr=run.training.learning_rate,
            weight_decay=run.training.weight_decay,
        )
        self.weights = torch.tensor(plain_script.TARGET_WEIGHTS, device=self.device)
        self.lowest = math.inf

    def train_epochs(self, count: int) -> None:
        """Train so many epochs more."""
        for _ in range(count):
            plain_script.train_epoch(
                self.model, self.train, self.optimizer, self.weights, self.device
            )
            predicted, true = plain_script.predict(self.model, self.valid, self.device)
            value = float(np.mean((predicted - true) ** 2))
            if value < self.lowest:
                self.lowest, self.best = value, copy.deepcopy(self.model.state_dict())


class OurLoop:
    """`fit` over one configuration, as a trial calls it.

    Args:
        run: The configuration.
        device: Where it trains.
        max_threads: As many threads as it may take.
    """

    def __init__(self, run: TrainingRun, device: str, max_threads: int = 1) -> None:
        ready = SignalSetup().prepare(run, Path(), device)
        self.data, self.split, self.loss = ready.data, ready.split, ready.loss
        self.state = start_training(ready.plan, run.training, device)
        self.device, self.run = device, run
        sizes: dict[str, Any] = {
            "batch_size": run.training.batch_size,
            "input_shape": self.data.input_shape,
        }
        kind = self.data.device.type
        self.threads = threads_that_pay(max_threads, ready.plan, device=kind, **sizes)
        self.convolutions = Convolutions.choose(kind, hidden=run.model.hidden, **sizes)
        self.convolutions.arrange(self.state.model)

    def train_epochs(self, count: int, on_batch: Callable[[], None] = lambda: None) -> None:
        """Train so many epochs more."""
        training = self.run.training
        plan = FitPlan(
            epochs=self.state.epoch + count,
            batch_size=training.batch_size,
            seed=training.seed,
            metric="val_mse",
            direction="minimize",
        )
        with torch_settings(self.device, threads=self.threads), self.convolutions.in_use():
            fit(self.state, self.data, self.split, plan, self.loss, lambda _: None, on_batch)


class LoopElsewhere:
    """A loop in another process.

    Args:
        process: That process.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def train_epochs(self, count: int) -> int:
        """Train so many epochs more, there; return its threads."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def loop_elsewhere(
    side: Side, run: TrainingRun, device: str, threads: int | None = None
) -> Iterator[LoopElsewhere]:
    """Have a loop in a process of its own while the block lasts.

    Args:
        side: Which one.
        run: The configuration.
        device: Where it trains.
        threads: As many as ours may take; the plain loop's, None for as many as PyTorch takes.
    """
    environment = {key: value for key, value in os.environ.items() if key != _POLICY}
    if side == "ours":
        environment[_POLICY] = "PASSIVE"  # as the command line has it
    words = [sys.executable, __file__, side, run.model_dump_json(), device]
    words += [] if threads is None else [f"--threads={threads}"]
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    )
    with process:
        try:
            yield LoopElsewhere(process)
        finally:
            process.kill()


def main() -> None:
    """Be one of the loops."""
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=["plain", "ours"])
    parser.add_argument("run", type=TrainingRun.model_validate_json)
    parser.add_argument("device")
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    loop: PlainLoop | OurLoop
    if given.side == "plain":
        torch.set_num_threads(given.threads or torch.get_num_threads())
        loop = PlainLoop(given.run, given.device)
    else:
        loop = OurLoop(given.run, given.device, given.threads or 1)
    for line in sys.stdin:
        loop.train_epochs(int(line))
        threads = loop.threads if isinstance(loop, OurLoop) else torch.get_num_threads()
        print(threads, flush=True)


if __name__ == "__main__":
    main()
