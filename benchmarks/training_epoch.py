"""One training epoch with its evaluation: the plain script's loop against `tunectl`'s, one worker.

    python benchmarks/training_epoch.py [--quick]

The same network, data, batch size and optimiser, the loops in turn. Ours is `fit` as a trial of a
single worker calls it: with the settings of PyTorch that a trial has, the threads that it takes,
the metrics of every epoch and the best weights kept. The plain loop is that of `plain_script.py`,
with as many threads as PyTorch takes by itself and with one, and the faster counts.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pairs import Pairs, in_turn, timed
from plain_loop import ElsewherePlainLoop, plain_loop
from projects import demo_data
from rows import Row, count, run_alone, seconds
from tunectl.config.signal_run import TrainingRun
from tunectl.objectives.signal_setup import SignalSetup
from tunectl.running.slots import available_cores
from tunectl.training.convolutions import Convolutions
from tunectl.training.device import torch_settings
from tunectl.training.loop import fit, start_training
from tunectl.training.state import FitPlan
from tunectl.training.threads import threads_that_pay

BLOCK_S, QUICK_BLOCK_S = 2.0, 0.3
ROUNDS, QUICK_ROUNDS = 5, 2


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network and a batch size.

    Args:
        size: What the network is called.
        layout: Of the data, `1d` or `2d`.
        hidden: Width of the network.
        batch_size: Samples per step.
        samples: Samples of the data; 70 % of them are trained on.
        at_least: Target of the ratio.
    """

    size: str
    layout: str
    hidden: int
    batch_size: int
    samples: int
    at_least: float


CASES = (
    Case(size="small", layout="1d", hidden=32, batch_size=2, samples=120, at_least=1.3),
    Case(size="middle", layout="1d", hidden=64, batch_size=4, samples=120, at_least=1.0),
    Case(size="large", layout="1d", hidden=128, batch_size=8, samples=120, at_least=1.0),
    Case(size="small", layout="2d", hidden=32, batch_size=2, samples=40, at_least=1.3),
    Case(size="middle", layout="2d", hidden=64, batch_size=4, samples=40, at_least=1.0),
    Case(size="large", layout="2d", hidden=128, batch_size=8, samples=40, at_least=1.0),
)


class OurLoop:
    """`fit` over one case, as a trial calls it.

    Args:
        run: The configuration.
        device: Where it trains.
        threads: As many as it may take.
    """

    def __init__(self, run: TrainingRun, device: str, threads: int = 1) -> None:
        ready = SignalSetup().prepare(run, Path(), device)
        self.data, self.split, self.loss = ready.data, ready.split, ready.loss
        self.state = start_training(ready.plan, run.training, device)
        self.device, self.run = device, run
        sizes: dict[str, Any] = {
            "hidden": run.model.hidden,
            "batch_size": run.training.batch_size,
            "input_shape": self.data.input_shape,
        }
        self.threads = threads_that_pay(threads, device=self.data.device.type, **sizes)
        self.convolutions = Convolutions.choose(self.data.device.type, **sizes)
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


def configured(case: Case, folder: Path) -> TrainingRun:
    """Return the configuration of a case; its data are made in the folder if they are not there."""
    data = folder / f"data-{case.layout}-{case.samples}"
    if data.exists():
        x_path, t_path = data / "x_train.npy", data / "t_train.npy"
    else:
        x_path, t_path = demo_data(data, layout=case.layout, samples=case.samples)
    return TrainingRun.model_validate(
        {
            "dataset": {"source": "npy", "x_path": str(x_path), "t_path": str(t_path)},
            "model": {"hidden": case.hidden},
            "training": {"batch_size": case.batch_size},
        }
    )


def measure_case(
    case: Case,
    folder: Path,
    *,
    device: str = "cpu",
    at_least: float | None = None,
    quick: bool,
) -> Row:
    """Return the row of one case.

    Args:
        case: The network and the batch size.
        folder: Where its data are, or are to be.
        device: Where both loops train.
        at_least: Another target than the case's own.
        quick: Few and short rounds.
    """
    run = configured(case, folder)
    ours = OurLoop(run, device, threads=available_cores())
    rounds = QUICK_ROUNDS if quick else ROUNDS
    with plain_loop(run, device) as plain, plain_loop(run, device, threads=1) as plain_one:
        loops: dict[str, OurLoop | ElsewherePlainLoop] = {
            "plain": plain,
            "plain, one thread": plain_one,
            "ours": ours,
        }
        # Not counted: what is imported and allocated at the first step.
        for loop in loops.values():
            loop.train_epochs(1)
        once_s = max(timed(partial(loop.train_epochs, 1))() for loop in loops.values())
        epochs = max(1, round((QUICK_BLOCK_S if quick else BLOCK_S) / once_s))
        sides = {name: timed(partial(loop.train_epochs, epochs)) for name, loop in loops.items()}
        taken = in_turn(sides, rounds)
    plain_s = {name: statistics.median(taken[name]) for name in loops if name != "ours"}
    pairs = Pairs(ours=taken["ours"], theirs=taken[min(plain_s, key=lambda name: plain_s[name])])
    result, spread = pairs.times_faster()
    others = ", ".join(f"{name} {seconds(one / epochs)}" for name, one in plain_s.items())
    return Row(
        what=f"one epoch, {case.size} network ({case.layout}, hidden {case.hidden}, "
        f"batch {case.batch_size}) on {device}, against the plain loop",
        ours=seconds(pairs.ours_s / epochs),
        theirs=seconds(pairs.theirs_s / epochs),
        result=result,
        spread=spread,
        at_least=at_least or case.at_least,
        note=f"{case.samples} samples, {count(rounds, 'pair')} of {count(epochs, 'epoch')}, "
        f"{count(ours.threads, 'thread')}; {others}",
    )


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield a row for each case."""
    with tempfile.TemporaryDirectory() as name:
        for case in CASES:
            yield measure_case(case, Path(name), quick=quick)


if __name__ == "__main__":
    run_alone(measure)
