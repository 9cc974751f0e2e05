"""`predict`: new signals through the network of a study, a trial or a bundle."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_project import N_SAMPLES, TARGETS, Project, bundle_of, claim_trials
from objective_cases import CASES
from optuna.trial import TrialState
from PIL import Image
from warm_project import WarmProject, copy_of, mixed_project, small_project

from tunectl.config.signal_run import DataSplit
from tunectl.training.data import split_indices

TEST_SPLIT = split_indices(N_SAMPLES, DataSplit()).test


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return mixed_project(tmp_path_factory)


@pytest.fixture(scope="session")
def bundle(mixed: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_of(mixed, tmp_path_factory)


def expected_of(project: Project, number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    trial = project.trials("mixed")[number]
    predictions: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = np.load(
        project.path / trial.user_attrs["output_dir"] / "y_pred.npy"
    )
    return predictions


def numbers_in(state: TrialState, project: Project) -> list[int]:
    return [trial.number for trial in project.trials("mixed") if trial.state == state]


def test_the_best_trial_predicts_to_standard_output_as_csv(mixed: Project) -> None:
    result = mixed.ok("predict", "x.npy", "--device", "cpu")

    head, *rows = csv.reader(io.StringIO(result.out))
    assert tuple(head) == TARGETS
    predicted = np.array(rows, dtype=np.float32)
    assert predicted.shape == (N_SAMPLES, len(TARGETS))
    best = mixed.study("mixed").best_trial.number
    np.testing.assert_allclose(predicted[TEST_SPLIT], expected_of(mixed, best), rtol=1e-5)
    assert result.err == ""


def test_a_trial_and_a_bundle_predict_to_files(
    mixed: Project, bundle: Path, tmp_path: Path
) -> None:
    best = mixed.study("mixed").best_trial.number
    other = next(n for n in numbers_in(TrialState.COMPLETE, mixed) if n != best)
    mixed.ok("best", "--export", "--to", tmp_path / "b.zip")
    (tmp_path / "trial.npy").write_text("an earlier file")

    asked: dict[str, tuple[str, ...]] = {"trial.npy": ("--trial", str(other), "--study", "mixed")}
    asked |= {"zip.npy": ("--bundle", str(tmp_path / "b.zip"))}
    asked |= {"folder.csv": ("--bundle", str(bundle))}
    for name, arguments in asked.items():
        result = mixed.ok("predict", "x.npy", *arguments, "--out", tmp_path / name)
        assert (result.out, result.err) == ("", "")

    found = {name: np.load(tmp_path / name) for name in ("trial.npy", "zip.npy")}
    assert all(y.dtype == np.float32 and y.shape == (N_SAMPLES, 2) for y in found.values())
    np.testing.assert_allclose(found["trial.npy"][TEST_SPLIT], expected_of(mixed, other), rtol=1e-5)
    np.testing.assert_allclose(found["zip.npy"][TEST_SPLIT], expected_of(mixed, best), rtol=1e-5)
    head, *rows = csv.reader((tmp_path / "folder.csv").read_text(encoding="utf-8").splitlines())
    assert tuple(head) == TARGETS
    assert np.array_equal(np.array(rows, dtype=np.float32), found["zip.npy"])
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_bundle_needs_no_project(mixed: Project, bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "b")
    np.save(tmp_path / "x.npy", np.load(mixed.path / "x.npy")[:3])

    result = WarmProject(tmp_path).ok("predict", "x.npy", "--bundle", "b")

    assert len(result.out.splitlines()) == 4
    assert {path.name for path in tmp_path.iterdir()} == {"b", "x.npy"}


def test_what_cannot_be_predicted_is_refused_in_a_sentence(mixed: Project, tmp_path: Path) -> None:
    x = np.load(mixed.path / "x.npy")
    broken = x.copy()
    broken[7, 1, 3] = np.nan
    bad = {
        "turned": (np.swapaxes(x, 1, 2), "must be (N, 2, 32), but their shape is (40, 32, 2)"),
        "complex": (x.astype(np.complex64), "complex numbers"),
        "nan": (broken, "1 value is NaN, at index (7, 1, 3)"),
    }
    for name, (values, words) in bad.items():
        file, out = tmp_path / f"{name}.npy", tmp_path / f"{name}-y.npy"
        np.save(file, values)
        to_file = () if name == "nan" else ("--out", str(out))
        result = mixed.tunectl("predict", file, *to_file)
        assert (result.code, result.out) == (2, ""), name
        assert len(result.err.splitlines()) == 1
        assert words in result.err and str(file) in result.err
        assert not out.exists()
    assert "no such file" in mixed.tunectl("predict", "none.npy").err


def test_wrong_usage_is_refused(mixed: Project, tmp_path: Path) -> None:
    pruned = numbers_in(TrialState.PRUNED, mixed)[0]
    cases: list[tuple[int, list[str | Path], str]] = [
        (2, ["--out", "y.txt"], ".npy or .csv"),
        (2, ["--out", "none/y.npy"], "there is no folder"),
        (2, ["--out", "x.npy"], "would overwrite the signals"),
        (2, ["--trial", str(pruned)], "is pruned; only a complete one has a network"),
        (3, ["--trial", "99"], "no trial 99"),
        (3, ["--study", "none"], "no study 'none'"),
        (2, ["--bundle", "none"], "there is no bundle"),
        (2, ["--bundle", "outputs"], "is no bundle"),
        (2, ["--bundle", "x.npy"], "is no bundle"),
        (2, ["--bundle", "b", "--trial", "1"], "--bundle goes with no other option"),
        (2, ["--device", "cuda:77"], "cuda:77 is not on this machine"),
    ]
    before = (mixed.path / "x.npy").read_bytes()
    for code, arguments, words in cases:
        result = mixed.tunectl("predict", "x.npy", *arguments)
        assert result.code == code, arguments
        assert words in result.said, result.said
        assert result.out == ""
    assert (mixed.path / "x.npy").read_bytes() == before


def test_a_study_without_a_completed_trial_has_no_network(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    project.ok("study", "create")

    assert project.tunectl("predict", "x.npy").code == 5


def test_a_damaged_bundle_is_named(mixed: Project, bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "b")
    (tmp_path / "b" / "model.safetensors").write_bytes(b"x" * 100)

    result = mixed.tunectl("predict", "x.npy", "--bundle", tmp_path / "b")

    assert result.code == 1
    assert str(tmp_path / "b") in result.err


def test_what_a_trial_has_lost_is_no_fault_of_the_database(mixed: Project, tmp_path: Path) -> None:
    project = copy_of(mixed, tmp_path / "project")
    claim_trials(project, mixed)
    best = project.study("mixed").best_trial
    directory = project.path / best.user_attrs["output_dir"]
    commands = (["predict", "x.npy"], ["best", "--export", "--to", str(tmp_path / "bundle")])

    (directory / "weights" / "model_simplecnn_real.pth").unlink()
    for arguments in commands:
        lost = project.tunectl(*arguments)
        assert (lost.code, "model_simplecnn_real.pth" in lost.err) == (1, True), lost
    shutil.rmtree(directory)
    for arguments in commands:
        gone = project.tunectl(*arguments)
        assert (gone.code, f"trial {best.number}" in gone.err) == (3, True), gone
    drawn = project.tunectl("plots", "--only", "predicted")
    assert f"the directory of trial {best.number} is gone" in drawn.out + drawn.err


def test_progress_is_for_terminals(mixed: Project) -> None:
    code, seen = mixed.in_terminal("predict", "x.npy", "--out", str(mixed.path.parent / "y.npy"))
    quiet_code, quiet = mixed.in_terminal("-q", "predict", "x.npy", "--out", "../y.npy")

    assert (code, quiet_code) == (0, 0)
    assert "predicting" in seen
    assert quiet == ""


def test_a_folder_of_images_is_answered_with_names_of_files_and_classes(tmp_path: Path) -> None:
    project = CASES["image_classifier"].make(tmp_path)
    project.ok("tune", "--n-trials", "1", "training.epochs=1")
    (tmp_path / "new").mkdir()
    for number, image in enumerate(np.load(tmp_path / "x.npy")[:3]):
        Image.fromarray(image).save(tmp_path / "new" / f"{number}.png")

    head, *rows = csv.reader(project.ok("predict", "new").out.splitlines())

    assert head == ["file", "predicted", "plain", "striped"]
    assert [row[0] for row in rows] == ["0.png", "1.png", "2.png"]
    assert all(row[1] == ("plain" if float(row[2]) > float(row[3]) else "striped") for row in rows)
    (tmp_path / "new" / "1.png").write_text("no image")
    damaged = project.tunectl("predict", "new", "--out", "y.csv")
    assert (damaged.code, (tmp_path / "y.csv").exists()) == (2, False)
    assert "new/1.png: cannot be read" in damaged.err
    assert project.ok("plots", "--out", "drawn", "--only", "confusion").out.endswith(
        "drawn/trial-0/confusion.png\n"
    )
