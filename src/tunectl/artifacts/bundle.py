"""A bundle: the best trial as a folder that can be given away.

It copies what the trial left and adds a `params_best.yaml` from which the next training starts.
It knows files only.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunectl.artifacts import atomic
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.errors import StorageError, UsageError

MARK = "params_best.yaml"


def export_bundle(source: TrialDir, target: Path, params: Mapping[str, Any]) -> Path:
    """Write a bundle beside its place and put it there whole.

    Args:
        source: The directory of a completed trial.
        target: The bundle's folder; an earlier bundle there is replaced.
        params: A valid `params.yaml` with the trial's parameters merged in.

    Returns:
        The bundle's absolute path.

    Raises:
        UsageError: something stands at `target` that is no bundle; it is left alone.
        StorageError: it cannot be written.
    """
    target = target.absolute()
    if not source.weights_file.is_file():
        raise StorageError(f"{source.weights_file} is gone, so there is no model to export")
    if target.exists() and not (target / MARK).is_file() and not _is_empty(target):
        raise UsageError(f"{target} exists and is no bundle, so it is left as it is")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
        try:
            _fill(source, beside, params)
            beside.chmod(0o755)
            _swap(beside, target)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def _fill(source: TrialDir, folder: Path, params: Mapping[str, Any]) -> None:
    for file in (
        source.weights_file,
        source.model_file,
        source.scaling_file,
        source.metrics_file,
        source.summary_file,
        source.config_file,
        source.info_file,
        source.learning_curves_file,
    ):
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    if source.plots_dir.is_dir():
        shutil.copytree(source.plots_dir, folder / source.plots_dir.name)
    atomic.write_yaml(folder / MARK, params)


def _swap(beside: Path, target: Path) -> None:
    """Put `beside` in `target`'s place; the old bundle is moved away first and then removed."""
    if not target.exists():
        beside.replace(target)
        return
    old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-old-"))
    target.replace(old / "bundle")
    beside.replace(target)
    shutil.rmtree(old, ignore_errors=True)


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())
