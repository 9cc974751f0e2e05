"""The data set's files: complete or absent, made once, never over somebody else's data."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from tunectl.artifacts import atomic
from tunectl.demo import dataset
from tunectl.demo.dataset import ensure_dataset, write_dataset
from tunectl.demo.rig import simulate
from tunectl.errors import StorageError, UsageError


@pytest.fixture(autouse=True)
def small_default_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "DEFAULT_SAMPLES", 21)


def digests(folder: Path) -> dict[str, str]:
    """Return the digest of every visible file."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.iterdir()
        if not file.name.startswith(".")
    }


def test_files_hold_the_simulation(tmp_path: Path) -> None:
    x_file, t_file = write_dataset(tmp_path / "new" / "demo", "2d", 20, 7)
    assert (x_file.name, t_file.name) == ("x_train.npy", "t_train.npy")
    expected = simulate("2d", 20, 7)
    np.testing.assert_array_equal(np.load(x_file), expected.x)
    np.testing.assert_array_equal(np.load(t_file), expected.t)


def test_the_description_says_what_it_is(tmp_path: Path) -> None:
    write_dataset(tmp_path, "1d", 20, 7)
    description = json.loads((tmp_path / "dataset.json").read_text(encoding="utf-8"))
    assert (description["layout"], description["seed"]) == ("1d", 7)
    assert description["x"]["shape"] == [20, 4, 128]
    assert description["t"]["shape"] == [20, 6]
    assert len(description["t"]["units"]) == len(description["t"]["target_names"]) == 6
    readme = (tmp_path / "README.txt").read_text(encoding="utf-8")
    assert "simulated" in readme and "V²·µs" in readme


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_dataset(tmp_path / name, "1d", 20, 3)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_an_earlier_demonstration_is_replaced(tmp_path: Path) -> None:
    write_dataset(tmp_path, "1d", 25, 1)
    x_file, t_file = write_dataset(tmp_path, "1d", 20, 2)
    assert len(np.load(x_file)) == len(np.load(t_file)) == 20


def test_ensure_makes_the_default_once_and_then_leaves_it_alone(tmp_path: Path) -> None:
    files = ensure_dataset(tmp_path / "data" / "demo")
    before = [(file.stat().st_mtime_ns, file.stat().st_ino) for file in files]
    assert np.load(files[0]).shape == (dataset.DEFAULT_SAMPLES, 4, 128)
    assert ensure_dataset(tmp_path / "data" / "demo") == files
    assert [(file.stat().st_mtime_ns, file.stat().st_ino) for file in files] == before


def test_ensure_keeps_what_was_chosen(tmp_path: Path) -> None:
    write_dataset(tmp_path, "1d", 20, 3)
    before = digests(tmp_path)
    ensure_dataset(tmp_path)
    assert digests(tmp_path) == before


@pytest.mark.parametrize("failing", ["dataset.json", "README.txt", "t_train.npy", "x_train.npy"])
def test_a_full_disk_leaves_no_half_set_and_the_next_call_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    write_dataset(tmp_path, "1d", 20, 3)
    real = Path.replace

    def full_at(self: Path, target: Path) -> Path:
        if target.name == failing:
            raise OSError(28, "No space left on device")
        return real(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full_at)
        with pytest.raises(StorageError, match="No space left"):
            write_dataset(tmp_path, "1d", 20, 4)
    assert not (tmp_path / "x_train.npy").exists()
    assert not list(tmp_path.glob(".*.npy"))
    x_file, t_file = ensure_dataset(tmp_path)
    assert len(np.load(x_file)) == len(np.load(t_file)) == dataset.DEFAULT_SAMPLES


@pytest.mark.parametrize("name", ["x_train.npy", "t_train.npy", "README.txt"])
def test_a_file_of_the_user_s_is_never_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"measured for years")
    for make in (write_dataset, ensure_dataset):
        with pytest.raises(UsageError, match=f"{name} was not made by"):
            make(tmp_path)
    assert digests(tmp_path) == {name: hashlib.sha256(b"measured for years").hexdigest()}


def test_a_foreign_description_is_no_licence(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "dataset.json", {"made_by": "somebody"})
    with pytest.raises(UsageError, match=r"dataset\.json was not made by"):
        write_dataset(tmp_path)


@pytest.mark.parametrize("samples", [-1, 0, 19])
def test_too_few_samples_are_refused_before_anything_is_written(
    tmp_path: Path, samples: int
) -> None:
    with pytest.raises(UsageError, match="at least 20"):
        write_dataset(tmp_path / "demo", "1d", samples)
    assert not (tmp_path / "demo").exists()


def test_a_file_in_the_folder_s_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("a file", encoding="utf-8")
    with pytest.raises(UsageError, match="demo is not a folder"):
        ensure_dataset(tmp_path / "demo")
    with pytest.raises(StorageError, match="cannot write to"):
        ensure_dataset(tmp_path / "demo" / "deeper")


def _ensure_and_digest(folder: Path) -> dict[str, str]:
    ensure_dataset(folder)
    return {name: digests(folder)[name] for name in ("x_train.npy", "t_train.npy")}


def test_several_processes_make_one_set(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        found = pool.map(_ensure_and_digest, [tmp_path / "demo"] * 3, chunksize=1)
    assert found[0] == found[1] == found[2]
    assert not list((tmp_path / "demo").glob(".*.npy"))
