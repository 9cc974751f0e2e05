"""Queued points and the processes that compete for them: each is run once, and by one of them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from pathlib import Path

import pytest

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.config.run import Run
from tunectl.config.schema import Settings, Surroundings
from tunectl.config.search_schema import Direction, Search
from tunectl.config.signal_run import TrainingRun
from tunectl.errors import Problem
from tunectl.objectives.base import Outcome, TrialContext
from tunectl.running.coordinator import run_study
from tunectl.running.opening import open_study
from tunectl.running.worker import Workplace
from tunectl.studies.budget import Budget
from tunectl.studies.queue import enqueue_points

POINTS = 40
PROCESSES = 4


class Instant:
    """An objective that takes no time."""

    metrics: Mapping[str, Direction] = {"val_mse": "minimize"}
    epoch_metrics = ("val_mse",)
    needs_device = True
    leaves_network = True

    def problems(self, run: Run, project: Path) -> list[Problem]:
        return []

    def run(self, context: TrialContext) -> Outcome:
        value = context.config.run.as_kind(TrainingRun).training.learning_rate
        return Outcome(value=value, best_epoch=1, epochs=1, metrics={"val_mse": value})


def settings() -> Settings:
    space = {"training.learning_rate": {"type": "float", "low": 1e-4, "high": 1.0}}
    search = {"study": {"name": "queued"}, "params_to_tune": space}
    return Settings(
        surroundings=Surroundings(), run=TrainingRun(), search=Search.model_validate(search)
    )


def url_in(project: Path) -> str:
    return f"sqlite:///{project}/optuna/study.db"


def run_all(project: Path) -> None:
    """Run trials as one of several processes does."""
    study, its_settings = open_study(settings(), url_in(project))
    place = Workplace(
        study=study,
        settings=its_settings,
        tree=ProjectTree.of(project, its_settings.surroundings),
        objective=Instant(),
        device="cpu",
        storage_url=url_in(project),
    )
    run_study(place, Budget(until=POINTS))


@pytest.mark.slow
def test_queued_points_are_each_run_once_by_four_processes(tmp_path: Path) -> None:
    study, _ = open_study(settings(), url_in(tmp_path))
    rates = [round(0.001 * (1 + index), 6) for index in range(POINTS)]
    enqueue_points(study, [{"training.learning_rate": rate} for rate in rates])
    starter = multiprocessing.get_context("forkserver")
    starter.set_forkserver_preload(["tunectl.running.coordinator", "tunectl.running.opening"])
    processes = [starter.Process(target=run_all, args=(tmp_path,)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    trials = study.get_trials()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * POINTS
    assert [trial.params["training.learning_rate"] for trial in trials] == rates
    assert [trial.value for trial in trials] == rates
    assert len({trial.user_attrs["output_dir"] for trial in trials}) == POINTS
