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
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from loops import loop_elsewhere
from pairs import Pairs, in_turn, timed
from projects import demo_data
from rows import Row, count, run_alone, seconds
from tunectl.config.signal_run import TrainingRun
from tunectl.running.slots import share_of_cores

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
    rounds = QUICK_ROUNDS if quick else ROUNDS
    with (
        loop_elsewhere("plain", run, device) as plain,
        loop_elsewhere("plain", run, device, threads=1) as plain_one,
        loop_elsewhere("ours", run, device, threads=share_of_cores(1)) as ours,
    ):
        loops = {"plain": plain, "plain, one thread": plain_one, "ours": ours}
        # Not counted: what is imported and allocated at the first step.
        threads = {name: loop.train_epochs(1) for name, loop in loops.items()}
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
        f"{count(threads['ours'], 'thread')}; {others}",
    )


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield a row for each case."""
    with tempfile.TemporaryDirectory() as name:
        for case in CASES:
            yield measure_case(case, Path(name), quick=quick)


if __name__ == "__main__":
    run_alone(measure)
