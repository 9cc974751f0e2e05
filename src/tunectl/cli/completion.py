"""What a shell may complete: names of studies, numbers of trials and kinds of figure.

A user who presses Tab waits for it, so nothing heavy is imported, not even what checks the
configuration; and a completion that cannot be made is none, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path

import typer

_Completion = Callable[[typer.Context, str], list[str]]
# What a shell would take apart or read as something else is not offered.
_PLAIN = re.compile(r"[\w.,+@%/-]+")


def _quiet(complete: _Completion) -> _Completion:
    """Let a completion fail without a word: the command itself will say what is wrong."""

    @wraps(complete)
    def completed(context: typer.Context, incomplete: str) -> list[str]:
        try:
            return complete(context, incomplete)
        except Exception:
            return []

    return completed


@_quiet
def complete_study(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of studies that begin with what was typed."""
    from tunectl.studies.glance import study_names

    names = study_names(_storage_url(context))
    return [name for name in names if name.startswith(incomplete) and _PLAIN.fullmatch(name)]


@_quiet
def complete_trial(context: typer.Context, incomplete: str) -> list[str]:
    """Return the numbers of the study's trials that begin with what was typed."""
    return _numbers(context, incomplete)


@_quiet
def complete_finished(context: typer.Context, incomplete: str) -> list[str]:
    """Return the numbers of the study's completed trials."""
    return _numbers(context, incomplete, only="complete")


@_quiet
def complete_objective(context: typer.Context, incomplete: str) -> list[str]:  # noqa: ARG001
    """Return the objectives that `init` has files for and that begin with what was typed."""
    from tunectl.config.seed_spaces import SEED_SPACES

    return [name for name in SEED_SPACES if name.startswith(incomplete)]


@_quiet
def complete_kinds(context: typer.Context, incomplete: str) -> list[str]:  # noqa: ARG001
    """Return the kinds of figure that may follow those typed, with these before them."""
    from tunectl.reports.figures.names import KindName

    return _further(list(KindName), incomplete)


@_quiet
def complete_formats(context: typer.Context, incomplete: str) -> list[str]:  # noqa: ARG001
    """Return the formats of figures that may follow those typed, with these before them."""
    from tunectl.reports.figures.names import Format

    return _further(list(Format), incomplete)


@_quiet
def complete_studies(context: typer.Context, incomplete: str) -> list[str]:
    """Return the studies that may follow those typed, with these before them."""
    from tunectl.studies.glance import study_names

    names = study_names(_storage_url(context))
    return _further([name for name in names if _PLAIN.fullmatch(name)], incomplete)


def _further(names: Sequence[str], incomplete: str) -> list[str]:
    """Return what a list with commas may become by the next of its names."""
    typed, comma, start = incomplete.rpartition(",")
    taken = typed.split(",")
    rest = (name for name in names if name.startswith(start) and name not in taken)
    return [f"{typed}{comma}{name}" for name in rest]


def _numbers(context: typer.Context, incomplete: str, **state: str) -> list[str]:
    from tunectl.studies.glance import trial_numbers

    url = _storage_url(context)
    study = _study(context, url)
    if study is None:
        return []
    return [str(number) for number in trial_numbers(url, study, incomplete, **state)]


def _study(context: typer.Context, url: str) -> str | None:
    """Return the study meant: the one typed, that of optuna_params.yaml, or the only one."""
    from tunectl.config.quick import glance_at_study
    from tunectl.studies.glance import study_names

    typed = context.params.get("study")
    chosen = str(typed) if typed else glance_at_study(_project(context))
    if chosen is not None:
        return chosen
    names = study_names(url)
    return names[0] if len(names) == 1 else None


def _storage_url(context: typer.Context) -> str:
    from tunectl.config.quick import glance_at_url

    typed = context.params.get("storage")
    return glance_at_url(_project(context), str(typed) if typed else None)


def _project(context: typer.Context) -> Path:
    return Path(context.find_root().params.get("project") or ".").absolute()
