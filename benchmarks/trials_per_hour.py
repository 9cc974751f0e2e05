"""Trials per hour against the plain script: the same 20 configurations, whole commands.

    python benchmarks/trials_per_hour.py [--quick]

Both programs get the same points in the same order, the same data, split and number of epochs, and
a median pruner that never has enough trials to prune. What is timed is everything that the user
waits for: on our side `study create`, `study enqueue` and `tune`, each a process of its own; on the
other side `plain_script.py` with PyTorch's own number of threads and with one, of which the faster
counts. Each round has another seed, so
that final metrics can be compared with their scatter over seeds.
"""

from __future__ import annotations

import json
import math
import random
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from commands import PYTHON, TUNECTL, run
from pairs import Pairs, in_turn
from projects import dataset_yaml, demo_data, new_project
from rows import Row, number, run_alone, seconds
from tunectl.cores import available_cores

PLAIN = Path(__file__).with_name("plain_script.py")
POINTS, EPOCHS, ROUNDS = 20, 30, 2
QUICK_POINTS, QUICK_EPOCHS = 3, 3
SEARCH = """\
study: {name: points, pruner: {name: MedianPruner, kwargs: {n_startup_trials: 1000}}}
params_to_tune:
  model.hidden: {type: int, low: 32, high: 128, step: 16}
  model.dropout_rate: {type: float, low: 0.0, high: 0.5, step: 0.05}
  model.use_residual: {type: categorical, choices: [true, false]}
  training.learning_rate: {type: float, low: 1.0e-5, high: 1.0e-2, log: true}
  training.batch_size: {type: categorical, choices: [2, 4, 8]}
  training.weight_decay: {type: float, low: 1.0e-6, high: 1.0e-3, log: true}
  dataset.downsample_factor: {type: int, low: 1, high: 4}
"""
Values = dict[float, float]
"""Learning rate, which no two points share → best `val_mse`."""
Way = Callable[[int], tuple[float, Values]]
"""Runs the study with a seed; returns the seconds of its commands and what each point reached."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What both programs are given.

    Args:
        folder: Where everything is written.
        x_path: Signals.
        t_path: Targets.
        points: File of the points.
        count: How many there are.
        epochs: Of each trial.
        device: Where both programs train.
    """

    folder: Path
    x_path: Path
    t_path: Path
    points: Path
    count: int
    epochs: int
    device: str = "cpu"


def given_points(count: int) -> list[dict[str, Any]]:
    """Return points of the search space, small and large networks in turn."""
    source = random.Random(7)
    return [
        {
            "model.hidden": 32 + 16 * ((3 * index) % 7),
            "model.dropout_rate": round(0.05 * source.randrange(0, 7), 2),
            "model.use_residual": index % 2 == 0,
            "training.learning_rate": float(f"{10 ** source.uniform(-4, -2):.4g}"),
            "training.batch_size": (2, 4, 8)[index % 3],
            "training.weight_decay": float(f"{10 ** source.uniform(-6, -3):.4g}"),
            "dataset.downsample_factor": 1 + (index // 2) % 4,
        }
        for index in range(count)
    ]


def make_case(folder: Path, count: int, *, quick: bool, device: str = "cpu") -> Case:
    """Write points and data; return what both programs are given.

    Args:
        folder: Where they go.
        count: How many points.
        quick: A few epochs are enough.
        device: Where both programs train.
    """
    points = folder / "points.json"
    points.write_text(json.dumps(given_points(count)))
    x_path, t_path = demo_data(folder / "data")
    return Case(
        folder=folder,
        x_path=x_path,
        t_path=t_path,
        points=points,
        count=count,
        epochs=QUICK_EPOCHS if quick else EPOCHS,
        device=device,
    )


def trials_row(what: str, case: Case, pairs: Pairs, *, at_least: float, note: str) -> Row:
    """Return the row of whole studies against the plain script.

    Args:
        what: What is compared.
        case: What both programs were given.
        pairs: Seconds of both, in turn.
        at_least: How many times faster it is to be.
        note: What else is to be known.
    """
    result, spread = pairs.times_faster()
    return Row(
        what=what,
        ours=f"{3600 * case.count / pairs.ours_s:,.0f}/h, {seconds(pairs.ours_s)}",
        theirs=f"{3600 * case.count / pairs.theirs_s:,.0f}/h, {seconds(pairs.theirs_s)}",
        result=result,
        spread=spread,
        at_least=at_least,
        note=note,
    )


def run_plain(case: Case, seed: int, threads: int | None = None) -> tuple[float, Values]:
    """Run the plain script; return its seconds and what each point reached."""
    out = case.folder / "plain"
    shutil.rmtree(out, ignore_errors=True)
    arguments = {
        "x": case.x_path,
        "t": case.t_path,
        "points": case.points,
        "epochs": case.epochs,
        "seed": seed,
        "device": case.device,
        "out": out,
    }
    flat = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    environment = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    done = run([PYTHON, str(PLAIN), *flat], cwd=case.folder, environment=environment)
    points = json.loads(case.points.read_text())
    values = {
        point["training.learning_rate"]: min(
            json.loads((out / f"trial_{number}" / "metrics.json").read_text())["val_mse"]
        )
        for number, point in enumerate(points)
    }
    return done.wall_s, values


def run_ours(case: Case, seed: int, workers: str, *, mlflow: bool = False) -> tuple[float, Values]:
    """Run the same study with `tunectl` in a new project; return the same."""
    project = case.folder / "ours"
    shutil.rmtree(project, ignore_errors=True)
    new_project(
        project,
        config=f"runtime: {{device: {case.device}, workers_per_gpu: 16}}\n"
        f"mlflow: {{enabled: {str(mlflow).lower()}}}\n",
        params=dataset_yaml(case.x_path, case.t_path)
        + f"training: {{epochs: {case.epochs}, seed: {seed}}}\n",
        search=SEARCH,
    )
    taken_s = sum(
        run([TUNECTL, *command], cwd=project).wall_s
        for command in (
            ["study", "create"],
            ["study", "enqueue", str(case.points)],
            ["tune", "--until", str(case.count), "--workers", workers],
        )
    )
    summary = json.loads(run([TUNECTL, "summary", "--json"], cwd=project).out)
    values = {
        trial["params"]["training.learning_rate"]: trial["value"] for trial in summary["trials"]
    }
    return taken_s, values


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield a row for each way to run the study, and one that compares what came out."""
    cores = available_cores()
    with tempfile.TemporaryDirectory() as name:
        case = make_case(Path(name), QUICK_POINTS if quick else POINTS, quick=quick)
        ways: dict[str, Way] = {
            "plain": lambda seed: run_plain(case, seed),
            "plain, one thread": lambda seed: run_plain(case, seed, threads=1),
            f"{cores} workers": lambda seed: run_ours(case, seed, str(cores)),
        }
        if not quick:
            ways["`--workers auto`"] = lambda seed: run_ours(case, seed, "auto")
            ways[f"{cores} workers, MLflow on"] = lambda seed: run_ours(
                case, seed, str(cores), mlflow=True
            )
        yield from compare(ways, case)


def compare(ways: Mapping[str, Way], case: Case) -> Iterator[Row]:
    """Yield the rows of all ways to run the study against the plain one."""
    reached: dict[str, list[Values]] = {name: [] for name in ways}

    def once(name: str) -> float:
        # A side's first round has the first seed, its second the next one.
        seed = 42 + len(reached[name])
        taken_s, values = ways[name](seed)
        reached[name].append(values)
        return taken_s

    taken = in_turn({name: partial(once, name) for name in ways}, ROUNDS)
    plain = {name: statistics.median(taken[name]) for name in ways if name.startswith("plain")}
    fastest = min(plain, key=lambda name: plain[name])
    others = ", ".join(f"{name} {seconds(one)}" for name, one in plain.items())
    for name in [one for one in ways if one not in plain]:
        pairs = Pairs(ours=taken[name], theirs=taken[fastest])
        note = f"{case.count} trials of {case.epochs} epochs, {ROUNDS} pairs; {others}"
        if "auto" in name:
            note += "; a new project each time, so it includes finding out how many workers pay"
        what = f"trials per hour, {name}, against the plain script"
        yield trials_row(what, case, pairs, at_least=2.0, note=note)
    ours = next(name for name in ways if name not in plain)
    yield same_quality(reached[ours], reached["plain"])


def same_quality(ours: Sequence[Values], theirs: Sequence[Values]) -> Row:
    """Return the row that compares final metrics with their scatter over the seeds.

    The scatter is that of each configuration over its seeds, pooled over both programs; the
    difference is the mean over configurations and seeds, in units of its own standard error.
    """
    seeds, keys = len(ours), sorted(ours[0])
    gaps = [a[key] - b[key] for a, b in zip(ours, theirs, strict=True) for key in keys]
    variances = [
        statistics.mean(statistics.variance([run[key] for run in runs]) for runs in (ours, theirs))
        for key in keys
    ]
    error = math.sqrt(2 * sum(variances) / seeds) / len(keys)
    medians = [
        statistics.median(run[key] for run in runs for key in keys) for runs in (ours, theirs)
    ]
    gap = statistics.mean(gaps)
    scatter = math.sqrt(statistics.mean(variances))
    return Row(
        what="final `val_mse` of the same trials against the plain script's",
        ours=f"median {number(medians[0])}",
        theirs=f"median {number(medians[1])}",
        result=abs(gap) / error,
        unit="standard errors",
        at_most=2.0,
        note=f"mean difference {gap:+.4f} ± {error:.4f}, {seeds} seeds; a trial scatters by "
        f"{scatter:.3f} from seed to seed",
    )


if __name__ == "__main__":
    run_alone(measure)
