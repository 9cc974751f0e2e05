"""Make the figures of docs/figures.md: real studies on the demonstration data, some minutes.

It does what a user does, with the installed command, in a folder that is thrown away.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
FIGURES = HERE.parent / "figures"
TUNECTL = Path(sys.executable).with_name("tunectl")
QUICK = ("--device", "cpu", "--workers", "2", "mlflow.enabled=false")
SMALL = ("dataset.downsample_factor=4", "training.epochs=30")
RANDOM = ("--study", "random", "study.sampler.name=RandomSampler", "--n-trials", "15")
COSTS = (
    "--study",
    "costs",
    "study.metric=[val_mse,n_parameters]",
    "study.direction=[minimize,minimize]",
    "study.pruner={name:NopPruner,kwargs:{}}",
    "--n-trials",
    "15",
)
DIGITS = ("--n-trials", "1", "training.epochs=12")


def main() -> None:
    """Run the studies and write the figures anew."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        tunectl(project, "init")
        shutil.copy(HERE / "optuna_params.yaml", project)
        tunectl(project, "demo")
        tunectl(project, "tune", *QUICK, *SMALL)
        tunectl(project, "tune", *QUICK, *SMALL, *RANDOM)
        tunectl(project, "tune", *QUICK, *SMALL, *COSTS)
        drawn = project / "drawn"
        tunectl(project, "plots", "--compare", "random", "--out", drawn)
        tunectl(project, "plots", "--study", "costs", "--only", "pareto", "--out", drawn)
        digits = project / "digits"
        tunectl(project, "init", digits, "--objective", "image_classifier")
        tunectl(digits, "tune", *QUICK, *DIGITS)
        tunectl(digits, "plots", "--only", "confusion", "--out", drawn)
        shutil.rmtree(FIGURES, ignore_errors=True)
        FIGURES.mkdir()
        for file in drawn.rglob("*.png"):
            save_small(file, FIGURES / file.name)


def save_small(file: Path, to: Path) -> None:
    """Copy a picture with 128 colours, which is a third of the bytes."""
    with Image.open(file) as picture:
        picture.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(to, optimize=True)


def tunectl(project: Path, *arguments: str | Path) -> None:
    """Run a command in the project; what it says goes where this program's words go."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([TUNECTL, "-C", project, *arguments], env=environment, check=True)


if __name__ == "__main__":
    main()
