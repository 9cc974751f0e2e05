"""Bad input gets a clear error and exit code 2, and loses nothing: no study, database or folder."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from cli_project import PARAMS, SEARCH, Project
from warm_project import copy_of, mixed_project, small_project

N_TRAINED = 28


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return small_project(tmp_path)


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return mixed_project(tmp_path_factory)


def refused(project: Project, *arguments: str, code: int = 2) -> list[str]:
    """Run a command that has to refuse; return its lines, after a look at what it left: nothing."""
    before = project.files()
    result = project.tunectl(*arguments)
    assert result.code == code, result
    assert result.out == ""
    assert project.files() == before
    lines = result.err.splitlines()
    assert all(line.startswith(("error: ", "warning: ")) for line in lines), lines
    return [line.removeprefix("error: ") for line in lines]


# -- the three files -----------------------------------------------------------------------------


def test_every_file_that_is_no_yaml_is_named_with_its_line(project: Project) -> None:
    project.write(
        config="paths: {outputs_root: a}\npaths: {outputs_root: b}\n",
        params="training:\n\tepochs: 3\n",
        optuna_params="study: {name: small}\nparams_to_tune: {\n",
    )

    lines = refused(project, "tune")

    assert lines[0] == "config.yaml:2: duplicate key 'paths', first given in line 1"
    assert lines[1] == "params.yaml:2: is indented with a tab; YAML takes spaces only"
    assert lines[2].startswith("optuna_params.yaml:")
    assert len(lines) == 3


def test_files_that_cannot_be_read_are_all_named(project: Project) -> None:
    (project.path / "config.yaml").unlink()
    (project.path / "params.yaml").write_bytes(b"model:\n  hidden: \x93\xff\n")
    (project.path / "optuna_params.yaml").unlink()
    (project.path / "optuna_params.yaml").mkdir()

    lines = refused(project, "tune")

    assert (
        lines[0]
        == "config.yaml: there is no such file; `tunectl init` writes it, and an empty one will do"
    )
    assert lines[1] == "params.yaml:2: is not UTF-8 text; save it as UTF-8"
    assert lines[2].startswith("optuna_params.yaml: cannot be read: ")


def test_files_from_the_command_line_that_are_missing_are_named(project: Project) -> None:
    (line,) = refused(project, "tune", "--params", "other.yaml")

    assert line.startswith("other.yaml: there is no such file")


SEMANTIC = {
    "config": "runtime: {devic: cpu, threads_per_worker: two}\n",
    "params": """\
dataset: {source: npy, x_path: x.npy, t_path: t.npy, drop_channels: [], target_names: [a, b]}
training:
  epochs: three
  learnin_rate: 0.1
  dropout: 0.1
data_split: {train: 0.9}
""",
    "optuna_params": """\
study: {name: "a/../b 😀", sampler: {name: TPESampler}}
params_to_tune:
  training.learning_rate: {type: float, low: 0.1, high: 0.01}
  training.weight_decay: {type: float, low: 0.0, high: 0.1, log: true}
  model.use_residual: {type: categorical, choices: []}
  model.hiden: {type: int, low: 1, high: 3}
""",
}
FINDINGS: list[tuple[str, int, str, str]] = [
    ("config.yaml", 1, "runtime.devic", "did you mean 'device'?"),
    ("config.yaml", 1, "runtime.threads_per_worker", "valid: 1 or more, auto, or null"),
    ("params.yaml", 3, "training.epochs", "expected a whole number, not the text 'three'"),
    ("params.yaml", 4, "training.learnin_rate", "did you mean 'learning_rate'?"),
    ("params.yaml", 5, "training.dropout", "valid here: epochs, batch_size"),
    ("params.yaml", 6, "data_split", "must be 1, not 1.2"),
    ("optuna_params.yaml", 1, "study.name", "cannot be a study's name"),
    ("optuna_params.yaml", 3, "params_to_tune.training.learning_rate", "greater than high"),
    ("optuna_params.yaml", 4, "params_to_tune.training.weight_decay", "log needs low > 0"),
    ("optuna_params.yaml", 5, "params_to_tune.model.use_residual.choices", "must not be empty"),
    ("optuna_params.yaml", 6, "params_to_tune.model.hiden", "did you mean 'model.hidden'?"),
]


def test_every_mistake_is_told_at_once_with_file_line_and_key(project: Project) -> None:
    project.write(**SEMANTIC)

    lines = refused(project, "tune")
    document = project.tunectl("check", "--json")

    assert document.code == 2
    problems: list[dict[str, Any]] = document.document()["problems"]
    assert document.document()["valid"] is False
    places = [(one["file"], one["line"], one["key"]) for one in problems]
    assert sorted(places) == sorted((file, line, key) for file, line, key, _ in FINDINGS)
    for file, number, key, words in FINDINGS:
        (line,) = (line for line in lines if line.startswith(f"{file}:{number}: {key}: "))
        assert words in line
    assert len(lines) == len(FINDINGS)


def test_overrides_are_checked_like_files(project: Project) -> None:
    lines = refused(project, "tune", "training.epoch=3", "epochs", "training.epochs=few")

    by_override = {line.rpartition("override ")[2]: line for line in lines}
    assert "did you mean 'epochs'?" in by_override["'training.epoch=3')"]
    assert "an override is key=value" in by_override["'epochs')"]
    assert "expected a whole number" in by_override["'training.epochs=few')"]


def test_unknown_names_list_the_valid_ones(project: Project) -> None:
    unknown = ["study.metric=val_msee", "study.sampler.name=TPE", "study.pruner.name=mine.Pruner"]

    text = "\n".join(refused(project, "tune", *unknown))
    (objective,) = refused(project, "tune", "objective=flow")

    assert "did you mean val_mse? valid: inference_time_ms, n_parameters, " in text
    assert "val_mae, val_mse, val_r2, val_rmse" in text
    assert "RandomSampler, TPESampler" in text
    assert "plugins.allow" in text
    assert "valid: flow_cnn" in objective


# -- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--n-trials", "1", "--until", "2"], "--n-trials and --until exclude each other"),
        (["--study", "../a"], "study.name: '../a' cannot be a study's name"),
        (["--workers", "0", "--seed", "99999999999"], "runtime.workers: 0 is no number of workers"),
        (["--device", "gpu"], "runtime.device: 'gpu' is no device; valid: auto, cpu, cuda"),
        (["--storage", "nonsense"], "'nonsense' is no storage URL"),
        (["--storage", "sqlite://"], "an in-memory database would lose the study"),
    ],
)
def test_impossible_options_are_refused(project: Project, arguments: list[str], words: str) -> None:
    assert words in "\n".join(refused(project, "tune", *arguments))


@pytest.mark.parametrize(
    ("arguments", "environment", "option"),
    [
        (["--n-trials", "few"], {}, "--n-trials"),
        (["--until", "-1"], {}, "--until"),
        ([], {"TUNECTL_TIMEOUT": "soon"}, "--timeout"),
        ([], {"OPTUNA_DELETE_STUDY": "maybe"}, "--fresh"),
    ],
)
def test_a_value_that_is_none_is_refused_and_the_option_named(
    project: Project, arguments: list[str], environment: dict[str, str], option: str
) -> None:
    result = project.tunectl("tune", *arguments, cwd=None, **environment)

    assert result.code == 2
    assert f"Invalid value for '{option}'" in result.said
    assert project.database() is None


def test_a_device_that_is_not_there_is_refused_before_anything_is_stored(
    mixed: Project, tmp_path: Path
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    project = copy_of(mixed, tmp_path)
    before = project.database()

    for arguments in (["--study", "new"], ["--fresh"]):
        (line,) = refused(project, "tune", "--device", "cuda", *arguments)
        assert line == "device cuda is not on this machine; available: cpu"

    assert project.database() == before


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a/b", "..", "two words", "😀", "x" * 300])
def test_a_study_name_that_is_no_folder_name_is_refused(project: Project, name: str) -> None:
    (line,) = refused(project, "study", "create", name)

    assert line.startswith(f"study.name: '{name[:37]}")
    assert "1 to 100 letters, digits, '.', '_' and '-'" in line
    assert not (project.path.parent / "b").exists()


def test_a_foreign_study_with_such_a_name_never_leaves_its_folder(tmp_path: Path) -> None:
    project = small_project(tmp_path / "project")
    innocent = tmp_path / "evil" / "thesis.txt"
    innocent.parent.mkdir()
    innocent.write_text("years of work")
    (project.path / "optuna").mkdir()
    study = optuna.create_study(study_name="../../../evil", storage=project.url)
    study.tell(study.ask(), 1.0)

    assert "../../../evil" in project.ok("study", "list").out
    assert project.ok("best", "--study", study.study_name, "--json").document()["value"] == 1.0
    assert project.tunectl("study", "resume", study.study_name).code == 2
    project.ok("study", "delete", study.study_name, "--yes", "--artifacts")

    assert innocent.read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil", "project"]


# -- data ----------------------------------------------------------------------------------------


class Payload:
    """What a malicious file would run when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("pwned"),)  # type: ignore[return-value]


def test_a_missing_file_and_one_of_objects_which_is_never_unpickled(project: Project) -> None:
    np.save(project.path / "objects.npy", np.array([Payload()], dtype=object), allow_pickle=True)

    lines = refused(project, "tune", "dataset.x_path=none.npy", "dataset.t_path=objects.npy")

    assert lines[0] == "none.npy: dataset.x_path: no such file"
    assert lines[1].startswith("objects.npy: dataset.t_path: holds Python objects, which are never")


def test_a_truncated_file_and_one_of_wrong_rank(project: Project) -> None:
    whole = (project.path / "x.npy").read_bytes()
    (project.path / "cut.npy").write_bytes(whole[:1000])
    np.save(project.path / "deep.npy", np.zeros((40, 2, 2), np.float32))

    lines = refused(project, "tune", "dataset.x_path=cut.npy", "dataset.t_path=deep.npy")

    assert "cut.npy: dataset.x_path: is truncated: it is shorter than its own header says" in lines
    wanted = "targets must be (N, T), but its shape is (40, 2, 2)"
    assert f"deep.npy: dataset.t_path: {wanted}" in lines


def test_signals_of_wrong_rank_and_a_file_that_is_none(project: Project) -> None:
    np.save(project.path / "flat.npy", np.zeros((40, 32), np.float32))
    (project.path / "text.npy").write_text("1, 2, 3")

    lines = refused(project, "tune", "dataset.x_path=flat.npy", "dataset.t_path=text.npy")

    assert any("(N, C, L) or (N, C, H, W), but its shape is (40, 32)" in line for line in lines)
    assert "text.npy: dataset.t_path: is not an .npy file, whatever its name says" in lines


def test_values_that_are_no_numbers_are_counted_and_located_and_counts_must_agree(
    project: Project,
) -> None:
    x, t = np.load(project.path / "x.npy"), np.load(project.path / "t.npy")
    x[3, 1, 7] = x[5, 0, 2] = np.nan
    x[9, 0, 1] = -np.inf
    np.save(project.path / "holes.npy", x)
    np.save(project.path / "short.npy", t[:39])

    lines = refused(
        project,
        "tune",
        "dataset.x_path=holes.npy",
        "dataset.t_path=short.npy",
        "dataset.drop_channels=[5]",
    )

    assert "short.npy: dataset.t_path: has 39 samples, but holes.npy has 40" in lines
    nan = "2 values are NaN, the first at index (3, 1, 7)"
    assert f"holes.npy: dataset.x_path: {nan}" in lines
    assert any("1 value is infinite" in line and "(9, 0, 1)" in line for line in lines)
    assert any("channel 5 does not exist; the signals have channels 0 to 1" in s for s in lines)


def test_more_targets_than_weights(project: Project) -> None:
    np.save(project.path / "seven.npy", np.ones((40, 7), np.float32))

    lines = refused(project, "tune", "dataset.t_path=seven.npy")

    assert "params.yaml:2: dataset.target_names: 2 names for 7 targets" in lines
    assert any("there are 7 targets, but weights only for 6" in line for line in lines)


def test_too_few_samples_in_a_split_and_too_large_a_batch(project: Project) -> None:
    few = refused(project, "tune", "dataset.limit_samples=10")
    (batch,) = refused(project, "tune", f"training.batch_size={N_TRAINED + 1}")

    assert "data_split.valid: gets 2 of 10 samples; at least 3 are needed" in few
    assert "data_split.test: gets 1 of 10 samples; at least 3 are needed" in few
    assert batch.startswith(f"training.batch_size: {N_TRAINED + 1} is more than the {N_TRAINED}")


# -- places that cannot be used ------------------------------------------------------------------


def test_an_output_folder_that_cannot_be_made_stops_it_before_anything_is_stored(
    project: Project,
) -> None:
    (project.path / "outputs").write_text("a file")

    (line,) = refused(project, "tune", code=7)

    assert line.startswith("no trial directory can be made in ")
    assert line.endswith("outputs is a file, not a folder")
    assert project.database() is None


def test_a_folder_of_the_database_that_cannot_be_made(project: Project) -> None:
    (project.path / "optuna").write_text("a file")

    result = project.tunectl("tune")

    assert (result.code, result.out) == (7, "")
    assert "optuna/study.db" in result.err
    assert (project.path / "optuna").read_text() == "a file"


@pytest.mark.parametrize("kind", ["text", "folder", "other"])
def test_what_is_no_database_of_studies_is_left_as_it_is(project: Project, kind: str) -> None:
    file = project.path / "optuna" / "study.db"
    file.parent.mkdir()
    if kind == "text":
        file.write_text("these are notes, not a database" * 50)
    elif kind == "folder":
        file.mkdir()
    else:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("CREATE TABLE recipes (name TEXT)")
    before = file.read_bytes() if file.is_file() else b""

    result = project.tunectl("tune" if kind == "text" else "summary")

    assert (result.code, result.out) == (7, "")
    assert "not" in result.err
    assert "study.db" in result.err
    assert (file.read_bytes() if file.is_file() else b"") == before


def test_a_database_whose_driver_is_missing_shows_no_password(project: Project) -> None:
    url = "postgresql+nodriver://me:secret@localhost/studies"

    result = project.tunectl("tune", cwd=None, OPTUNA_STORAGE=url)

    assert result.code == 2
    assert "localhost" in result.err
    assert "secret" not in result.err


def test_files_without_anything_in_them_mean_the_defaults(project: Project) -> None:
    project.write(config="", optuna_params="# nothing yet\n")

    result = project.ok("check")

    assert "nothing is searched" in result.err
    assert PARAMS in (project.path / "params.yaml").read_text()
    assert SEARCH not in (project.path / "optuna_params.yaml").read_text()
