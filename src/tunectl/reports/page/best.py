"""The best trial as the report shows it: its values, where they lie, its errors per target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import Settings
from tunectl.objectives.signal_summary import unit_of
from tunectl.reports.summary import StudySummary, TrialSummary, read_trial_files
from tunectl.search.space import SearchSpace, describe

TARGET_METRICS = ("r2", "rmse", "mae")
CLASS_METRICS = ("precision", "recall", "f1", "support")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter of the best trial.

    Args:
        name: Its dotted key.
        value: What the trial had.
        searched: What was searched, as one line; empty where that is not known.
    """

    name: str
    value: Any
    searched: str


@dataclass(frozen=True, kw_only=True)
class Target:
    """How well one target is predicted on the test split, in its own unit.

    Args:
        name: The target's name.
        unit: Its unit, empty where it is not known.
        errors: R², RMSE and MAE; None where there is none.
    """

    name: str
    unit: str
    errors: Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class BestTrial:
    """The trial that stands for the study.

    Args:
        trial: The trial.
        parameters: Its parameters by name.
        targets: Its errors on the test split; empty where nothing is known of them.
        classes: Of images: each class's name, with precision, recall, F1 and number of images on
            the test split.
        info: Its `trial_info.yaml`, empty where there is none.
        has_directory: Whether its directory can be read from here.
    """

    trial: TrialSummary
    parameters: Sequence[Parameter]
    targets: Sequence[Target]
    classes: Sequence[tuple[str, Sequence[float | None]]]
    info: Mapping[str, Any]
    has_directory: bool


def look_at_best(
    summary: StudySummary, settings: Settings | None, project: Path
) -> BestTrial | None:
    """Return the best trial, None while none is complete.

    Args:
        summary: The study.
        settings: What is stored with it, None for one that another program made.
        project: Absolute path of the project folder.
    """
    best = summary.best
    if best is None:
        return None
    space = SearchSpace(settings.search.params_to_tune).specs if settings else {}
    directory = directory_here(best, project)
    metrics = read_trial_files(best, project).metrics
    return BestTrial(
        trial=best,
        parameters=[
            Parameter(
                name=name,
                value=value,
                searched=describe(space[name]) if name in space else "",
            )
            for name, value in sorted(best.params.items())
        ],
        targets=_targets(metrics),
        classes=_classes(metrics),
        info=directory.read_info() if directory else {},
        has_directory=directory is not None,
    )


def directory_here(trial: TrialSummary, project: Path) -> TrialDir | None:
    """Return a trial's directory, None where none is recorded or it cannot be seen from here."""
    if trial.output_dir is None:
        return None
    directory = TrialDir(project / trial.output_dir)
    return directory if directory.is_there else None


def _targets(metrics: Mapping[str, Any]) -> list[Target]:
    per_target = metrics.get("per_target")
    if not isinstance(per_target, Mapping):
        return []
    return [
        Target(
            name=str(name),
            unit=unit_of(str(name)),
            errors=[_finite(row.get(metric)) for metric in TARGET_METRICS],
        )
        for name, row in per_target.items()
        if isinstance(row, Mapping)
    ]


def _classes(metrics: Mapping[str, Any]) -> list[tuple[str, list[float | None]]]:
    per_class = metrics.get("per_class")
    if not isinstance(per_class, Mapping):
        return []
    return [
        (str(name), [_finite(row.get(metric)) for metric in CLASS_METRICS])
        for name, row in per_class.items()
        if isinstance(row, Mapping)
    ]


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
