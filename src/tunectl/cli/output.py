"""Where a command's words go: results to standard output, everything else to standard error.

Rich is imported when something is drawn: JSON, paths and completions need none of it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

# Wide enough that a table in a pipe or a log file is never cut.
PIPE_WIDTH = 200


def stdout() -> Console:
    """Return the console of results."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def stderr() -> Console:
    """Return the console of everything else."""
    from rich.console import Console

    # While the user's own code runs, `sys.stderr` is what it prints to.
    stream = getattr(sys.stderr, "outside", sys.stderr)
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, stderr=True, width=width, highlight=False)


def print_json(document: object) -> None:
    """Print the one JSON document of a command."""
    from tunectl.artifacts.atomic import to_json

    emit(to_json(document) + "\n")


def emit(text: str) -> None:
    """Write plain text to standard output."""
    sys.stdout.write(text)
    sys.stdout.flush()


def show(*renderables: Any) -> None:
    """Print Rich renderables to standard output; what is no terminal gets no padded lines."""
    console = stdout()
    if console.is_terminal:
        for renderable in renderables:
            console.print(renderable)
    else:
        with console.capture() as captured:
            for renderable in renderables:
                console.print(renderable)
        sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().split("\n")[:-1])
    sys.stdout.flush()
