"""The objectives that the conformance suite is run over, each as a project folder that learns.

Another objective is another `Case` here; the suite itself knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cli_project import CONFIG, Project
from warm_project import WarmProject, small_project

FUNCTION = '''\
import time

import numpy as np


def run(trial):
    """Fit a line by gradient descent."""
    settings = trial.config["training"]
    generator = np.random.default_rng(trial.seed)
    x = generator.normal(size=64)
    y = 3.0 * x + 0.1 * generator.normal(size=64)
    slope, first = np.zeros(1), 1
    begun = trial.checkpoint.load()
    if begun is not None:
        slope, first = begun["slope"], begun["step"] + 1
    for step in range(first, settings["epochs"] + 1):
        time.sleep(settings["pause_s"])
        slope = slope - settings["rate"] * np.mean((slope * x - y) * x)
        trial.report(step, loss=float(np.mean((slope * x - y) ** 2)))
        if trial.should_prune():
            return
        trial.checkpoint.save(slope=slope, step=step)
'''

COMMAND = """\
#!/bin/sh
# Usage: fit.sh RATE EPOCHS PAUSE
exec awk -v rate="$1" -v epochs="$2" -v pause="$3" -v saved="$TUNECTL_CHECKPOINT_DIR/saved" '
function report() {
  printf "tunectl:report step=%d loss=%.17g\\n", step, (3 - slope) ^ 2
  fflush()
}
BEGIN {
  if ((getline line < saved) > 0) {
    split(line, part)
    step = part[1]
    slope = part[2]
    report()  # once more: it may not have been heard
  }
  while (step < epochs) {
    if (pause > 0) system("sleep " pause)
    step++
    slope += rate * (3 - slope)
    report()
    printf "%d %.17g\\n", step, slope > (saved ".new")
    close(saved ".new")
    system("mv " saved ".new " saved)
  }
}'
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One objective, and what a test has to know of it.

    Args:
        make: Makes its project folder, with a study `s` of two trials that both complete.
        long: Overrides that make a trial last long enough to be killed.
        hopeless: Overrides under which the threshold pruner ends every trial.
        wrong: An override that `check` has to refuse, and what its message has to name.
        inputs: A file that `predict` takes; None where the objective leaves no network.
    """

    make: Callable[[Path], Project]
    long: tuple[str, ...]
    hopeless: tuple[str, ...]
    wrong: tuple[str, str]
    inputs: str | None = None


def _search(metric: str, parameters: str, *, name: str = "s", n_trials: int = 2) -> str:
    return f"""\
study: {{name: {name}, metric: {metric}, n_trials: {n_trials}, pruner: {{name: NopPruner}}}}
params_to_tune:
{parameters}
"""


def _flow_cnn(path: Path) -> Project:
    space = "  training.learning_rate: {low: 1.0e-3, high: 1.0e-2, log: true}"
    return small_project(path, optuna_params=_search("val_mse", space))


def _signal_regressor(path: Path) -> Project:
    project = _flow_cnn(path)
    params = (path / "params.yaml").read_text(encoding="utf-8")
    project.write(params=f"objective: signal_regressor\n{params}")
    return project


def function_project(path: Path, *, name: str = "s", n_trials: int = 2) -> Project:
    """Return a project whose trials are a function of Python, which are over in no time.

    Args:
        path: The folder, which may be that of another project already.
        name: The study's name.
        n_trials: How many trials it has.
    """
    project = WarmProject(path)
    (path / "fit.py").write_text(FUNCTION, encoding="utf-8")
    space = "  training.rate: {low: 1.0e-3, high: 1.0e-1, log: true}"
    project.write(
        config=CONFIG,
        params="objective: fit:run\ntraining: {epochs: 5, rate: 0.1, pause_s: 0.0}\n",
        optuna_params=_search("loss", space, name=name, n_trials=n_trials),
    )
    return project


def _command(path: Path) -> Project:
    project = WarmProject(path)
    (path / "fit.sh").write_text(COMMAND, encoding="utf-8")
    (path / "fit.sh").chmod(0o755)
    arguments = '"{training.rate}", "{training.epochs}", "{training.pause_s}"'
    project.write(
        config=CONFIG,
        params=f"""\
objective: {{command: [./fit.sh, {arguments}], metric: {{from: output}}}}
training: {{epochs: 5, rate: 0.1, pause_s: 0.0}}
""",
        optuna_params=_search("loss", "  training.rate: {low: 1.0e-3, high: 1.0e-1, log: true}"),
    )
    return project


def _mlp(path: Path) -> Project:
    project = WarmProject(path)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)).astype(np.float32)
    np.save(path / "x.npy", x)
    np.save(path / "t.npy", x[:, :1] * 2 - x[:, 1:2])
    training = "{epochs: 3, batch_size: 8, scheduler: cosine, warmup_epochs: 1, clip_norm: 1.0}"
    project.write(
        config=CONFIG,
        params="objective: mlp\ndataset: {source: npy, x_path: x.npy, t_path: t.npy}\n"
        f"model: {{nodes: 8}}\ntraining: {training}\n",
        optuna_params=_search("val_mse", "  model.dropout_rate: {low: 0.0, high: 0.5}"),
    )
    return project


def _images(path: Path) -> Project:
    project = WarmProject(path)
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    x = rng.integers(0, 60, (60, 8, 8)) + 120 * labels[:, None, None] * np.eye(8, dtype=int)
    np.save(path / "x.npy", x.astype(np.uint8))
    np.save(path / "t.npy", np.array(["plain", "striped"])[labels])
    project.write(
        config=CONFIG,
        params="objective: image_classifier\n"
        "dataset: {source: npy, x_path: x.npy, t_path: t.npy}\n"
        "augmentation: {flip_horizontal: true, noise: 0.1}\n"
        "model: {width: 4}\ntraining: {epochs: 3, batch_size: 8, scheduler: one_cycle}\n",
        optuna_params=_search("val_loss", "  augmentation.shift: {low: 0.0, high: 0.2}"),
    )
    return project


_NEVER = "study.pruner={name:ThresholdPruner,kwargs:{upper:1.0e-9}}"

CASES: dict[str, Case] = {
    "signal_regressor": Case(
        make=_signal_regressor,
        long=("training.epochs=400",),
        hopeless=(_NEVER,),
        wrong=("training.epochs=0", "training.epochs"),
        inputs="x.npy",
    ),
    "flow_cnn": Case(
        make=_flow_cnn,
        long=("training.epochs=400",),
        hopeless=(_NEVER,),
        wrong=("training.epochs=0", "training.epochs"),
        inputs="x.npy",
    ),
    "command": Case(
        make=_command,
        long=("training.epochs=60", "training.pause_s=0.02"),
        hopeless=(_NEVER,),
        wrong=("objective.command=[./no-such-program]", "objective.command"),
    ),
    "image_classifier": Case(
        make=_images,
        long=("training.epochs=200",),
        hopeless=(_NEVER,),
        wrong=("augmentation.rotation=400", "augmentation.rotation"),
        inputs="x.npy",
    ),
    "mlp": Case(
        make=_mlp,
        long=("training.epochs=600",),
        hopeless=(_NEVER,),
        wrong=("model.activation=sine", "model.activation"),
        inputs="x.npy",
    ),
    "function": Case(
        make=function_project,
        long=("training.epochs=60", "training.pause_s=0.02"),
        hopeless=(_NEVER,),
        wrong=("objective=fit:walk", "objective"),
    ),
}
