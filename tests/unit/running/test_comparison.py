from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.errors import ArtifactError
from tunectl.running.comparison import Difference, compare_files, compare_series


def folder(path: Path, *, bias: float = 1.0, predicted: float = 2.0) -> TrialDir:
    """Return the folder of a trial with a weight, a bias and two predictions."""
    directory = TrialDir(path)
    directory.weights_file.parent.mkdir(parents=True)
    weights = {"weight": torch.ones(2, 3), "bias": torch.tensor([0.5, bias])}
    torch.save(weights, directory.weights_file)
    np.save(directory.predictions_file, np.array([[0.0], [predicted]], dtype=np.float32))
    return directory


def test_the_same_series_has_no_difference() -> None:
    assert compare_series("val_mse", [0.1, None, math.nan], [0.1, None, math.nan]) == []


def test_the_smallest_difference_of_a_series_is_seen() -> None:
    stored, near = [0.3, 0.1, 0.2], [0.3, math.nextafter(0.1, 1.0), 0.2]

    (difference,) = compare_series("val_mse", stored, near)

    assert (difference.what, difference.first, difference.stored) == ("val_mse", "epoch 2", 0.1)
    assert difference.largest == pytest.approx(1.4e-17, rel=0.1)
    assert compare_series("val_mse", [0.0], [-0.0]) != []


@pytest.mark.parametrize(
    ("stored", "replayed", "expected"),
    [
        ([1.0], [3.0], Difference(what="m", stored=1.0, replayed=3.0, largest=2.0)),
        ([1.0, 2.0], [1.0], Difference(what="m", stored="2 epochs", replayed="1 epochs")),
        (
            [1.0, 2.0],
            [5.0],
            Difference(what="m", first="epoch 1", stored=1.0, replayed=5.0, largest=4.0),
        ),
        ([None], [2.0], Difference(what="m", replayed=2.0)),
        ([1.0], [math.inf], Difference(what="m", stored=1.0, replayed="inf", largest=None)),
    ],
)
def test_a_difference_says_where_it_begins_and_how_far_off_it_is(
    stored: list[float | None], replayed: list[float | None], expected: Difference
) -> None:
    assert compare_series("m", stored, replayed) == [expected]


def test_files_that_are_the_same_to_the_bit_have_no_difference(tmp_path: Path) -> None:
    found = compare_files(folder(tmp_path / "a"), folder(tmp_path / "b"))

    assert found == {"weights": [], "predictions of the test split": []}


def test_a_tensor_that_differs_is_named(tmp_path: Path) -> None:
    found = compare_files(folder(tmp_path / "a"), folder(tmp_path / "b", bias=1.25, predicted=1.5))

    assert found["weights"] == [
        Difference(what="weights", first="bias", stored=1.0, replayed=1.25, largest=0.25)
    ]
    (difference,) = found["predictions of the test split"]
    assert (difference.stored, difference.replayed, difference.largest) == (2.0, 1.5, 0.5)


def test_what_is_not_there_this_time_is_a_difference(tmp_path: Path) -> None:
    then, now = folder(tmp_path / "a"), folder(tmp_path / "b")
    now.weights_file.unlink()
    np.save(now.predictions_file, np.zeros((3, 1), dtype=np.float32))

    found = compare_files(then, now)

    assert found["weights"] == [Difference(what="weights", stored="there", replayed="none")]
    (difference,) = found["predictions of the test split"]
    assert (difference.stored, difference.replayed) == ("float32[2, 1]", "float32[3, 1]")


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    then, now = folder(tmp_path / "a"), folder(tmp_path / "b")
    then.weights_file.write_bytes(b"PK")

    with pytest.raises(ArtifactError, match="model_simplecnn_real"):
        compare_files(then, now)
