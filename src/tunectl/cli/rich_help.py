"""Rich's help pages without what they do not need: Markdown and tracebacks are half the price."""

from __future__ import annotations

import sys
from types import ModuleType

# Typer imports these with its help, and uses them for help in Markdown and for its own tracebacks.
_UNUSED = {"rich.markdown": "Markdown", "rich.traceback": "Traceback"}


def prepare_help() -> None:
    """Import what draws help pages, with an empty class for each of what they never use here."""
    if "typer.rich_utils" in sys.modules:
        return
    absent = {name: one for name, one in _UNUSED.items() if name not in sys.modules}
    for name, one in absent.items():
        stand_in = ModuleType(name)
        setattr(stand_in, one, type(one, (), {}))
        sys.modules[name] = stand_in
    try:
        import typer.rich_utils  # noqa: F401
    finally:
        for name in absent:  # whoever else wants them gets the real ones
            del sys.modules[name]
