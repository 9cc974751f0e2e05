"""How much of the program's own log is shown."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tunectl.cli.logs import set_up_logging, shows_details

LOGGER = logging.getLogger("tunectl")
LOG = logging.getLogger("tunectl.somewhere")


@pytest.fixture(autouse=True)
def logger_as_before() -> Iterator[None]:
    before = LOGGER.handlers, LOGGER.level, LOGGER.propagate
    yield
    LOGGER.handlers, LOGGER.level, LOGGER.propagate = before


@pytest.mark.parametrize(
    ("verbosity", "quiet", "level", "shown"),
    [
        (0, False, "info", ["info", "warning", "error"]),
        (0, False, "error", ["error"]),
        (1, False, "error", ["info", "warning", "error"]),
        (2, False, "error", ["debug", "info", "warning", "error"]),
        (0, True, "debug", ["error"]),
    ],
)
def test_the_configured_level_counts_unless_the_command_line_says_more_or_less(
    capsys: pytest.CaptureFixture[str],
    verbosity: int,
    quiet: bool,
    level: str,
    shown: list[str],
) -> None:
    set_up_logging(verbosity=verbosity, quiet=quiet, level=level)

    for name in ("debug", "info", "warning", "error"):
        LOG.log(logging.getLevelNamesMapping()[name.upper()], "something [odd] of %s", name)

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [f"{name}: something [odd] of {name}" for name in shown]
    assert shows_details() == ("debug" in shown)


def test_the_same_warning_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(verbosity=0, quiet=False)

    for trial in (0, 1, 1, 0):
        LOG.warning("trial %d is odd", trial)

    assert capsys.readouterr().err == "warning: trial 0 is odd\nwarning: trial 1 is odd\n"
