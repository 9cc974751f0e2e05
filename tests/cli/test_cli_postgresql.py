"""Studies in a PostgreSQL server, shared by several project folders and, in effect, machines."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from cli_project import PATIENCE_S, TUNECTL, Project, Result, environment_with, wait_for_file
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool
from warm_project import small_project

from postgresql_server import PASSWORD, Server

pytestmark = pytest.mark.slow

ELSEWHERE = {"host": "node7", "project": "/data/ann", "machine": "another", "boot": "another"}
EPOCHS = 200
LONG = f"""\
study: {{name: long, n_trials: 1}}
params_to_tune:
  training.learning_rate: {{type: float, low: 1.0e-3, high: 1.0e-2}}
base_params: {{training: {{epochs: {EPOCHS}}}}}
"""
PARAMS = """\
dataset: {source: npy, x_path: x.npy, t_path: t.npy, drop_channels: [], target_names: [a, b]}
model: {hidden: 4}
"""


class Shared:
    """A study in a server, and project folders that use it.

    Args:
        url: The database.
        folder: Where the project folders are made.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.said = ""

    def project(self, name: str, **files: str) -> Project:
        return small_project(self.folder / name, **files)

    def tunectl(self, project: Project, *arguments: str) -> Result:
        result = project.tunectl(*arguments, OPTUNA_STORAGE=self.url)
        self.said += result.out + result.err
        return result

    def ok(self, project: Project, *arguments: str) -> Result:
        result = self.tunectl(project, *arguments)
        assert result.code == 0, result
        return result

    def start(self, project: Project, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [TUNECTL, *arguments],
            cwd=project.path,
            env=environment_with({"OPTUNA_STORAGE": self.url, **environment}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self, process: subprocess.Popen[str]) -> int:
        out, _ = process.communicate(timeout=600)
        self.said += out
        return process.returncode

    def study(self, name: str) -> optuna.Study:
        storage = RDBStorage(self.url, {"poolclass": NullPool})
        return optuna.load_study(study_name=name, storage=storage)

    def execute(self, statement: str, **values: Any) -> None:
        engine = create_engine(self.url)
        with engine.begin() as connection:
            connection.execute(text(statement), values)
        engine.dispose()

    def silences_s(self) -> list[float]:
        """Return how long ago trials were last heard of, in seconds, by the server's clock."""
        engine = create_engine(self.url)
        with engine.connect() as connection:
            query = text("SELECT timezone('UTC', now()) - heartbeat FROM trial_heartbeats")
            ages = connection.execute(query).scalars().all()
        engine.dispose()
        return [age.total_seconds() for age in ages]

    def leave_trial(self, name: str, **claimed_by: Any) -> int:
        """Ask for a trial as a worker does, and never run it; return its number."""
        study = self.study(name)
        trial = study.ask()
        trial.set_user_attr("claimed_by", {"study": name, **claimed_by})
        trial.set_user_attr("output_dir", "outputs/2026-01-31/12-00-59")
        number: int = trial.number
        return number

    def beat(self, number: int, ago: str) -> None:
        """Record that a trial was last heard of so long ago."""
        self.execute(
            "INSERT INTO trial_heartbeats (trial_id, heartbeat) "
            f"SELECT trial_id, timezone('UTC', now()) - interval '{ago}' FROM trials "
            "WHERE number = :number",
            number=number,
        )


@pytest.fixture
def shared(postgresql: Server, tmp_path: Path) -> Iterator[Shared]:
    made = Shared(postgresql.new_database(), tmp_path)
    yield made
    assert PASSWORD not in made.said
    for file in tmp_path.rglob("*"):
        if file.is_file() and not file.is_symlink():
            assert PASSWORD.encode() not in file.read_bytes(), file


def test_every_command_works_on_a_server_and_none_shows_the_password(shared: Shared) -> None:
    project = shared.project("one")
    assert (
        "no study in postgresql+psycopg://postgres:***@" in shared.ok(project, "study", "list").out
    )
    shared.ok(project, "study", "create")
    shared.ok(project, "tune", "--n-trials", "1")
    shared.ok(project, "study", "resume", "small", "--until", "2")
    (project.path / "points.json").write_text('[{"training.learning_rate": 0.01}]')
    for command in (
        "study list",
        "study show",
        "study diff",
        "study enqueue small points.json",
        "summary",
        "summary --json",
        "best",
        "best --export",
        "trial list",
        "trial show 0",
        "trial path 0",
        "study export small small.jsonl",
        "study import small.jsonl copy",
        "tune --until 3",
    ):
        shared.ok(project, *command.split())

    states = [trial.state.name for trial in shared.study("small").get_trials()]
    assert states == ["COMPLETE"] * 3
    assert len(shared.study("copy").get_trials()) == 3
    shared.ok(project, "study", "delete", "copy", "--yes")
    assert shared.tunectl(project, "study", "show", "copy").code == 3


def test_a_server_that_cannot_be_used_is_told_without_the_password(shared: Shared) -> None:
    project = shared.project("one")
    good = shared.url
    for wrong in (
        good.replace("/studies_", "/none_"),
        good.replace("?host=", "?host=/nowhere"),
        good.replace("postgresql+psycopg", "postgresql+nothing"),
        good.replace("postgresql+psycopg", "postgresql+psycopg2"),
        good.replace("postgresql+psycopg", "postgres"),
        good.split("?")[0] + "?hots=x",
        good.replace("@/", f"x@{PASSWORD}@127.0.0.1:1/"),
    ):
        shared.url = wrong
        for command in ("study list", "tune"):
            result = shared.tunectl(project, *command.split())
            assert result.code in (2, 7), result
            assert result.err.startswith("error: ")
            assert len(result.err.splitlines()) <= 3, result.err


@pytest.mark.long
def test_two_project_folders_that_start_at_once_with_an_empty_database_run_exactly_twelve_trials(
    shared: Shared,
) -> None:
    projects = [shared.project(name) for name in ("one", "two")]
    running = [shared.start(project, "tune", "--until", "12") for project in projects]

    assert [shared.end(process) for process in running] == [0, 0]
    trials = shared.study("small").get_trials()
    assert [trial.number for trial in trials] == list(range(12))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    claimed = [trial.user_attrs["claimed_by"]["project"] for trial in trials]
    assert set(claimed) == {str(project.path) for project in projects}
    for project in projects:
        document = shared.ok(project, "summary", "--json").document()
        for trial, owner in zip(document["trials"], claimed, strict=True):
            directory = project.path / trial["output_dir"]
            assert directory.is_dir()
            assert directory.is_relative_to(owner)
        best = document["best"]["output_dir"]
        link = project.path / "outputs" / "optuna_best"
        assert link.resolve() == (project.path / best).resolve()


@pytest.mark.long
def test_a_killed_trial_is_taken_up_by_another_project_folder_at_once(shared: Shared) -> None:
    one, two = (shared.project(name, params=PARAMS, optuna_params=LONG) for name in ("one", "two"))
    process = shared.start(one, "tune")
    directory = wait_for_file(one, "outputs/*/*/trial_info.yaml").parent
    waiting = shared.start(two, "tune", "--until", "1")
    process.send_signal(signal.SIGKILL)
    shared.end(process)

    assert shared.end(waiting) == 0
    (trial,) = shared.study("long").get_trials()
    assert trial.state is TrialState.COMPLETE
    assert "trial 0 was interrupted and is taken up again" in shared.said
    assert trial.user_attrs["output_dir"] == str(directory)
    assert sorted(trial.intermediate_values) == list(range(1, EPOCHS + 1))
    assert trial.user_attrs["claimed_by"]["project"] == str(two.path)
    path = shared.ok(one, "trial", "path", "0").out.strip()
    assert path == str(directory)


def test_a_trial_of_another_machine_is_judged_by_its_heartbeat(shared: Shared) -> None:
    project = shared.project("one")
    shared.ok(project, "study", "create")
    fresh, stale, future, unheard = (shared.leave_trial("small", **ELSEWHERE) for _ in range(4))
    shared.beat(fresh, "20 seconds")
    shared.beat(stale, "10 minutes")
    shared.beat(future, "-1 day")

    shared.ok(project, "tune", "--n-trials", "3")

    trials = shared.study("small").get_trials()
    states = {trial.number: trial.state.name for trial in trials}
    assert states == {
        fresh: "RUNNING",
        stale: "COMPLETE",
        future: "COMPLETE",
        unheard: "RUNNING",
        4: "COMPLETE",
    }
    shown = shared.ok(project, "summary", "--json").document()["trials"]
    assert shown[fresh]["output_dir"] == "node7:/data/ann/outputs/2026-01-31/12-00-59"
    assert (project.path / shown[stale]["output_dir"] / "metrics.json").is_file()
    refused = shared.tunectl(project, "study", "delete", "small", "--yes")
    assert refused.code == 7
    assert "running in /data/ann on node7" in refused.err

    # The one that was never heard of has had its first heartbeat; now that grows old, too.
    shared.execute("UPDATE trial_heartbeats SET heartbeat = heartbeat - interval '10 minutes'")
    shared.ok(project, "tune", "--until", "5")
    assert {trial.state.name for trial in shared.study("small").get_trials()} == {"COMPLETE"}


def test_a_running_trial_says_that_it_is_alive_whatever_the_time_zones_are(shared: Shared) -> None:
    project = shared.project("one", params=PARAMS, optuna_params=LONG)
    process = shared.start(project, "tune", "training.epochs=1000000", PGTZ="Asia/Tokyo", TZ="UTC")
    try:
        wait_for_file(project, "outputs/*/*/trial_info.yaml")
        deadline = time.monotonic() + PATIENCE_S
        while not (ages := shared.silences_s()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        process.kill()
        shared.end(process)

    (age,) = ages
    assert abs(age) < 600
