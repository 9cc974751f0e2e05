"""The folders of examples/, each run as its README says, but shorter."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from warm_project import WarmProject

EXAMPLES = Path(__file__).parents[2] / "examples"

# Overrides under which a trial of an example takes a second or two.
SHORTER: dict[str, tuple[str, ...]] = {
    "digits-cnn": ("training.epochs=1", "model.width=8", "dataset.limit_samples=200"),
    "digits-resnet18": ("training.epochs=1", "model.width=4", "dataset.limit_samples=200"),
    "mlp": ("training.epochs=2",),
    "pytorch": ("training.epochs=2",),
    "sklearn": ("forest.n_estimators=5", "folds=3"),
    "soft_sensor": ("training.epochs=1",),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()))
def test_an_example_runs_as_it_is(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    shutil.copytree(EXAMPLES / name, folder)
    project = WarmProject(folder)
    project.ok("check")
    project.ok("tune", "--n-trials", "2", "mlflow.enabled=false", *SHORTER.get(name, ()))

    states = project.ok("summary", "--json").document()["states"]
    assert states["complete"] + states["pruned"] == 2
    assert (EXAMPLES / name / "README.md").is_file()
