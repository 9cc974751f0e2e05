from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tunectl.config.signal_run import Dataset, DataSplit
from tunectl.errors import DataError
from tunectl.training import data, data_files
from tunectl.training.data import Scaler, load_dataset, split_indices, split_sizes

NAMES = ("a", "b")


@pytest.fixture(autouse=True)
def _fresh_cache() -> None:
    data.forget_datasets()


def _selection(**changes: object) -> Dataset:
    fields: dict[str, object] = {
        "source": "npy",
        "x_path": "x.npy",
        "t_path": "t.npy",
        "drop_channels": (),
        "target_names": NAMES,
    }
    return Dataset.model_validate({**fields, **changes})


def _write(project: Path, x: NDArray[np.generic], t: NDArray[np.generic]) -> None:
    np.save(project / "x.npy", x)
    np.save(project / "t.npy", t)


def _random(n: int = 20, shape: tuple[int, ...] = (4, 12)) -> tuple[NDArray[np.float64], ...]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, *shape)), rng.normal(size=(n, 2))


def test_keeps_the_chosen_channels_and_samples_as_32_bit_floats(tmp_path: Path) -> None:
    x, t = _random()
    _write(tmp_path, x, t)

    samples = load_dataset(_selection(drop_channels=(1, 3, 3), limit_samples=7), tmp_path)

    assert samples.x.dtype == samples.t.dtype == np.float32
    np.testing.assert_array_equal(samples.x, x[:7, [0, 2]].astype(np.float32))
    np.testing.assert_array_equal(samples.t, t[:7].astype(np.float32))


def test_a_limit_beyond_the_end_takes_all_samples(tmp_path: Path) -> None:
    _write(tmp_path, *_random(n=20))
    assert len(load_dataset(_selection(limit_samples=1000), tmp_path).x) == 20


@pytest.mark.parametrize("shape", [(2, 13), (2, 3, 13)])
def test_downsampling_is_the_mean_of_neighbours_without_the_remainder(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    x, t = _random(shape=shape)
    _write(tmp_path, x, t)

    down = load_dataset(_selection(downsample_factor=3), tmp_path).x

    assert down.shape == (20, *shape[:-1], 4)
    np.testing.assert_allclose(down[..., 1], x[..., 3:6].mean(axis=-1), atol=1e-6)


def test_blocks_join_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, t = _random()
    _write(tmp_path, x, t)
    monkeypatch.setattr(data_files, "BLOCK_VALUES", 100)  # three samples per block
    np.testing.assert_array_equal(load_dataset(_selection(), tmp_path).x, x.astype(np.float32))


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<i2", "u1", "<f2"])
def test_reads_any_real_type_and_byte_order(tmp_path: Path, dtype: str) -> None:
    x = np.arange(20 * 2 * 5).reshape(20, 2, 5) % 100
    _write(tmp_path, x.astype(dtype), np.ones((20, 2), dtype=dtype))
    np.testing.assert_array_equal(load_dataset(_selection(), tmp_path).x, x)


def test_one_dimensional_targets_are_one_column(tmp_path: Path) -> None:
    x, t = _random()
    _write(tmp_path, x, t[:, 0])
    assert load_dataset(_selection(target_names=("a",)), tmp_path).t.shape == (20, 1)


def test_a_second_trial_does_not_read_again_and_a_changed_file_is_read_again(
    tmp_path: Path,
) -> None:
    x, t = _random()
    _write(tmp_path, x, t)
    first = load_dataset(_selection(), tmp_path)
    other = load_dataset(_selection(downsample_factor=2), tmp_path)
    assert load_dataset(_selection(), tmp_path).x is first.x
    assert load_dataset(_selection(downsample_factor=2), tmp_path).x is other.x

    np.save(tmp_path / "x.npy", x + 1)
    os.utime(tmp_path / "x.npy", ns=(1, 1))

    np.testing.assert_array_equal(
        load_dataset(_selection(), tmp_path).x, (x + 1).astype(np.float32)
    )


def test_the_selection_used_longest_ago_is_let_go(tmp_path: Path) -> None:
    _write(tmp_path, *_random())
    first = load_dataset(_selection(), tmp_path)
    load_dataset(_selection(downsample_factor=2), tmp_path)
    load_dataset(_selection(downsample_factor=3), tmp_path)
    assert load_dataset(_selection(), tmp_path).x is not first.x


def test_every_problem_of_the_files_comes_at_once(tmp_path: Path) -> None:
    (tmp_path / "x.npy").mkdir()
    with pytest.raises(DataError) as raised:
        load_dataset(_selection(), tmp_path)
    assert [problem.key for problem in raised.value.problems] == [
        "dataset.x_path",
        "dataset.t_path",
    ]


def test_values_that_are_no_numbers_are_never_handed_to_a_training(tmp_path: Path) -> None:
    x, t = _random()
    x[5, 0, 3] = np.nan
    _write(tmp_path, x, t)
    with pytest.raises(DataError, match=r"1 value is NaN, at index \(5, 0, 3\)"):
        load_dataset(_selection(), tmp_path)


@pytest.mark.parametrize(
    ("n", "sizes"), [(108, (76, 16, 16)), (20, (14, 3, 3)), (10, (7, 2, 1)), (7, (5, 1, 1))]
)
def test_split_sizes_are_near_their_shares_and_sum_to_all(
    n: int, sizes: tuple[int, int, int]
) -> None:
    assert split_sizes(n, DataSplit()) == sizes
    assert sum(sizes) == n


def test_the_split_takes_each_sample_once_and_depends_on_the_seed_alone() -> None:
    split = split_indices(108, DataSplit(seed=1))
    joined = np.concatenate([split.train, split.valid, split.test])
    assert sorted(joined.tolist()) == list(range(108))
    assert split.train.tolist() == split_indices(108, DataSplit(seed=1)).train.tolist()
    assert split.train.tolist() != split_indices(108, DataSplit(seed=2)).train.tolist()


def test_a_scaler_measures_the_training_split_only() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(5, 2, size=(60, 3, 10)).astype(np.float32)
    split = split_indices(60, DataSplit())
    clean = Scaler.fit(x, split.train)

    x[split.valid] = 1e6
    x[split.test] = np.nan

    assert Scaler.fit(x, split.train) == clean
    np.testing.assert_allclose(clean.mean, x[split.train].mean(axis=(0, 2)), rtol=1e-5)
    np.testing.assert_allclose(clean.scale, x[split.train].std(axis=(0, 2)), rtol=1e-5)


def test_a_scaler_merges_blocks_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(1000, 3, size=(50, 2, 9)).astype(np.float32)
    rows = np.arange(50)
    whole = Scaler.fit(x, rows)
    monkeypatch.setattr(data, "BLOCK_VALUES", 40)  # two samples per block
    blocks = Scaler.fit(x, rows)
    np.testing.assert_allclose(blocks.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(blocks.scale, whole.scale, rtol=1e-9)


def test_a_constant_column_has_scale_one() -> None:
    t = np.full((30, 2), 0.1, dtype=np.float32)
    t[:, 1] = np.arange(30)
    assert Scaler.fit(t, np.arange(30)).scale[0] == 1.0


def test_a_scaler_goes_to_json_and_back_and_undoes_itself() -> None:
    t = np.random.default_rng(0).normal(3, 7, size=(30, 2)).astype(np.float32)
    scaler = Scaler.fit(t, np.arange(30))
    assert Scaler.from_json(scaler.to_json()) == scaler
    np.testing.assert_allclose(scaler.restore(scaler.standardise(t)), t, rtol=1e-5)
