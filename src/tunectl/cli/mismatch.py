"""A stored study whose search space differs from today's files: what to do about it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

import typer

from tunectl.cli.options import Mismatch
from tunectl.cli.output import stderr
from tunectl.errors import SpaceMismatchError

if TYPE_CHECKING:
    import optuna

    from tunectl.config.schema import Settings
    from tunectl.running.opening import OnMismatch


def open_or_ask(
    settings: Settings, url: str, on_mismatch: Mismatch
) -> tuple[optuna.Study, Settings]:
    """Open the study that the settings name; ask on a terminal if its search space differs.

    Args:
        settings: What the user wrote.
        url: The database's URL.
        on_mismatch: What the user said beforehand.

    Returns:
        The study, and the settings with its name.

    Raises:
        SpaceMismatchError: it differs, and the user wants nothing done about it.
    """
    from tunectl.running.opening import open_study

    if on_mismatch is not Mismatch.ask:
        return open_study(settings, url, cast("OnMismatch", on_mismatch.value))
    try:
        return open_study(settings, url)
    except SpaceMismatchError:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        answer = _ask(settings, url)
        if answer is Mismatch.refuse:
            raise
        return open_study(settings, url, cast("OnMismatch", answer.value))


def _ask(settings: Settings, url: str) -> Mismatch:
    from rich.text import Text

    from tunectl.cli.render import difference_table
    from tunectl.studies.differences import Grade, compare
    from tunectl.studies.lifecycle import load_study, stored_settings
    from tunectl.studies.storage import open_storage

    study = load_study(open_storage(url, create=False), settings.search.study.name)
    differences = compare(study, stored_settings(study), settings)
    console = stderr()
    console.print(Text(f"study {study.study_name} was made with another search space:"))
    console.print(difference_table(differences))
    choices = [Mismatch.migrate, Mismatch.new, Mismatch.refuse]
    if not any(one.of_space and one.grade is Grade.IMPOSSIBLE for one in differences):
        choices.insert(0, Mismatch.accept)
    names = "/".join(choice.value for choice in choices)
    while True:
        answer = typer.prompt(f"What now? ({names})", default=Mismatch.refuse.value, err=True)
        if answer in [choice.value for choice in choices]:
            return Mismatch(answer)
