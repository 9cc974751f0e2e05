"""How long `tune` takes to its first batch, in a project that has data and nothing else.

    python benchmarks/first_batch.py [--quick]

The clock runs from the start of the process to the first call of the network. The yardstick is a
process that imports PyTorch and Optuna and loads the same data.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from commands import PYTHON
from pairs import Pairs, Side, in_turn
from projects import dataset_yaml, demo_data, new_project
from rows import Row, count, run_alone, seconds

ROUNDS, QUICK_ROUNDS = 7, 1
TARGET = 1.5
SEARCH = """\
study: {name: first, sampler: {name: RandomSampler}}
params_to_tune: {training.learning_rate: {type: float, low: 1.0e-4, high: 1.0e-2, log: true}}
"""
# The installed command; the first time that a network is called it tells when that was.
OURS = """
import sys, time
from tunectl.__main__ import main
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "tunectl.training.models":
            sys.meta_path.remove(self)
            from torch.nn.modules.module import register_module_forward_pre_hook
            handle = register_module_forward_pre_hook(lambda *_: tell())
            def tell():
                handle.remove()
                print("FIRST", time.time(), file=sys.stderr, flush=True)
sys.meta_path.insert(0, Watch())
sys.argv[0] = "tunectl"
main()
"""
YARDSTICK = """
import sys, time
import torch, optuna
import numpy
x, t = numpy.load(sys.argv[1]), numpy.load(sys.argv[2])
print("FIRST", time.time(), file=sys.stderr, flush=True)
"""


def until_first(command: list[str], cwd: Path) -> float:
    """Run a command to its end; return the seconds until it told of its first batch."""
    start = time.time()
    done = subprocess.run(
        command, cwd=cwd, env=os.environ, capture_output=True, text=True, check=False
    )
    told = [line.split()[1] for line in done.stderr.splitlines() if line.startswith("FIRST ")]
    if done.returncode != 0 or len(told) != 1:
        raise RuntimeError(f"{' '.join(command[3:])} failed:\n{done.stderr[-2000:]}")
    return float(told[0]) - start


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield a row without and one with the mirror in MLflow, which is on by default."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        x_path, t_path = demo_data(folder / "data")
        made = iter(range(10**6))

        def ours(mlflow: bool) -> float:
            project = new_project(
                folder / f"project-{next(made)}",
                config=f"runtime: {{device: cpu}}\nmlflow: {{enabled: {str(mlflow).lower()}}}\n",
                params=dataset_yaml(x_path, t_path)
                + "model: {hidden: 32}\ntraining: {epochs: 1}\n",
                search=SEARCH,
            )
            return until_first([PYTHON, "-c", OURS, "tune", "--n-trials", "1"], project)

        sides: dict[str, Side] = {
            "yardstick": lambda: until_first(
                [PYTHON, "-c", YARDSTICK, str(x_path), str(t_path)], folder
            ),
            "MLflow off": lambda: ours(False),
            "MLflow on": lambda: ours(True),
        }
        for side in sides.values():
            side()  # not counted
        taken = in_turn(sides, rounds)
    for way in list(sides)[1:]:
        pairs = Pairs(ours=taken[way], theirs=taken["yardstick"])
        result, spread = pairs.times_slower()
        yield Row(
            what=f"`tune` to its first batch, {way}",
            ours=seconds(pairs.ours_s),
            theirs=f"{seconds(pairs.theirs_s)} (`import torch, optuna` and the data)",
            result=result,
            spread=spread,
            at_most=TARGET,
            note=f"{count(rounds, 'pair')}, a new study each time",
        )


if __name__ == "__main__":
    run_alone(measure)
