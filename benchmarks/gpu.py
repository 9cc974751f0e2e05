"""On a CUDA GPU: training and trials per hour against the plain script on the same GPU.

    python benchmarks/gpu.py [--quick]

Where there is no such GPU it says so and measures nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from pairs import Pairs, in_turn
from rows import Row, count, run_alone
from training_epoch import CASES, measure_case
from trials_per_hour import POINTS, make_case, run_ours, run_plain, trials_row

WORKERS = 8
ROUNDS, QUICK_ROUNDS = 2, 1
ONE_WORKER, SEVERAL_WORKERS = 5.0, 10.0


def small_batches(folder: Path, *, quick: bool) -> Iterator[Row]:
    """Yield a row for an epoch of each small network."""
    for case in CASES:
        if case.size == "small":
            yield measure_case(case, folder, device="cuda:0", at_least=ONE_WORKER, quick=quick)


def trials(folder: Path, *, quick: bool) -> Row:
    """Return the row of whole studies."""
    case = make_case(folder, POINTS, quick=quick, device="cuda")
    rounds = QUICK_ROUNDS if quick else ROUNDS
    taken = in_turn(
        {
            "plain": lambda: run_plain(case, 42)[0],
            "ours": lambda: run_ours(case, 42, str(WORKERS))[0],
        },
        rounds,
    )
    pairs = Pairs(ours=taken["ours"], theirs=taken["plain"])
    return trials_row(
        f"trials per hour on one GPU, {WORKERS} workers, against the plain script",
        case,
        pairs,
        at_least=SEVERAL_WORKERS,
        note=f"{case.count} trials of {case.epochs} epochs, {count(rounds, 'pair')}, "
        f"{torch.cuda.get_device_name(0)}",
    )


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield the rows, or one that says that there is no GPU."""
    if not torch.cuda.is_available():
        yield Row(what="training on a CUDA GPU against the plain script on it", note="no GPU here")
        return
    with tempfile.TemporaryDirectory() as name:
        yield from small_batches(Path(name), quick=quick)
        yield trials(Path(name), quick=quick)


if __name__ == "__main__":
    run_alone(measure)
