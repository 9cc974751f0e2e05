"""The bundle of a trial that leaves no network of ours: what it left, and how it came about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunectl.artifacts.atomic import to_yaml
from tunectl.artifacts.bundle import PARAMS
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import TrialConfig
from tunectl.reports.summary import TrialSummary

README = "README.md"
_LEFT_OUT = {"checkpoints"}


def plain_files(source: TrialDir, config: TrialConfig, trial: TrialSummary) -> dict[str, bytes]:
    """Return what goes into the bundle: all that the trial left, its parameters, and a page.

    Args:
        source: The trial's folder.
        config: Its configuration.
        trial: The trial.
    """
    files = {str(file.relative_to(source.path)): file.read_bytes() for file in _left(source.path)}
    return {
        **files,
        PARAMS: to_yaml(config.run.model_dump(mode="json")).encode(),
        README: _page(config, trial, sorted(files)).encode(),
    }


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
