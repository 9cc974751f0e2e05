"""The program's own log, on standard error: how much of it is shown, and how it looks."""

from __future__ import annotations

import logging
import warnings

from tunectl.config.passwords import hide_passwords

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
STYLES = {logging.WARNING: "yellow", logging.ERROR: "red"}
_logger = logging.getLogger("tunectl")


def set_up_logging(*, verbosity: int, quiet: bool, level: str = "info") -> None:
    """Show the program's log from a level on.

    Args:
        verbosity: How often -v was given: once is info, twice debug, whatever `level` says.
        quiet: Errors only.
        level: `logging.level` of config.yaml.
    """
    shown = min(LEVELS[level], {0: logging.ERROR, 1: logging.INFO}.get(verbosity, logging.DEBUG))
    handler = LogLines(logging.ERROR if quiet else shown)
    _logger.handlers = [handler]
    _logger.setLevel(logging.DEBUG)
    _logger.propagate = False
    logging.raiseExceptions = False  # a log that cannot be written costs nothing
    if verbosity < 2:
        warnings.simplefilter("ignore")


def shows_details() -> bool:
    """Whether tracebacks are wanted."""
    return any(handler.level <= logging.DEBUG for handler in _logger.handlers)


class LogLines(logging.Handler):
    """A line for each message, the first time it comes: every trial may have the same warning.

    Args:
        level: The least level that is shown.
    """

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line of a record."""
        line = hide_passwords(f"{record.levelname.lower()}: {record.getMessage()}")
        if line in self._said:
            return
        self._said.add(line)
        from rich.text import Text  # most commands have nothing to say

        from tunectl.cli.output import stderr

        console = stderr()
        console.print(Text(line, style=STYLES.get(record.levelno, "dim")), soft_wrap=True)
        if record.exc_info and shows_details():
            trace = hide_passwords(logging.Formatter().formatException(record.exc_info))
            console.print(Text(trace, style="dim"))
