"""Reading a study: `summary --json` of a small and of a large one.

    python benchmarks/summaries.py [--quick]

The small one, 20 trials, against `python -c "import optuna"`; the large one, 10,000 trials of 50
epochs, against Optuna's own `optuna trials -f json` on the same file.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from commands import PYTHON, TUNECTL, Run, run
from pairs import Pairs, Side, in_turn
from projects import SPACE_YAML, new_project
from rows import Row, count, megabytes, run_alone, seconds

SMALL, LARGE, QUICK_LARGE, STEPS = 20, 10_000, 1000, 50
SMALL_ROUNDS, LARGE_ROUNDS = 15, 3
MEMORY_MB = 250
STORED = Path(__file__).with_name("stored.py")
# The `optuna` command, by the way that always finds it.
OPTUNA = "import sys; from optuna.cli import main; sys.argv[0] = 'optuna'; sys.exit(main())"


def project_with(folder: Path, n_trials: int) -> Path:
    """Make a project whose study has so many trials."""
    search = f"study: {{name: many}}\n{SPACE_YAML}"
    project = new_project(folder / str(n_trials), params="", search=search)
    run([TUNECTL, "study", "create"], cwd=project)
    url = f"sqlite:///{project / 'optuna' / 'study.db'}"
    run([PYTHON, str(STORED), url, "many", str(n_trials), str(STEPS)], cwd=project)
    return project


def summary(project: Path, n_trials: int) -> Run:
    """Run `summary --json`; make sure that it tells of all trials."""
    done = run([TUNECTL, "summary", "--json"], cwd=project)
    assert json.loads(done.out)["n_trials"] == n_trials
    return done


def optunas_export(project: Path) -> Run:
    """Run `optuna trials` on the project's database."""
    url = f"sqlite:///{project / 'optuna' / 'study.db'}"
    command = ["trials", "--study-name", "many", "--storage", url, "-f", "json"]
    return run([PYTHON, "-c", OPTUNA, *command], cwd=project)


def of_small(folder: Path, rounds: int) -> Row:
    """Return the row of the small study."""
    project = project_with(folder, SMALL)
    sides: dict[str, Side] = {
        "ours": lambda: summary(project, SMALL).wall_s,
        "import": lambda: run([PYTHON, "-c", "import optuna"], cwd=project).wall_s,
    }
    for side in sides.values():
        side()  # not counted
    taken = in_turn(sides, rounds)
    pairs = Pairs(ours=taken["ours"], theirs=taken["import"])
    result, spread = pairs.times_slower()
    return Row(
        what=f"`summary --json`, {SMALL} trials",
        ours=seconds(pairs.ours_s),
        theirs=f"{seconds(pairs.theirs_s)} (`import optuna`)",
        result=result,
        spread=spread,
        at_most=1.3,
        note=count(rounds, "pair"),
    )


def of_large(folder: Path, n_trials: int, rounds: int) -> Iterator[Row]:
    """Yield the rows of the large study: time and memory."""
    project = project_with(folder, n_trials)
    runs: dict[str, list[Run]] = {"ours": [], "optuna": []}
    ways = {"ours": lambda: summary(project, n_trials), "optuna": lambda: optunas_export(project)}

    def once(name: str) -> float:
        runs[name].append(ways[name]())
        return runs[name][-1].wall_s

    taken = in_turn({name: partial(once, name) for name in ways}, rounds)
    pairs = Pairs(ours=taken["ours"], theirs=taken["optuna"])
    result, spread = pairs.times_faster()
    what = f"`summary --json`, {n_trials:,} trials of {STEPS} epochs"
    yield Row(
        what=what,
        ours=seconds(pairs.ours_s),
        theirs=f"{seconds(pairs.theirs_s)} (`optuna trials -f json`)",
        result=result,
        spread=spread,
        at_least=10.0,
        note=f"{count(rounds, 'pair')} on the same file",
    )
    peaks = {name: statistics.median(one.peak_bytes for one in runs[name]) for name in runs}
    yield Row(
        what=f"{what}: memory",
        ours=megabytes(peaks["ours"]),
        theirs=megabytes(peaks["optuna"]),
        result=peaks["ours"] / 1e6,
        unit="MB",
        at_most=MEMORY_MB,
        note="peak of the process",
    )


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield the rows of the small study, then those of the large one."""
    with tempfile.TemporaryDirectory() as name:
        yield of_small(Path(name), 3 if quick else SMALL_ROUNDS)
        n_trials = QUICK_LARGE if quick else LARGE
        yield from of_large(Path(name), n_trials, 1 if quick else LARGE_ROUNDS)


if __name__ == "__main__":
    run_alone(measure)
