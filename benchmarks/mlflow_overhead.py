"""How much longer a study takes because it is mirrored in MLflow.

    python benchmarks/mlflow_overhead.py [--quick] [--trials N] [--epochs N] [--rounds N]

It runs the same study on the demonstration data with and without MLflow, in turn, whole commands. A
first call, which is not counted, makes MLflow's database.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from commands import TUNECTL, run
from pairs import Pairs, in_turn
from projects import new_project
from rows import Row, count, run_alone, seconds

SEARCH = """\
study: {name: overhead, pruner: {name: NopPruner}, sampler: {name: RandomSampler}}
params_to_tune:
  training.learning_rate: {type: float, low: 1.0e-4, high: 1.0e-2, log: true}
"""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is run: trials of a study, epochs of a trial, pairs of studies."""

    trials: int = 10
    epochs: int = 20
    rounds: int = 2


QUICK = Size(trials=2, epochs=3, rounds=1)


def measure(*, quick: bool, size: Size | None = None) -> Iterator[Row]:
    """Yield the row."""
    size = size or (QUICK if quick else Size())
    with tempfile.TemporaryDirectory() as name:
        params = f"model: {{hidden: 32}}\ntraining: {{epochs: {size.epochs}}}\n"
        project = new_project(Path(name) / "project", params=params, search=SEARCH)

        def once(count: int, *, mirrored: bool) -> float:
            command = [TUNECTL, "tune", "--fresh", "--n-trials", str(count)]
            switch = f"mlflow.enabled={str(mirrored).lower()}"
            return run([*command, switch], cwd=project).wall_s

        once(1, mirrored=True)
        taken = in_turn(
            {
                "with": lambda: once(size.trials, mirrored=True),
                "without": lambda: once(size.trials, mirrored=False),
            },
            size.rounds,
        )
    pairs = Pairs(ours=taken["with"], theirs=taken["without"])
    result, spread = pairs.times_slower()
    yield Row(
        what="a study with its mirror in MLflow against one without",
        ours=seconds(pairs.ours_s),
        theirs=seconds(pairs.theirs_s),
        result=result,
        spread=spread,
        note=f"{size.trials} trials of {size.epochs} epochs, hidden 32, one worker, start and end "
        f"included, {count(size.rounds, 'pair')}",
    )


def main() -> None:
    """Take the sizes out of the arguments, and run."""
    parser = argparse.ArgumentParser(add_help=False)
    for option in ("trials", "epochs", "rounds"):
        parser.add_argument(f"--{option}", type=int)
    own, sys.argv[1:] = parser.parse_known_args()
    given = {name: value for name, value in vars(own).items() if value is not None}

    def sized(*, quick: bool) -> Iterator[Row]:
        return measure(quick=quick, size=replace(QUICK if quick else Size(), **given))

    run_alone(sized)


if __name__ == "__main__":
    main()
