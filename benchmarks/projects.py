"""Project folders for benchmarks: data, the three files, and the installed command in them."""

from __future__ import annotations

from pathlib import Path

from commands import TUNECTL, run

WEIGHTS = tuple(f"training.weight_target_{index}" for index in range(5))
SPACE_YAML = """\
params_to_tune:
  model.hidden: {type: int, low: 32, high: 128, step: 16}
  model.dropout_rate: {type: float, low: 0.0, high: 0.5, step: 0.05}
  model.use_residual: {type: categorical, choices: [true, false]}
  training.learning_rate: {type: float, low: 1.0e-5, high: 1.0e-2, log: true}
  training.batch_size: {type: categorical, choices: [2, 4, 8]}
  training.weight_decay: {type: float, low: 1.0e-6, high: 1.0e-3, log: true}
  dataset.downsample_factor: {type: int, low: 1, high: 4}
""" + "".join(f"  {name}: {{type: float, low: 0.1, high: 10.0}}\n" for name in WEIGHTS)
"""A search space of twelve parameters."""
CONFIG = "runtime: {device: cpu}\nmlflow: {enabled: false}\n"


def new_project(folder: Path, *, config: str = CONFIG, params: str, search: str) -> Path:
    """Make a project folder with its three files.

    Args:
        folder: Where; its parent is there.
        config: Contents of config.yaml.
        params: Contents of params.yaml.
        search: Contents of optuna_params.yaml.
    """
    folder.mkdir()
    for name, text in (
        ("config.yaml", config),
        ("params.yaml", params),
        ("optuna_params.yaml", search),
    ):
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def demo_data(folder: Path, *, layout: str = "1d", samples: int = 120) -> tuple[Path, Path]:
    """Write the demonstration data; return the files of signals and targets."""
    run(
        [TUNECTL, "demo", str(folder), "--layout", layout, "--samples", str(samples)],
        cwd=folder.parent,
    )
    return folder / "x_train.npy", folder / "t_train.npy"


def dataset_yaml(x_path: Path, t_path: Path) -> str:
    """Return the line of params.yaml that names the data."""
    return f'dataset: {{source: npy, x_path: "{x_path}", t_path: "{t_path}"}}\n'
