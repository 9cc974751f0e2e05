"""The best trial as a bundle."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from tunectl.artifacts.bundle import export_bundle
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import TrainingRun, TrialConfig
from tunectl.errors import StorageError
from tunectl.reports.summary import TrialSummary


def export_best(best: TrialSummary, project: Path, target: Path) -> Path:
    """Write the bundle of a completed trial.

    Args:
        best: The trial.
        project: Absolute path of the project folder.
        target: The bundle's folder; an earlier bundle there is replaced.

    Returns:
        The bundle's absolute path.

    Raises:
        StorageError: the trial's directory is gone or damaged, or the bundle cannot be written.
        UsageError: something stands at `target` that is no bundle.
    """
    if best.output_dir is None or not (project / best.output_dir).is_dir():
        raise StorageError(f"the directory of trial {best.number} is not here: {best.output_dir}")
    source = TrialDir(project / best.output_dir)
    try:
        document = yaml.safe_load(source.config_file.read_text(encoding="utf-8"))
        config = TrialConfig.model_validate(document)
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise StorageError(f"{source.config_file} cannot be read: {error}") from error
    params = config.model_dump(mode="json", include=set(TrainingRun.model_fields))
    return export_bundle(source, target, params)
