"""A shell's completion: what it offers, what it costs, and that it never complains."""

from __future__ import annotations

import os
import pty
import select
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from cli_project import PATIENCE_S, TUNECTL, Project, environment_with
from optuna.trial import TrialState
from warm_project import copy_of, mixed_project, small_project

HEAVY = ("optuna", "torch", "sqlalchemy", "numpy", "scipy", "sklearn", "matplotlib", "alembic")


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return mixed_project(tmp_path_factory)


def completing(words: tuple[str, ...]) -> dict[str, str]:
    """Return the environment in which bash asks for what may stand in place of the last word."""
    return environment_with(
        {
            "_TUNECTL_COMPLETE": "complete_bash",
            "COMP_WORDS": "\n".join(("tunectl", *words)),
            "COMP_CWORD": str(len(words)),
        }
    )


def offered(folder: Path, *words: str) -> list[str]:
    """Return what is offered in place of the last word."""
    done = subprocess.run(
        [TUNECTL],
        cwd=folder,
        env=completing(words),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def in_bash(folder: Path, typed: str, until: str) -> str:
    """Type into a real bash with completion set up; return what was to be seen."""
    bash = shutil.which("bash")
    assert bash is not None
    ours, theirs = pty.openpty()
    path = f"{TUNECTL.parent}{os.pathsep}{os.environ['PATH']}"
    environment = environment_with({"TERM": "dumb", "PATH": path, "PS1": "$ "})
    process = subprocess.Popen(
        [bash, "--norc", "--noprofile", "-i"],
        cwd=folder,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        os.write(ours, b'eval "$(_TUNECTL_COMPLETE=source_bash tunectl)" && echo is-${#}-ready\n')
        seen = read_until(ours, "is-0-ready")
        os.write(ours, typed.encode())
        return seen + read_until(ours, until)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(descriptor: int, words: str) -> str:
    seen = ""
    while words not in seen:
        ready, _, _ = select.select([descriptor], [], [], PATIENCE_S)
        assert ready, f"{words!r} did not appear: {seen}"
        seen += os.read(descriptor, 65536).decode(errors="replace")
    return seen


def test_bash_completes_the_name_of_a_study_when_tab_is_pressed(mixed: Project) -> None:
    directory = mixed.trials("mixed")[0].user_attrs["output_dir"]

    seen = in_bash(mixed.path, "tunectl trial path --study mi\t 0\n", until=directory)

    assert "--study mixed" in seen


def test_commands_studies_and_trials_are_offered(mixed: Project, tmp_path: Path) -> None:
    everywhere = [str(trial.number) for trial in mixed.trials("mixed")]
    complete = [
        str(trial.number) for trial in mixed.trials("mixed") if trial.state is TrialState.COMPLETE
    ]

    verbs = ["list", "show", "path", "replay", "ask", "report", "should-prune", "tell", "release"]
    assert offered(mixed.path, "trial", "") == verbs
    assert offered(mixed.path, "best", "--study", "mi") == ["mixed"]
    assert offered(mixed.path, "best", "--study", "mo") == []
    assert offered(mixed.path, "study", "delete", "") == ["mixed"]
    assert offered(mixed.path, "study", "export", "m") == ["mixed"]
    assert offered(mixed.path, "trial", "show", "") == everywhere
    assert offered(mixed.path, "trial", "replay", "3") == ["3"]
    assert offered(mixed.path, "predict", "x.npy", "--trial", "") == complete
    assert offered(mixed.path, "plots", "--only", "history,cont") == ["history,contour"]
    assert offered(mixed.path, "plots", "--format", "png,p") == ["png,pdf"]
    assert offered(mixed.path, "plots", "--compare", "") == ["mixed"]
    # Also from elsewhere, wherever the global option stands.
    project = str(mixed.path)
    assert offered(tmp_path, "-C", project, "trial", "path", "") == everywhere
    assert offered(tmp_path, "trial", "path", "-C", project, "--study", "mixed", "") == everywhere
    assert offered(tmp_path, "summary", "--storage", mixed.url, "--study", "") == ["mixed"]


def test_completion_imports_nothing_heavy(mixed: Project) -> None:
    for words in (("trial", "show", ""), ("best", "--study", "")):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", TUNECTL],
            cwd=mixed.path,
            env=completing(words),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )
        assert done.stdout.split()
        imported = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
        assert "sqlite3" in imported
        assert [name for name in imported if name.partition(".")[0] in HEAVY] == []


def test_a_study_that_is_being_written_to_is_read_and_not_touched(
    mixed: Project, tmp_path: Path
) -> None:
    project = copy_of(mixed, tmp_path / "copy")
    with closing(sqlite3.connect(project.path / "optuna" / "study.db")) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE trials SET state = 'FAIL'")

        assert offered(project.path, "trial", "show", "") == ["0", "1", "2", "3", "4"]

        writer.rollback()
    assert project.database() == mixed.database()


def test_where_nothing_can_be_read_nothing_is_offered(mixed: Project, tmp_path: Path) -> None:
    empty = small_project(tmp_path / "empty")
    before = empty.files()
    assert offered(empty.path, "trial", "show", "") == []
    assert empty.files() == before

    other = copy_of(mixed, tmp_path / "other")
    with closing(sqlite3.connect(other.path / "optuna" / "study.db")) as connection:
        connection.execute("UPDATE version_info SET schema_version = 99")
        connection.commit()
    damaged = copy_of(mixed, tmp_path / "damaged")
    (damaged.path / "optuna" / "study.db").write_bytes(b"x" * 8192)
    unreadable = copy_of(mixed, tmp_path / "unreadable")
    unreadable.write(config="storage: [")
    for project in (other, damaged, unreadable):
        assert offered(project.path, "best", "--study", "") == []
    assert offered(mixed.path, "best", "--storage", "postgresql://a:b@c/d", "--study", "") == []


def test_a_name_that_a_shell_would_take_apart_is_not_offered(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    project.ok("study", "create")
    for name in ("other", "my study", "$(reboot)"):
        optuna.create_study(study_name=name, storage=project.url)

    assert offered(project.path, "study", "show", "") == ["other", "small"]


def test_the_script_for_a_shell_is_printed_and_installed(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    bash = shutil.which("bash")
    # Typer asks the process above for the name of the shell.
    for option in ("--show-completion", "--install-completion"):
        done = subprocess.run(
            [str(bash), "-c", f'said="$("{TUNECTL}" {option})" && echo "$said"'],
            env=environment_with(home),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )
        assert "completion" in done.stdout
    installed = tmp_path / ".bash_completions" / "tunectl.sh"
    assert "complete -o default" in installed.read_text(encoding="utf-8")
