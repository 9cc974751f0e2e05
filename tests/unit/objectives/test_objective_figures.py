from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from tunectl.objectives.figures import draw_learning_curves, draw_predictions, file_stem


def _assert_is_drawn(path: Path) -> None:
    pixels = imread(path)
    assert min(pixels.shape[:2]) > 300
    assert pixels.std() > 0.01, "the figure is blank"


@pytest.mark.parametrize(
    ("metric", "values", "best_epoch"),
    [
        ("val_mse", [1.0, 0.5, 0.7], 2),
        ("val_mse", [1.0], 1),
        ("val_r2", [-3.0, 0.2, 0.9], 3),
        ("val_mse", [0.0, 0.0], 1),
        ("val_mse", [float("nan")], None),
        ("val_mse", [1e-9, float("inf"), 1e12], 1),
        ("val_mse", [], None),
    ],
)
def test_learning_curves_of_any_history(
    tmp_path: Path, metric: str, values: Sequence[float], best_epoch: int | None
) -> None:
    histories = {"train_loss": [v * 2 for v in values], metric: values}
    path = tmp_path / "learning_curves.png"
    draw_learning_curves(path, histories, metric=metric, best_epoch=best_epoch)
    _assert_is_drawn(path)


def test_one_figure_per_target_and_one_of_all(tmp_path: Path) -> None:
    true = np.random.default_rng(0).normal(size=(20, 4))
    names = ["gas_velocity", "gas_fraction", "../../etc/x $\\frac{", "固体 速度"]
    files = draw_predictions(tmp_path, true + 0.1, true, names)
    assert [file.name for file in files] == [
        "target_0_gas_velocity.png",
        "target_1_gas_fraction.png",
        "target_2_etc_x_frac.png",
        "target_3.png",
        "overview.png",
    ]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    for file in files:
        _assert_is_drawn(file)


def test_a_constant_target_can_be_drawn(tmp_path: Path) -> None:
    ones = np.ones((5, 1), dtype=np.float32)
    _assert_is_drawn(draw_predictions(tmp_path, ones, ones, ["a"])[0])


@pytest.mark.parametrize("name", ["/", "..", "a/b", "a\\b", "nul\0", "x" * 500, "", "CON:"])
def test_any_name_is_safe_as_a_file_name(name: str) -> None:
    stem = file_stem(0, name)
    assert stem.startswith("target_0")
    assert len(stem) < 60
    assert not set(stem) & set("/\\\0:. ")


def test_names_that_look_alike_get_files_of_their_own() -> None:
    assert file_stem(0, "a b") != file_stem(1, "a/b")
