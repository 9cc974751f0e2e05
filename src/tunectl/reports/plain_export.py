"""The bundle of a trial that leaves no network of ours: what it left, and how it came about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunectl.artifacts.atomic import to_yaml
from tunectl.artifacts.bundle import PARAMS, Content
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import TrialConfig
from tunectl.reports.summary import TrialSummary

README = "README.md"
_LEFT_OUT = {"checkpoints"}


LEFT = "left_by_trial"
"""Folder of what would have the name of a file that every bundle has."""


def plain_files(source: TrialDir, config: TrialConfig, trial: TrialSummary) -> dict[str, Content]:
    """Return what goes into the bundle: all that the trial left, its parameters, and a page.

    A file of the trial's with the name of one of the last two goes into a folder of its own.

    Args:
        source: The trial's folder.
        config: Its configuration.
        trial: The trial.
    """
    files: dict[str, Content] = {
        _placed(str(file.relative_to(source.path))): file for file in _left(source.path)
    }
    return {
        **files,
        PARAMS: to_yaml(config.run.model_dump(mode="json")).encode(),
        README: _page(config, trial, sorted(files)).encode(),
    }


def _placed(name: str) -> str:
    return f"{LEFT}/{name}" if name in (PARAMS, README) else name


def _left(folder: Path) -> Iterator[Path]:
    """Yield the files of a trial that are of use elsewhere; links lead out of it and are not."""
    for file in sorted(folder.rglob("*")):
        parts = file.relative_to(folder).parts
        is_meant = parts[0] not in _LEFT_OUT and not parts[0].startswith(".")  # locks
        if is_meant and file.is_file() and not file.is_symlink():
            yield file


def _page(config: TrialConfig, trial: TrialSummary, files: list[str]) -> str:
    study = config.study
    rows = [f"| `{key}` | {value} |" for key, value in sorted(config.parameters.items())]
    reached = [f"| {name} | {value:.6g} |" for name, value in sorted(_numbers(trial).items())]
    lines = [
        f"# Trial {config.number} of study {study.name}",
        "",
        f"Run by `{config.run.objective_name}`; {study.metric} ({study.direction}) is "
        f"{trial.value:.6g}."
        if trial.value is not None
        else "",
        "",
        "| metric | value |",
        "|---|---|",
        *reached,
        "",
        "| parameter | value |",
        "|---|---|",
        *rows,
        "",
        f"`{PARAMS}` is a `params.yaml` with these values. What the trial left:",
        "",
        *(f"- `{name}`" for name in files),
    ]
    return "\n".join(lines) + "\n"


def _numbers(trial: TrialSummary) -> Mapping[str, Any]:
    return dict(trial.metrics)
