"""A call that has to wait says for whom, and can be stopped while it does."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from cli_project import Project, wait_for_file, wait_until
from filelock import FileLock
from objective_cases import function_project
from warm_project import small_project

from tunectl.studies.claimant import claimant

PARAMS = """\
dataset: {source: npy, x_path: x.npy, t_path: t.npy, drop_channels: [], target_names: [a, b]}
model: {hidden: 4}
"""
ONE = """\
study: {name: one, n_trials: 1}
params_to_tune:
  training.learning_rate: {type: float, low: 1.0e-3, high: 1.0e-2}
base_params: {training: {epochs: 1}}
"""
LOCK_FILE = "optuna/study.db.claims.lock"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return function_project(tmp_path, name="one", n_trials=1)


def leave_to_a_container(project: Project) -> None:
    """Let trial 0 be claimed by a container of this machine that has taken its folder with it."""
    study = project.study("one")
    trial = study.ask()
    claimed_by = {**claimant("one", Path("/data/project")), "host": "a-container"}
    trial.set_user_attr("claimed_by", claimed_by)
    trial.set_user_attr("output_dir", "outputs/2026-01-31/12-00-59")


def stop(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    return process.returncode


@pytest.mark.slow
def test_a_trial_whose_worker_cannot_be_seen_is_waited_for_until_it_is_released(
    project: Project,
) -> None:
    project.ok("study", "create")
    leave_to_a_container(project)

    with project.started("-q", "tune") as process:  # said all the same: it may wait for ever
        said = wait_until(process, "tunectl trial release 0")
        released = project.ok("trial", "release", "0")
        process.communicate(timeout=120)

    assert "waiting for trial 0, which runs on a-container" in said
    assert "if its worker is gone: tunectl trial release 0 --study one" in said
    assert released.out == (
        "trial 0 of study one is released: whoever runs the study next takes it up\n"
    )
    assert process.returncode == 0
    (trial,) = project.trials("one")
    assert trial.state.name == "COMPLETE"
    assert "released" not in trial.user_attrs["claimed_by"]
    over = project.tunectl("trial", "release", "0")
    assert (over.code, over.out) == (2, "")
    assert "trial 0 is not running: there is nothing to release" in over.err


@pytest.mark.long
@pytest.mark.slow
def test_a_trial_that_runs_is_not_released(project: Project) -> None:
    with project.started("tune", "training.epochs=1000000") as process:
        wait_for_file(project, "outputs/*/*/trial_info.yaml")
        refused = project.tunectl("trial", "release", "0")
        stop(process)
    again = project.ok("trial", "release", "0")

    assert (refused.code, refused.out) == (2, "")
    assert "trial 0 has a worker, which holds the lock of its directory" in refused.err
    assert again.out.startswith("trial 0 of study one is interrupted: whoever")


@pytest.mark.slow
def test_a_call_that_waits_for_the_claim_lock_can_be_stopped(project: Project) -> None:
    with project.started("tune", "--n-trials", "2", "training.pause_s=0.2") as process:
        wait_for_file(project, "outputs/*/*/trial_info.yaml")
        with FileLock(project.path / LOCK_FILE):
            wait_until(process, "[1/2]")
            code = stop(process)

    assert code == 130
    (trial,) = project.trials("one")
    assert trial.state.name == "COMPLETE"


@pytest.mark.slow
def test_a_call_that_tries_out_numbers_of_workers_can_be_stopped(tmp_path: Path) -> None:
    project = small_project(tmp_path, params=PARAMS, optuna_params=ONE)
    with project.started("tune", "--workers", "auto", "training.epochs=100000") as process:
        while not psutil.Process(process.pid).children():
            assert process.poll() is None
        code = stop(process)

    assert code == 130
    assert not project.trials("one")
    assert not project.path.joinpath("optuna", "workers.json").exists()


@pytest.mark.slow
def test_a_second_signal_ends_a_call_that_waits_for_the_database_at_once(tmp_path: Path) -> None:
    project = small_project(tmp_path, params=PARAMS, optuna_params=ONE)
    project.ok("study", "create")
    with closing(sqlite3.connect(project.path / "optuna" / "study.db")) as other:
        with project.started("tune", "training.epochs=1000000") as process:
            wait_for_file(project, "outputs/*/*/trial_info.yaml")
            other.execute("BEGIN IMMEDIATE")
            wait_for_lock_holder(process)
            process.send_signal(signal.SIGINT)
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)  # the database is waited for for a minute
        other.rollback()

    assert process.returncode == 130
    assert "ended at once; everything is saved" in said
    assert [trial.state.name for trial in project.trials("one")] == ["RUNNING"]


def wait_for_lock_holder(process: subprocess.Popen[str]) -> None:
    """Wait until a process does nothing but wait."""
    watched, before = psutil.Process(process.pid), -1.0
    while (now := watched.cpu_times().user) - before > 0.02:
        before = now
        time.sleep(0.5)
