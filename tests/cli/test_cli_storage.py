"""What is wrong with the database or its disk is said in a sentence, and nothing is overwritten."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
from cli_project import TUNECTL, Project, environment_with
from warm_project import copy_of, mixed_project, small_project

ReadOnly = Callable[[Path], AbstractContextManager[None]]
SmallDisk = Callable[[Path, int], AbstractContextManager[None]]


READS = ("summary",)
CREATES = ("study", "create", "another")


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return mixed_project(tmp_path_factory)


def truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def garbage(file: Path) -> None:
    file.write_bytes(b"my notes of last summer\n" * 100)


def of_another_program(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")


def of_an_older_optuna(file: Path) -> None:
    file.unlink()
    script = Path(__file__).parents[1] / "data" / "optuna-2.10.sql"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(script.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (truncated, ("the database is damaged", "restore a copy", "tunectl doctor")),
        (emptied, ("study.db is empty", "restore a copy, else remove it")),
        (garbage, ("this is no SQLite database", "it is left as it is", "storage.url")),
        (of_another_program, ("but not one of studies", "it is left as it is", "storage.url")),
        (of_an_older_optuna, ("an older Optuna (2.10.1)", "tunectl doctor --fix")),
    ],
)
def test_what_is_no_sound_database_is_told_as_such_and_left(
    mixed: Project, tmp_path: Path, spoil: Callable[[Path], None], words: tuple[str, ...]
) -> None:
    project = copy_of(mixed, tmp_path)
    file = project.path / "optuna" / "study.db"
    spoil(file)
    before = file.read_bytes()

    for command in (READS, CREATES):
        result = project.tunectl(*command)
        assert (result.code, result.out) == (7, "")
        assert all(word in result.err for word in words), result.err
        assert result.err.count("\n") == 1

    assert file.read_bytes() == before


def test_a_read_only_project_can_be_read_and_is_told_as_such(
    mixed: Project, tmp_path: Path, read_only: ReadOnly
) -> None:
    project = copy_of(mixed, tmp_path / "project")

    with read_only(project.path):
        assert project.ok("summary", "--json").document()["n_trials"] == 5
        assert project.ok("best", "--params").out
        for command in (CREATES, ("study", "resume", "mixed")):
            result = project.tunectl(*command)
            assert result.code == 7
            assert "Read-only file system" in result.err


def test_a_study_on_a_full_disk_can_be_read_and_goes_on_when_there_is_space(
    mixed: Project, tmp_path: Path, small_disk: SmallDisk
) -> None:
    project = copy_of(mixed, tmp_path)
    database = (project.path / "optuna" / "study.db").read_bytes()
    shutil.rmtree(project.path / "optuna")
    (project.path / "optuna").mkdir()

    with small_disk(project.path / "optuna", 300):
        (project.path / "optuna" / "study.db").write_bytes(database)
        rest = project.path / "optuna" / "rest"
        with pytest.raises(OSError, match="No space"), rest.open("wb") as file:
            file.write(bytes(300_000))

        refused = project.tunectl(*CREATES)
        assert refused.code == 7
        assert "the disk is full" in refused.err
        assert "nothing stored is lost, so free some space and go on" in refused.err
        assert project.ok("summary", "--json").document()["n_trials"] == 5

        rest.unlink()
        assert project.ok(*CREATES).out == "another\n"


def test_a_limit_on_the_size_of_files_is_told_as_such(tmp_path: Path) -> None:
    project = small_project(tmp_path)

    done = subprocess.run(
        [TUNECTL, "study", "create"],
        cwd=tmp_path,
        env=environment_with({}),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)),
    )

    assert (done.returncode, done.stdout) == (7, "")
    assert "larger than the limit of 60000 bytes" in done.stderr
    assert "raise the limit, ulimit -f, and go on" in done.stderr
    assert not (tmp_path / "optuna" / "study.db").exists()
    assert project.ok("study", "create").out == "small\n"


def test_a_locked_database_is_waited_for_and_then_told_as_such(
    mixed: Project, tmp_path: Path
) -> None:
    project = copy_of(mixed, tmp_path)
    before = project.database()

    with closing(sqlite3.connect(project.path / "optuna" / "study.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        result = project.tunectl(*CREATES, "--storage", "sqlite:///optuna/study.db?timeout=0.2")
        assert project.ok("summary").code == 0  # readers do not wait for a writer
        other.rollback()

    assert result.code == 7
    assert "another process keeps the database locked (database is locked)" in result.err
    assert f"lsof {project.path / 'optuna' / 'study.db'}" in result.err
    assert project.database() == before


@pytest.mark.slow
def test_of_many_that_create_a_study_at_once_one_does(tmp_path: Path) -> None:
    project = small_project(tmp_path)

    with_exist_ok = at_once(project, "study", "create", "shared", "--exist-ok", count=3)
    without = at_once(project, "study", "create", "single", count=3)

    assert [code for code, _ in with_exist_ok] == [0, 0, 0]
    assert sorted(code for code, _ in without) == [0, 4, 4]
    assert project.study("shared").metric_names == ["val_mse"]
    assert "Traceback" not in "".join(err for _, err in (*with_exist_ok, *without))


@pytest.mark.slow
def test_many_that_tune_at_once_from_an_empty_folder_run_one_study_exactly(tmp_path: Path) -> None:
    project = small_project(tmp_path)

    ends = at_once(project, "tune", "--until", "4", count=5)

    assert [code for code, _ in ends] == [0] * 5, ends
    trials = project.trials("small")
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert len({trial.user_attrs["output_dir"] for trial in trials}) == 4
    assert project.ok("study", "show", "small", "--json").document()["budget"] == 4


@pytest.mark.parametrize(
    "command",
    [
        ("summary", "--storage", "postgresql+nodriver://me:secret@host/db?password=secret"),
        ("-vv", "summary", "--storage", "mysql+pymysql://me:secret@host/db"),
        ("summary", "postgresql://me:secret@host/db"),
        ("check", "storage.url=postgresql://me:se{cret@host/db"),
        ("check", "--json", "postgresql://me:secret@host/db"),
        ("check", "-v", "storage.url='postgresql://me:secret@host/db'"),
        ("check", "--plan", "storage.url='postgresql://me:secret/secret@host/db'"),
        ("postgresql://me:secret@host/db",),
        ("study", "resume", "--storage", "//me:secret@host"),
    ],
)
def test_a_password_is_never_shown(mixed: Project, command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [TUNECTL, *command],
        cwd=mixed.path,
        env=environment_with({"COLUMNS": "200"}),
        capture_output=True,
        text=True,
        check=False,
    )

    assert "cret" not in done.stdout + done.stderr
    assert done.stdout + done.stderr


def at_once(project: Project, *command: str, count: int) -> list[tuple[int, str]]:
    """Start a command so often at once; return the exit codes and what was said."""
    processes = [
        subprocess.Popen(
            [TUNECTL, *command],
            cwd=project.path,
            env=environment_with({}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    ends = [process.communicate(timeout=300) for process in processes]
    return [(one.returncode, err) for one, (_, err) in zip(processes, ends, strict=True)]
