"""Reading a study: `summary --json` of a small and of a large one, and `summary` for people.

    python benchmarks/summaries.py [--quick]

The small one, 20 trials, against `python -c "import optuna"`; the large one, 10,000 trials of 50
epochs, against Optuna's own `optuna trials -f json` on the same file; so too `summary`, which also
works out what the study has taught.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from commands import PYTHON, TUNECTL, Run, run
from pairs import Pairs, Side, in_turn
from projects import SPACE_YAML, new_project
from rows import Row, count, megabytes, run_alone, seconds

SMALL, LARGE, QUICK_LARGE, STEPS = 20, 10_000, 1000, 50
SMALL_ROUNDS, LARGE_ROUNDS = 15, 3
MEMORY_MB = 250
THEIRS = "`optuna trials -f json`"
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


def summary_for_people(project: Path, n_trials: int) -> Run:
    """Run `summary`; make sure that it tells of all trials, and of importances."""
    done = run([TUNECTL, "summary"], cwd=project)
    assert f"of {n_trials} trials" in done.out
    assert "importances" in done.out
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
    """Yield the rows of the large study: time and memory, for programs and for people."""
    project = project_with(folder, n_trials)
    of = f"{n_trials:,} trials of {STEPS} epochs"
    json_of, people_of = f"`summary --json`, {of}", f"`summary`, {of}"
    ways = {
        json_of: lambda: summary(project, n_trials),
        people_of: lambda: summary_for_people(project, n_trials),
        THEIRS: lambda: optunas_export(project),
    }
    runs: dict[str, list[Run]] = {name: [] for name in ways}

    def once(name: str) -> float:
        runs[name].append(ways[name]())
        return runs[name][-1].wall_s

    in_turn({name: partial(once, name) for name in ways}, rounds)
    for what in (json_of, people_of):
        yield from _compared(what, runs[what], runs[THEIRS], has_target=what == json_of)


def _compared(
    what: str, ours: Sequence[Run], theirs: Sequence[Run], *, has_target: bool
) -> Iterator[Row]:
    pairs = Pairs(ours=[one.wall_s for one in ours], theirs=[one.wall_s for one in theirs])
    result, spread = pairs.times_faster()
    yield Row(
        what=what,
        ours=seconds(pairs.ours_s),
        theirs=f"{seconds(pairs.theirs_s)} ({THEIRS})",
        result=result,
        spread=spread,
        at_least=10.0 if has_target else None,
        note=f"{count(len(ours), 'pair')} on the same file",
    )
    peaks = [statistics.median(one.peak_bytes for one in side) for side in (ours, theirs)]
    yield Row(
        what=f"{what}: memory",
        ours=megabytes(peaks[0]),
        theirs=megabytes(peaks[1]),
        result=peaks[0] / 1e6,
        unit="MB",
        at_most=MEMORY_MB if has_target else None,
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
