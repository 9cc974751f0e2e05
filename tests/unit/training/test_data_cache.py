from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from numpy.typing import NDArray

from tunectl.config.signal_run import Dataset, TrainingRun
from tunectl.errors import DataError
from tunectl.training import data, data_cache
from tunectl.training.data import load_dataset
from tunectl.training.data_cache import HEADER_BYTES, DataCache, Making, Selection
from tunectl.training.data_checks import find_problems
from tunectl.training.data_files import Floats

CACHE = Path(".tunectl") / "cache"


@pytest.fixture(autouse=True)
def _all_data_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    data.forget_datasets()
    monkeypatch.setattr(data, "LARGE_BYTES", 0)
    monkeypatch.setattr(data, "LEFT_FREE_BYTES", 0)
    data_cache._said.clear()
    data_cache._sound.clear()


def _dataset(**changes: object) -> Dataset:
    given = {"source": "npy", "x_path": "x.npy", "t_path": "t.npy", "drop_channels": (1,)}
    return Dataset.model_validate({**given, "target_names": ("a", "b"), **changes})


def _write(project: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 3, 16)).astype(np.float32)
    t = rng.normal(size=(20, 2)).astype(np.float32)
    np.save(project / "x.npy", x)
    np.save(project / "t.npy", t)
    return x, t


def _spoil_in_secret(project: Path) -> None:
    """Change every value of the signals so that the file looks as it was."""
    stat = (project / "x.npy").stat()
    x = np.load(project / "x.npy", mmap_mode="r+")
    x[:] = np.nan
    x.flush()
    os.utime(project / "x.npy", ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _files(project: Path) -> list[Path]:
    return sorted((project / CACHE).glob("*.data"))


def test_large_data_are_read_once_and_then_mapped_by_whoever_comes(tmp_path: Path) -> None:
    x, t = _write(tmp_path)
    load_dataset(_dataset(), tmp_path)
    data.forget_datasets()  # as another process, which has read nothing
    _spoil_in_secret(tmp_path)

    again = load_dataset(_dataset(), tmp_path)

    np.testing.assert_array_equal(again.x, x[:, [0, 2]])
    np.testing.assert_array_equal(again.t, t)
    assert len(_files(tmp_path)) == 1


def test_mapped_data_are_those_that_would_be_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path)
    chosen = _dataset(downsample_factor=3, limit_samples=11)
    mapped = load_dataset(chosen, tmp_path)
    data.forget_datasets()
    monkeypatch.setattr(data, "LARGE_BYTES", 2**40)
    held = load_dataset(chosen, tmp_path)
    np.testing.assert_array_equal(mapped.x, held.x)
    np.testing.assert_array_equal(mapped.t, held.t)


def test_pytorch_takes_mapped_data_without_a_copy_and_writing_spoils_no_file(
    tmp_path: Path,
) -> None:
    x, _ = _write(tmp_path)
    mapped = load_dataset(_dataset(), tmp_path).x
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = torch.from_numpy(mapped)
    assert tensor.data_ptr() == mapped.ctypes.data
    tensor.zero_()
    data.forget_datasets()
    np.testing.assert_array_equal(load_dataset(_dataset(), tmp_path).x, x[:, [0, 2]])


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    x, _ = _write(tmp_path)
    load_dataset(_dataset(), tmp_path)
    np.save(tmp_path / "x.npy", x + 1)
    os.utime(tmp_path / "x.npy", ns=(1, 1))
    np.testing.assert_array_equal(load_dataset(_dataset(), tmp_path).x, x[:, [0, 2]] + 1)


def test_values_that_are_no_numbers_are_found_when_it_is_made_and_nothing_is_kept(
    tmp_path: Path,
) -> None:
    x, _ = _write(tmp_path)
    x[5, 2, 3] = np.nan
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(DataError, match=r"1 value is NaN, at index \(5, 2, 3\)"):
        load_dataset(_dataset(), tmp_path)
    assert not _files(tmp_path)


def test_a_file_that_changes_while_it_is_read_is_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path)
    downsample = data.downsample

    def downsample_and_write(block: Floats, factor: int) -> Floats:
        os.utime(tmp_path / "x.npy", ns=(5, 5))
        return downsample(block, factor)

    monkeypatch.setattr(data, "downsample", downsample_and_write)
    with pytest.raises(DataError, match=r"x\.npy.*was changed while it was read"):
        load_dataset(_dataset(), tmp_path)
    assert not _files(tmp_path)


def test_values_are_looked_at_again_only_if_the_files_have_changed(tmp_path: Path) -> None:
    _write(tmp_path)
    run = TrainingRun(dataset=_dataset())
    load_dataset(_dataset(downsample_factor=2), tmp_path)  # another factor, the same values
    _spoil_in_secret(tmp_path)
    assert find_problems(run, tmp_path) == []
    (tmp_path / "x.npy").touch()
    assert [problem.key for problem in find_problems(run, tmp_path)] == ["dataset.x_path"]


@pytest.mark.parametrize("damage", ["cut", "longer", "header", "first", "middle", "last", "empty"])
def test_a_damaged_file_is_made_again(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_cache, "_EDGE_BYTES", 64)
    x, _ = _write(tmp_path)
    load_dataset(_dataset(), tmp_path)
    data.forget_datasets()
    data_cache._sound.clear()  # as another process
    (kept,) = _files(tmp_path)
    content = bytearray(kept.read_bytes())
    places = {"header": 3, "first": HEADER_BYTES + 2, "last": len(content) - 1}
    places["middle"] = HEADER_BYTES + 1000
    if damage in places:
        content[places[damage]] ^= 0xFF
    sizes = {"cut": len(content) - 4, "empty": 0}
    kept.write_bytes(content[: sizes.get(damage)] + (b"0000" if damage == "longer" else b""))

    np.testing.assert_array_equal(load_dataset(_dataset(), tmp_path).x, x[:, [0, 2]])
    assert kept.stat().st_size == len(content)


def test_where_no_file_can_be_kept_the_data_are_held_and_it_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    x, _ = _write(tmp_path)
    (tmp_path / ".tunectl").write_text("a file stands in the way")
    with caplog.at_level(logging.WARNING):
        for factor in (1, 2):
            load_dataset(_dataset(downsample_factor=factor), tmp_path)
    np.testing.assert_array_equal(load_dataset(_dataset(), tmp_path).x, x[:, [0, 2]])
    assert [record.message.partition(",")[0] for record in caplog.records] == [
        "each worker holds the data in its own memory"
    ]


def test_a_disk_that_fills_up_costs_nothing(tmp_path: Path) -> None:
    x, _ = _write(tmp_path)
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from tunectl.config.signal_run import Dataset\n"
        "from tunectl.training import data\n"
        "data.LARGE_BYTES = data.LEFT_FREE_BYTES = 0\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))\n"
        "dataset = Dataset.model_validate_json(sys.argv[1])\n"
        "print(data.load_dataset(dataset, Path.cwd()).x.sum())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, _dataset().model_dump_json()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) == pytest.approx(float(x[:, [0, 2]].sum()), rel=1e-4)
    assert "File too large" in done.stderr
    assert not _files(tmp_path)


def test_two_processes_at_once_make_it_once(tmp_path: Path) -> None:
    x, _ = _write(tmp_path)
    program = (
        "import logging, sys\n"
        "from pathlib import Path\n"
        "from tunectl.config.signal_run import Dataset\n"
        "from tunectl.training import data\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "data.LARGE_BYTES = data.LEFT_FREE_BYTES = 0\n"
        "sys.stdin.read()\n"
        "dataset = Dataset.model_validate_json(sys.argv[1])\n"
        "print(data.load_dataset(dataset, Path.cwd()).x.sum())\n"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", program, _dataset().model_dump_json()],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for one in both:
        assert one.stdin is not None
        one.stdin.close()
        one.stdin = None
    answers = [one.communicate() for one in both]
    for out, _err in answers:
        assert float(out) == pytest.approx(float(x[:, [0, 2]].sum()), rel=1e-4)
    assert sum("for all workers" in err for _, err in answers) == 1


def _made(value: float, n_bytes: int = 4000) -> tuple[Selection, Making]:
    x = np.full((10, n_bytes // 40), value, dtype=np.float32)

    def blocks() -> Iterator[Floats]:
        yield from np.split(x, 2)

    t = np.zeros((10, 1), dtype=np.float32)
    return Selection(origin={"value": value}, factor=1), Making(x_shape=x.shape, t=t, blocks=blocks)


def test_what_was_not_used_for_longest_makes_room_but_nothing_that_is_in_use(
    tmp_path: Path,
) -> None:
    one_file = HEADER_BYTES + 4040
    cache = DataCache(tmp_path, most_bytes=3 * one_file, left_free_bytes=0)
    made = [_made(value) for value in range(4)]
    held = cache.fetch(*made[0])
    for age, one in enumerate(made[1:3], start=1):
        assert cache.fetch(*one) is not None
        os.utime(cache._path(one[0]), (age, age))
    os.utime(cache._path(made[0][0]), (0, 0))  # the oldest, but mapped

    assert cache.fetch(*made[3]) is not None

    assert [cache.find(selection) is not None for selection, _ in made] == [True, False, True, True]
    del held


def test_using_a_file_makes_it_new(tmp_path: Path) -> None:
    cache = DataCache(tmp_path, most_bytes=10**6, left_free_bytes=0)
    selection, making = _made(1)
    cache.fetch(selection, making)
    os.utime(cache._path(selection), (0, 0))
    cache.find(selection)
    assert cache._path(selection).stat().st_mtime > 0


def test_a_disk_that_is_nearly_full_is_left_to_the_study(tmp_path: Path) -> None:
    cache = DataCache(tmp_path, most_bytes=10**6, left_free_bytes=2**62)
    assert cache.fetch(*_made(1)) is None
    assert not list(tmp_path.glob("*.data"))


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    half = tmp_path / ".0123456789abcdef01234567-abcd1234.data"
    half.write_bytes(b"half")
    cache = DataCache(tmp_path, most_bytes=10**6, left_free_bytes=0)
    assert cache.fetch(*_made(1)) is not None
    assert not half.exists()


def test_it_can_be_deleted_while_it_is_used(tmp_path: Path) -> None:
    cache = DataCache(tmp_path, most_bytes=10**6, left_free_bytes=0)
    arrays = cache.fetch(*_made(7))
    assert arrays is not None
    for file in tmp_path.iterdir():
        file.unlink()
    assert float(arrays[0].mean()) == 7.0
    assert cache.fetch(*_made(7)) is not None


def test_scalers_are_measured_once_for_a_selection_and_a_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path)
    rows = np.arange(10)
    first = load_dataset(_dataset(), tmp_path).scalers(rows)
    assert load_dataset(_dataset(), tmp_path).scalers(rows) is first
    assert load_dataset(_dataset(), tmp_path).scalers(np.arange(9)) != first


def test_scalers_of_many_splits_do_not_stay(tmp_path: Path) -> None:
    _write(tmp_path)
    samples = load_dataset(_dataset(), tmp_path)
    first = samples.scalers(np.arange(5))
    for size in range(6, 20):
        samples.scalers(np.arange(size))

    assert len(samples._scalers) == data.KEPT_SCALERS
    again = samples.scalers(np.arange(5))
    assert again is not first
    assert again == first


def test_waiting_for_another_process_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(data_cache, "WORD_S", 0.05)
    monkeypatch.setattr(data_cache, "PATIENCE_S", 0.12)
    cache = DataCache(tmp_path, most_bytes=10**6, left_free_bytes=0)
    other = FileLock(tmp_path / data_cache.LOCK_NAME)
    with other, caplog.at_level(logging.INFO):
        assert cache.fetch(*_made(1)) is None
    assert "waits for another process" in caplog.text
    assert cache.fetch(*_made(1)) is not None
