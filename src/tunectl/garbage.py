"""How often Python looks for garbage: hardly ever while it imports, as usual once trials run.

What is imported stays, so looking through it again and again finds nothing: a sixth of the time
from the start to the first batch. It must not know anything else of the program.
"""

from __future__ import annotations

import gc

# More than the imports of a short command leave, and still a bound for one that draws figures.
SELDOM = 200_000

_usual: list[tuple[int, int, int]] = []


def collect_seldom() -> None:
    """Let a program begin without looking for garbage in what it imports."""
    if not _usual:
        _usual.append(gc.get_threshold())
        gc.set_threshold(SELDOM, *gc.get_threshold()[1:])


def collect_as_usual() -> None:
    """Look for garbage as often as Python does by itself, but not in what is there by now.

    What is garbage by now stays, too: looking through everything once more costs more than that.
    Nothing happens where `collect_seldom` was not called, as in a program that uses this package.
    """
    if _usual:
        gc.freeze()
        gc.set_threshold(*_usual.pop())
