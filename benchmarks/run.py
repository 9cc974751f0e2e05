"""All benchmarks, one after the other, each in a process of its own; writes results.md.

    make bench                                 all of them
    make bench ONLY="asking summaries"         some; what results.md says of the others is kept
    python benchmarks/run.py --quick           does it run at all? writes nothing
    python benchmarks/run.py --list            which there are

The machine should have nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import machine
import results
from rows import Row, shown

HERE = Path(__file__).parent
NAMES = (
    "trials_per_hour",
    "training_epoch",
    "convolution_ceiling",
    "epoch_cost",
    "asking",
    "command_line",
    "summaries",
    "first_batch",
    "large_file",
    "mlflow_overhead",
    "gpu",
)


def about(name: str) -> str:
    """Return the first line of a benchmark's description, without importing what it measures."""
    source = (HERE / f"{name}.py").read_text(encoding="utf-8")
    return source.removeprefix('"""').split("\n", 1)[0]


def run_benchmark(name: str, *, quick: bool) -> results.Section:
    """Run a benchmark in a process of its own and show its rows as they come.

    Raises:
        RuntimeError: it failed; what it said stands on standard error.
    """
    command = [sys.executable, str(HERE / f"{name}.py"), "--json", *(["--quick"] if quick else [])]
    begun = before = time.perf_counter()
    rows = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            row = Row(**json.loads(line))
            now = time.perf_counter()
            print(shown(row, now - before), flush=True)
            rows.append(row)
            before = now
    if process.returncode != 0:
        raise RuntimeError(f"{name} ended with {process.returncode}")
    took_s = time.perf_counter() - begun
    return results.Section(name=name, about=about(name), rows=rows, took_s=took_s)


def quietness() -> str:
    """Return how busy the machine is, in words."""
    load = machine.load()
    return "unknown" if load is None else f"{load:.2f} processes"


def main() -> int:
    """Run what is asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("only", nargs="*", metavar="NAME", help="benchmarks to run; default: all")
    parser.add_argument("--quick", action="store_true", help="few rounds, and no file")
    parser.add_argument("--list", action="store_true", help="print what there is")
    parser.add_argument("--out", type=Path, help="the page to write, instead of results.md")
    given = parser.parse_args()
    unknown = sorted(set(given.only) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    if given.list:
        print("\n".join(f"{name:<21}{about(name)}" for name in NAMES))
        return 0
    file = given.out or (None if given.quick else HERE / "results.md")
    return run_all([name for name in NAMES if name in given.only or not given.only], file, given)


def run_all(names: list[str], file: Path | None, given: argparse.Namespace) -> int:
    """Run benchmarks and write the page after each; return the exit code."""
    quiet, made, failed = quietness(), [], []
    print(f"load before: {quiet}; {machine.commit()}")
    for name in names:
        print(f"\n{name}: {about(name)}")
        try:
            made.append(run_benchmark(name, quick=given.quick))
        except RuntimeError as error:
            print(error, file=sys.stderr)
            failed.append(name)
            continue
        if file is not None:
            results.write(file, NAMES, made, quiet)
    rows = [row for section in made for row in section.rows]
    met, missed = (sum(row.verdict == word for row in rows) for word in ("met", "missed"))
    minutes = sum(section.took_s for section in made) / 60
    print(f"\n{met} targets met, {missed} missed, {minutes:.1f} minutes", end="")
    print(f"; written: {file.name}" if file else "")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
