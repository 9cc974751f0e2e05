"""What every executor promises, over both: trials in this process, and in other processes."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.config.schema import Settings, Surroundings
from tunectl.config.search_schema import Search
from tunectl.config.signal_run import TrainingRun
from tunectl.errors import NoTrialSucceededError, StorageError
from tunectl.running.coordinator import RunReport, run_study
from tunectl.running.events import (
    EpochEnded,
    Event,
    StudyStarted,
    TrialClaimed,
    TrialEnded,
    TrialStarted,
)
from tunectl.running.executors.base import Executor
from tunectl.running.executors.inline import Inline
from tunectl.running.executors.processes import Processes
from tunectl.running.launch import furnish
from tunectl.running.opening import open_study
from tunectl.running.slots import make_slots
from tunectl.studies.budget import Budget

EPOCHS = 3
SPACE = {"training.learning_rate": {"type": "float", "low": 1e-3, "high": 1e-2}}


class Shop:
    """A project folder with a small study, run by one kind of executor."""

    def __init__(self, project: Path, executor: Executor, **training: object) -> None:
        self.executor = executor
        self.events: list[Event] = []
        self.stop = threading.Event()
        self.settings = _settings(project, training)
        self.tree = ProjectTree.of(project, self.settings.surroundings)
        self.url = f"sqlite:///{self.tree.optuna_dir}/study.db"

    def study(self) -> optuna.Study:
        return open_study(self.settings, self.url)[0]

    def go(self, *, timeout_s: float = math.inf, **budget: int) -> RunReport:
        observers = (self.events.append, self._stop_at_first_epoch)
        place = furnish(
            self.study(), self.settings, self.tree, self.url, observers, self.stop.is_set
        )
        return run_study(place, Budget(**budget), timeout_s, self.executor)

    def states(self) -> list[str]:
        return [trial.state.name for trial in self.study().get_trials()]

    stops_at_first_epoch = False

    def _stop_at_first_epoch(self, event: Event) -> None:
        if self.stops_at_first_epoch and isinstance(event, EpochEnded):
            self.stop.set()


def _settings(project: Path, training: dict[str, object]) -> Settings:
    generator = np.random.default_rng(0)
    np.save(project / "x.npy", generator.normal(size=(40, 2, 32)).astype(np.float32))
    np.save(project / "t.npy", generator.normal(size=(40, 2)).astype(np.float32))
    dataset = {"source": "npy", "x_path": "x.npy", "t_path": "t.npy", "drop_channels": []}
    run = {
        "dataset": {**dataset, "target_names": ["a", "b"]},
        "model": {"hidden": 4},
        "training": {"epochs": EPOCHS, "batch_size": 8, **training},
    }
    study = {"name": "shop", "pruner": {"name": "NopPruner"}}
    return Settings(
        surroundings=Surroundings.model_validate({"runtime": {"device": "cpu"}}),
        run=TrainingRun.model_validate(run),
        search=Search.model_validate({"study": study, "params_to_tune": SPACE}),
    )


def two_processes() -> Executor:
    return Processes(make_slots(2, "cpu", n_gpus=0, per_gpu=1))


pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("make", [Inline, two_processes], ids=["inline", "processes"]),
]
Make = Callable[[], Executor]


def test_budgets_are_exact_and_observers_are_told_of_each_trial_in_order(
    tmp_path: Path, make: Make
) -> None:
    shop = Shop(tmp_path, make())

    ended = shop.go(n_trials=3).ended

    assert [one.number for one in sorted(ended, key=lambda one: one.number)] == [0, 1, 2]
    (started,) = [one for one in shop.events if isinstance(one, StudyStarted)]
    assert (started.planned, started.workers) == (3, shop.executor.n_workers)
    for number in range(3):
        told = [one for one in shop.events if getattr(one, "number", None) == number]
        kinds = [type(one) for one in told if not isinstance(one, TrialClaimed)]
        assert kinds == [TrialStarted, *[EpochEnded] * EPOCHS, TrialEnded]

    shop.go(until=4)
    assert shop.states() == ["COMPLETE"] * 4
    assert shop.go(until=4).ended == ()


def test_told_to_stop_it_leaves_trials_that_can_be_taken_up(tmp_path: Path, make: Make) -> None:
    shop = Shop(tmp_path, make(), epochs=2000)
    shop.stops_at_first_epoch = True

    assert shop.go(n_trials=4).ended == ()

    running = [trial for trial in shop.study().get_trials() if trial.state.name == "RUNNING"]
    assert 1 <= len(running) <= shop.executor.n_workers
    checkpoints = [
        list((tmp_path / trial.user_attrs["output_dir"] / "checkpoints").glob("*.pt"))
        for trial in running
        if trial.intermediate_values
    ]
    assert checkpoints
    assert all(checkpoints)


def test_when_the_time_is_over_it_ends_without_an_error(tmp_path: Path, make: Make) -> None:
    shop = Shop(tmp_path, make(), epochs=100_000)

    report = shop.go(timeout_s=0.5, n_trials=1)

    assert report.timed_out
    assert report.ended == ()


def test_trials_that_all_fail_end_the_call(tmp_path: Path, make: Make) -> None:
    shop = Shop(tmp_path, make())
    np.save(tmp_path / "x.npy", np.zeros((40, 2, 31, 3), np.float32))  # other data
    (tmp_path / "t.npy").unlink()

    with pytest.raises(NoTrialSucceededError, match="failed one after another"):
        shop.go(until=20)

    assert 5 <= shop.states().count("FAIL") <= 6


def test_a_disk_that_cannot_be_written_ends_the_call(tmp_path: Path, make: Make) -> None:
    shop = Shop(tmp_path, make())
    shop.study()
    (tmp_path / "outputs").write_text("in the way")

    with pytest.raises(StorageError, match="is a file, not a folder"):
        shop.go(n_trials=1)

    assert shop.states() == []
