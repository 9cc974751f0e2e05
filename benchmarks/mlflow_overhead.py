"""How much longer a study takes because it is mirrored in MLflow.

    python benchmarks/mlflow_overhead.py [N_TRIALS] [N_EPOCHS] [REPEATS]

It runs the same study on the demonstration data with and without MLflow, in turn, 20 trials of 50
epochs each, and prints the seconds of each call and their ratio. A first call, which is not
counted, warms up the file cache and makes the data.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TUNECTL = Path(sys.executable).with_name("tunectl")
SEARCH = """\
study: {name: overhead, pruner: {name: NopPruner}, sampler: {name: RandomSampler}}
params_to_tune:
  training.learning_rate: {type: float, low: 1.0e-4, high: 1.0e-2, log: true}
"""


def main(n_trials: int = 20, n_epochs: int = 50, repeats: int = 3) -> None:
    """Run the studies and print what they took."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / "config.yaml").write_text("runtime: {device: cpu}\n")
        (project / "params.yaml").write_text(f"training: {{epochs: {n_epochs}}}\n")
        (project / "optuna_params.yaml").write_text(SEARCH)
        run(project, 1, mirrored=True)
        for _ in range(repeats):
            for mirrored in (False, True):
                seconds[mirrored].append(run(project, n_trials, mirrored=mirrored))
                word = "with" if mirrored else "without"
                print(f"{word:8} MLflow: {seconds[mirrored][-1]:7.2f} s")
    without, mirrored_s = (statistics.median(seconds[one]) for one in (False, True))
    print(f"median: {without:.2f} s and {mirrored_s:.2f} s, {mirrored_s / without - 1:+.1%}")


def run(project: Path, n_trials: int, *, mirrored: bool) -> float:
    """Run a fresh study; return the seconds that the call took."""
    command = [TUNECTL, "tune", "--fresh", "--n-trials", str(n_trials)]
    begun = time.perf_counter()
    subprocess.run(
        [*command, f"mlflow.enabled={str(mirrored).lower()}"],
        cwd=project,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - begun


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
