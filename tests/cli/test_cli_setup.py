"""What comes before a study: help, init, demo and check."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_project import TUNECTL, Project, environment_with
from warm_project import WarmProject, mixed_project, small_project

COMMANDS = (
    "init",
    "demo",
    "check",
    "tune",
    "summary",
    "best",
    "study",
    "study create",
    "study resume",
    "study delete",
    "study list",
    "study show",
    "trial",
    "trial list",
    "trial show",
    "trial path",
)
# Runs one command after another in one process and tells what each of them brought along.
LOOK_AT_IMPORTS = """
import contextlib, io, json, sys
from tunectl.cli.app import run
heavy, seen = {"torch", "mlflow", "matplotlib", "sklearn"}, {}
for line in json.loads(sys.argv[1]):
    sys.argv[1:] = line.split()
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = run()
    seen[line] = [code, bool(out.getvalue()), sorted(heavy & set(sys.modules))]
print(json.dumps(seen))
"""


def imports_of(lines: list[str], folder: Path) -> dict[str, list[object]]:
    """Return for each command line its exit code, whether it printed, and the heavy packages."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK_AT_IMPORTS, json.dumps(lines)],
        cwd=folder,
        env=environment_with({}),
        capture_output=True,
        text=True,
        check=True,
    )
    seen: dict[str, list[object]] = json.loads(done.stdout)
    return seen


def digests(folder: Path) -> dict[str, str]:
    """Return the hash of each file of a folder."""
    files = [path for path in folder.iterdir() if path.is_file() and path.name != ".lock"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_help_and_commands_that_only_read_need_no_heavy_package(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    mixed = mixed_project(tmp_path_factory)
    helps = ["--help", *(f"{command} --help" for command in COMMANDS)]
    reads = ["summary", "summary --json", "best --json", "trial list", "trial show 0", "study list"]

    seen = imports_of([*helps, *reads, "study show", "check"], mixed.path)

    assert seen == {line: [0, True, []] for line in seen}


def test_help_names_every_option_of_the_contract(tmp_path: Path) -> None:
    result = Project(tmp_path).ok("tune", "--help", COLUMNS="200")

    options = "n-trials until timeout study storage seed device fresh params config optuna-params"
    for option in options.split():
        assert f"--{option} " in result.out
    assert "TUNECTL" not in result.err


def test_version_is_that_of_the_installed_package(tmp_path: Path) -> None:
    from importlib.metadata import version

    assert Project(tmp_path).ok("--version").out == f"tunectl {version('tunectl')}\n"


def test_a_closed_pipe_ends_even_help_quietly(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [TUNECTL, "tune", "--help"],
            env=environment_with({}),
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)

    assert (done.returncode, done.stderr) == (0, "")


def test_init_writes_three_commented_files_and_never_overwrites(tmp_path: Path) -> None:
    project, target = WarmProject(tmp_path), tmp_path / "new" / "study"

    result = project.ok("init", "new/study")
    names = ["config.yaml", "params.yaml", "optuna_params.yaml"]
    assert result.out.splitlines() == [str(target / name) for name in names]
    assert "next: cd new/study, then tunectl check, then tunectl tune" in result.err
    assert sorted(path.name for path in target.iterdir()) == sorted([".tunectl", *names])
    assert all("#" in (target / name).read_text() for name in names)
    (target / "params.yaml").write_text("model: {hidden: 8}\n")
    (target / "config.yaml").unlink()

    refused = project.tunectl("init", "new/study")
    assert (refused.code, refused.out) == (2, "")
    assert "params.yaml, optuna_params.yaml there already; --force replaces" in refused.err
    assert not (target / "config.yaml").exists()
    assert (target / "params.yaml").read_text() == "model: {hidden: 8}\n"

    project.ok("init", "--force", "-C", str(target))
    assert "hidden: 64" in (target / "params.yaml").read_text()


@pytest.mark.parametrize(
    ("objective", "made"),
    [("mlp", "data/diabetes/x.npy"), ("image_classifier", "data/digits/x.npy")],
)
def test_init_writes_the_files_of_another_objective(
    tmp_path: Path, objective: str, made: str
) -> None:
    project = WarmProject(tmp_path)
    project.ok("init", "--objective", objective)

    project.ok("check", "--json")
    assert (tmp_path / made).is_file()
    assert f"objective: {objective}" in (tmp_path / "params.yaml").read_text()
    schema = (tmp_path / ".tunectl" / "params.schema.json").read_text()
    project.ok("check", "--schema", "again")
    assert (tmp_path / "again" / "params.schema.json").read_text() == schema
    refused = project.tunectl("init", "there", "--objective", "cnn")
    assert (refused.code, "image_classifier" in refused.said) == (2, True)


def test_a_new_project_is_valid_and_gets_its_demonstration_data(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)
    project.ok("init")

    result = project.ok("check")
    again = project.ok("check", "--json")

    assert result.out == "configuration and data are valid\n"
    document = {"schema_version": 1, "valid": True, "problems": [], "warnings": []}
    document["replaced"] = []
    assert again.document() == document
    x, t = (np.load(tmp_path / "data/demo" / name) for name in ("x_train.npy", "t_train.npy"))
    assert x.shape[:2] == (len(t), 4)
    assert t.shape[1:] == (6,)
    assert project.database() is None


def test_demo_writes_the_same_bytes_for_the_same_seed(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)

    result = project.ok("demo", "a", "--samples", "20", "--seed", "5")
    Project(tmp_path).ok("demo", "b", "--samples", "20", "--seed", "5")
    project.ok("demo", "c", "--samples", "20", TUNECTL_SEED="6")

    assert result.out.splitlines() == [
        str(tmp_path / "a" / name) for name in ("x_train.npy", "t_train.npy")
    ]
    a, b, c = (digests(tmp_path / name) for name in "abc")
    assert a == b
    assert a["x_train.npy"] != c["x_train.npy"]
    x = np.load(tmp_path / "a" / "x_train.npy")
    assert (x.ndim, x.shape[:2]) == (3, (20, 4))


def test_demo_has_a_layout_in_two_dimensions_and_refuses_what_is_none(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)
    project.ok("demo", "--layout", "2d", "--samples", "20")

    x = np.load(tmp_path / "data/demo/x_train.npy")

    assert (x.ndim, x.shape[:2]) == (4, (20, 4))
    assert project.tunectl("demo", "--samples", "2").code == 2
    assert project.tunectl("demo", "--layout", "3d").code == 2


def test_check_tells_where_every_value_comes_from(tmp_path: Path) -> None:
    project = small_project(tmp_path)

    result = project.ok("check", "-v", "training.epochs=7")

    lines = result.out.splitlines()
    assert "training.epochs  (command line: training.epochs=7)" in lines
    assert "model.hidden  (params.yaml:3)" in lines
    assert "model.dropout_rate  (default)" in lines


def test_check_warns_of_what_works_but_is_probably_not_meant(tmp_path: Path) -> None:
    project = small_project(tmp_path)

    result = project.ok("check", "study.direction=maximize", "--json")

    (warning,) = result.document()["warnings"]
    assert warning["key"] == "study.direction"
    assert "Lower is better" in warning["message"]
