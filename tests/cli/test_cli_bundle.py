"""`best --export`: what a bundle holds, and that it is of use without this program."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from cli_project import CONFIG, N_SAMPLES, N_TEST, SEARCH, TARGETS, Project, Result, bundle_of
from warm_project import WarmProject, copy_of, mixed_project

from tunectl.config.signal_run import DataSplit
from tunectl.training.data import split_indices

FILES = {
    "MODEL_CARD.md",
    "config.yaml",
    "evaluation_plots",
    "evaluation_summary.txt",
    "learning_curves.png",
    "metrics.json",
    "model.json",
    "model.onnx",
    "model.safetensors",
    "model_simplecnn_real.pth",
    "params_best.yaml",
    "predict.py",
    "requirements.txt",
    "scaling.json",
    "trial_info.yaml",
}
# Runs a bundle's predict.py where this program and what it builds on cannot be imported, once for
# each list of arguments, since PyTorch takes seconds to start; tells what came of each.
ALONE = """\
import contextlib, io, json, runpy, sys
for name in ("tunectl", "optuna", "pydantic", "yaml", "omegaconf", "sklearn"):
    sys.modules[name] = None
script, lines = sys.argv[1], json.loads(sys.argv[2])
ended = []
for line in lines:
    sys.argv, out, err = [script, *line], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:
            ended.append([end.code, out.getvalue(), err.getvalue()])
print(json.dumps(ended))
"""
WITHOUT_ONNX = "import sys\nsys.modules['onnxscript'] = None\n"
TEST_SPLIT = split_indices(N_SAMPLES, DataSplit()).test


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return mixed_project(tmp_path_factory)


@pytest.fixture(scope="session")
def bundle(mixed: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_of(mixed, tmp_path_factory)


def best_directory(project: Project) -> Path:
    return project.path / str(project.study("mixed").best_trial.user_attrs["output_dir"])


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def run_alone(script: Path, *lines: list[str | Path]) -> list[Result]:
    """Run predict.py once for each list of arguments; return what each left."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE, script, json.dumps(lines, default=str)],
        cwd=script.parent.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    ended = [Result(*one) for one in json.loads(done.stdout)]
    assert len(ended) == len(lines)
    return ended


def test_a_bundle_has_all_that_is_needed(bundle: Path) -> None:
    assert {path.name for path in bundle.iterdir()} == FILES


@pytest.mark.long
def test_exporting_twice_gives_the_same_bytes(mixed: Project, bundle: Path, tmp_path: Path) -> None:
    mixed.ok("best", "--export", "--to", tmp_path / "again")
    mixed.ok("best", "--export", "--to", tmp_path / "one.zip")
    two = mixed.ok("best", "--export", "--to", tmp_path / "two.zip", "--json").document()

    assert contents(tmp_path / "again") == contents(bundle)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    path = str(tmp_path / "two.zip")
    assert two == {"schema_version": 1, "path": path, "onnx": True, "notes": []}
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path)
    root = f"mixed-{mixed.study('mixed').best_trial.number}"
    assert contents(tmp_path / root) == contents(bundle)


def test_predict_py_needs_nothing_of_this_program(
    mixed: Project, bundle: Path, tmp_path: Path
) -> None:
    out, script = tmp_path / "y.npy", bundle / "predict.py"

    signals = mixed.path / "x.npy"
    done, printed, refused = run_alone(script, [signals, out], [signals], [mixed.path / "t.npy"])

    assert (done.code, done.out, done.err) == (0, "", "")
    expected = np.load(best_directory(mixed) / "y_pred.npy")
    np.testing.assert_allclose(np.load(out)[TEST_SPLIT], expected, rtol=1e-4, atol=1e-6)
    head, *rows = printed.out.splitlines()
    assert head == ",".join(TARGETS)
    assert len(rows) == N_SAMPLES
    assert rows[0] == ",".join(map(str, np.load(out)[0]))  # no more digits than there are
    assert refused.code == 2
    assert "must be (N, 2, 32)" in refused.err
    assert "Traceback" not in refused.err


def test_predict_py_behaves_like_a_program(mixed: Project, bundle: Path) -> None:
    script = bundle / "predict.py"

    helped, missing, unwritable = run_alone(
        script, ["--help"], ["nowhere.npy"], [mixed.path / "x.npy", "nowhere/y.npy"]
    )
    assert (helped.code, helped.err) == (0, "")
    assert "python predict.py X.npy Y.npy" in helped.out
    assert (missing.code, missing.err) == (2, "nowhere.npy: No such file or directory\n")
    assert unwritable.code == 2
    assert unwritable.err == "nowhere/y.npy: No such file or directory\n"

    reader, writer = os.pipe()
    os.close(reader)
    piped = subprocess.run(
        [sys.executable, script, mixed.path / "x.npy"],
        stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (piped.returncode, piped.stderr) == (0, "")


def test_the_onnx_file_takes_any_number_of_recorded_signals(mixed: Project, bundle: Path) -> None:
    session = onnxruntime.InferenceSession(bundle / "model.onnx")
    x = np.load(mixed.path / "x.npy")[TEST_SPLIT]

    predicted = session.run(None, {"signals": x})[0]
    one = session.run(None, {"signals": x[:1]})[0]

    expected = np.load(best_directory(mixed) / "y_pred.npy")
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(one, expected[:1], rtol=1e-4, atol=1e-6)


def test_the_onnx_file_tells_nothing_of_the_machine_that_made_it(bundle: Path) -> None:
    content = (bundle / "model.onnx").read_bytes()

    for words in (b".py", b"site-packages", b"tunectl", str(Path(sys.prefix).parent).encode()):
        assert words not in content


def test_without_the_extra_it_says_that_there_is_no_onnx_file(
    mixed: Project, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_ONNX)

    result = mixed.ok("best", "--export", "--to", tmp_path / "b", PYTHONPATH=str(tmp_path))

    assert "pip install 'tunectl[onnx]'" in result.err
    assert not (tmp_path / "b" / "model.onnx").exists()
    assert "no ONNX file" in (tmp_path / "b" / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_params_best_is_a_params_yaml(mixed: Project, bundle: Path, tmp_path: Path) -> None:
    project = copy_of(mixed, tmp_path / "copy")
    shutil.copy(bundle / "params_best.yaml", project.path / "params_best.yaml")

    project.ok("check", "--params", "params_best.yaml")
    project.write(optuna_params=SEARCH)
    project.ok("tune", "--params", "params_best.yaml", "--study", "next", "--n-trials", "1")

    (trial,) = project.trials("next")
    config = project.yaml(f"{trial.user_attrs['output_dir']}/config.yaml")
    assert config["model"]["hidden"] == 4


def test_the_model_card_says_what_it_is_made_from_and_how_good_it_is(
    mixed: Project, bundle: Path
) -> None:
    card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")

    best = mixed.study("mixed").best_trial
    metrics = mixed.json(best_directory(mixed) / "metrics.json")
    digest = hashlib.sha256((mixed.path / "x.npy").read_bytes()).hexdigest()
    for words in (
        f"# Model card: mixed, trial {best.number}",
        f"{metrics['n_parameters']:,} parameters",
        "(N, 2, 32)",
        f"| signals | `x.npy` | ({N_SAMPLES}, 2, 32) | float32 | {digest} |",
        f"{N_TEST} to test",
        "flow \\[m/s\\]",
        f"{metrics['per_target']['a']['rmse']:.4g}",
        f"{best.value:.4g}",
        "the best of 4 finished trials",
        f"| `training.learning_rate` | {best.params['training.learning_rate']:.6g} | one of",
        "## Limits",
    ):
        assert words in card, words


@pytest.mark.long
def test_the_model_card_has_no_fingerprint_of_other_data(mixed: Project, tmp_path: Path) -> None:
    changed = copy_of(mixed, tmp_path / "changed")
    x = np.load(changed.path / "x.npy")
    np.save(changed.path / "x.npy", x[::-1])
    gone = copy_of(mixed, tmp_path / "gone")
    (gone.path / "t.npy").unlink()

    for project in (changed, gone):
        result = project.ok("best", "--export")

        assert "have changed" in result.err
        card = (project.path / "best" / "MODEL_CARD.md").read_text(encoding="utf-8")
        assert "SHA-256" not in card
        assert "not those of the training any more" in card


@pytest.mark.long
def test_an_archive_that_is_no_bundle_is_left_alone(mixed: Project, tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.zip"
    with zipfile.ZipFile(thesis, "w") as archive:
        archive.writestr("thesis/params_best.txt", "years of work")
    text = tmp_path / "notes.zip"
    text.write_text("not even an archive")

    for file in (thesis, text):
        before = file.read_bytes()
        result = mixed.tunectl("best", "--export", "--to", file)
        assert (result.code, file.read_bytes()) == (2, before)
        assert str(file) in result.err
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.zip", "notes.zip"}


PLAIN = """\
def run(trial):
    (trial.directory / "README.md").write_text("my own")
    (trial.directory / "large.bin").write_bytes(bytes(3_000_000))
    return trial.config["rate"]
"""


def test_what_a_function_left_is_copied_and_hides_nothing_of_the_bundle(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)
    search = (
        "study: {name: plain, metric: loss, n_trials: 1}\n"
        "params_to_tune: {rate: {low: 0.0, high: 1.0}}\n"
    )
    params = "objective: train:run\nrate: 0.5\n"
    project.write(config=CONFIG, params=params, optuna_params=search)
    (tmp_path / "train.py").write_text(PLAIN)
    project.ok("tune")

    result = project.ok("best", "--export")
    assert "README.md is left_by_trial/README.md" in result.said
    assert (tmp_path / "best/left_by_trial/README.md").read_text() == "my own"
    assert (tmp_path / "best/README.md").read_text().startswith("# Trial 0 of study plain")
    assert (tmp_path / "best/large.bin").read_bytes() == bytes(3_000_000)
    quiet = project.ok("best", "--export", "--to", "one.zip", "-q")
    assert quiet.err == ""
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.read("plain-0/left_by_trial/README.md") == b"my own"
        assert archive.testzip() is None
