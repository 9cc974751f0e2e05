"""How long the shortest commands take: help, version, completion.

    python benchmarks/command_line.py [--quick]

Whole processes in turn with `python -c "import typer, rich"`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from commands import PYTHON, TUNECTL, run
from pairs import Pairs, in_turn
from rows import Row, count, run_alone, seconds

ROUNDS, QUICK_ROUNDS = 21, 3
YARDSTICK = "import typer, rich"
COMPLETION = {
    "_TUNECTL_COMPLETE": "complete_bash",
    "COMP_WORDS": "tunectl su",
    "COMP_CWORD": "1",
}


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield a row for each command."""
    ways: dict[str, tuple[list[str], Mapping[str, str]]] = {
        "yardstick": ([PYTHON, "-c", YARDSTICK], {}),
        "`tunectl --help`": ([TUNECTL, "--help"], {}),
        "`tunectl --version`": ([TUNECTL, "--version"], {}),
        "completion of a command": ([TUNECTL], COMPLETION),
    }
    rounds = QUICK_ROUNDS if quick else ROUNDS
    with tempfile.TemporaryDirectory() as name:

        def once(way: str) -> float:
            command, environment = ways[way]
            return run(command, cwd=Path(name), environment=environment).wall_s

        for way in ways:
            once(way)  # not counted: compiles what has no bytecode yet
        taken = in_turn({way: partial(once, way) for way in ways}, rounds)
    for way in list(ways)[1:]:
        pairs = Pairs(ours=taken[way], theirs=taken["yardstick"])
        result, spread = pairs.times_slower()
        yield Row(
            what=way,
            ours=seconds(pairs.ours_s),
            theirs=f"{seconds(pairs.theirs_s)} (`{YARDSTICK}`)",
            result=result,
            spread=spread,
            at_most=2.0,
            note=count(rounds, "pair"),
        )


if __name__ == "__main__":
    run_alone(measure)
