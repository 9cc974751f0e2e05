"""The plain script's training loop over one network, in a process of its own.

PyTorch's threads wait for each other as the environment says when it is loaded, and `tunectl` has
them wait otherwise than they do by default; so each side has a process, and they train in turn.
"""

from __future__ import annotations

import copy
import math
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

import plain_script
from tunectl.config.signal_run import TrainingRun
from tunectl.objectives.signal_setup import SignalSetup
from tunectl.training.models import build_from

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


class ElsewherePlainLoop:
    """A plain loop in another process.

    Args:
        connection: To that process.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def train_epochs(self, count: int) -> None:
        """Train so many epochs more, there."""
        self._connection.send(count)
        self._connection.recv()


@contextmanager
def plain_loop(
    run: TrainingRun, device: str, threads: int | None = None
) -> Iterator[ElsewherePlainLoop]:
    """Have a plain loop in a process of its own while the block lasts.

    Args:
        run: The configuration.
        device: Where it trains.
        threads: PyTorch's threads, None for as many as it takes by itself.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, run, device, threads), daemon=True)
    policy = os.environ.pop(_POLICY, None)
    try:
        process.start()
    finally:
        if policy is not None:
            os.environ[_POLICY] = policy
    theirs.close()
    try:
        yield ElsewherePlainLoop(ours)
    finally:
        process.kill()
        process.join()
        ours.close()


def _serve(connection: Connection, run: TrainingRun, device: str, threads: int | None) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
    loop = PlainLoop(run, device)
    while True:
        loop.train_epochs(connection.recv())
        connection.send(None)
