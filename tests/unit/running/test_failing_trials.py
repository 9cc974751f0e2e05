"""Trials that go wrong in a study, with a quick objective, a real database and real directories."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.config.run import Run
from tunectl.config.schema import Settings, Surroundings
from tunectl.config.search_schema import Direction, Search
from tunectl.config.signal_run import TrainingRun
from tunectl.errors import MemoryExhaustedError, NoTrialSucceededError, Problem, StudyStoppedError
from tunectl.objectives.base import Outcome, TrialContext
from tunectl.running.coordinator import RunReport, run_study
from tunectl.running.events import Event, TrialEnded
from tunectl.running.opening import open_study
from tunectl.running.worker import Workplace
from tunectl.studies.budget import Budget
from tunectl.studies.ranking import best_trial

Body = Callable[[TrialContext, int], float]
EPOCHS = 4
NAN, INF = float("nan"), float("inf")


class Scripted:
    """An objective of four epochs that does in each what a test says.

    Args:
        body: Context and epoch → value of the epoch.
    """

    metrics: Mapping[str, Direction] = {"val_mse": "minimize", "size": "minimize"}
    epoch_metrics = ("val_mse",)
    needs_device = True
    leaves_network = True

    def __init__(self, body: Body) -> None:
        self._body = body

    def problems(self, run: Run, project: Path) -> list[Problem]:
        return []

    def run(self, context: TrialContext) -> Outcome:
        context.check_stop()
        value = 0.0
        for epoch in range(1, EPOCHS + 1):
            value = self._body(context, epoch)
            context.check_stop()
            if epoch < EPOCHS:
                context.report(epoch, {"val_mse": value})
        return Outcome(value=value, best_epoch=1, epochs=EPOCHS, metrics={"val_mse": value})


class Study:
    """A project folder with one study and a failure policy."""

    def __init__(self, project: Path, **failures: Any) -> None:
        self.project = project
        search = {
            "study": {"name": "s", "pruner": {"name": "NopPruner"}},
            "params_to_tune": {"training.learning_rate": {"type": "float", "low": 0, "high": 1}},
            "failures": failures,
        }
        self.settings = Settings(
            surroundings=Surroundings(),
            run=TrainingRun.model_validate({"training": {"epochs": EPOCHS}}),
            search=Search.model_validate(search),
        )
        self.tree = ProjectTree.of(project, self.settings.surroundings)
        self.url = f"sqlite:///{self.tree.optuna_dir}/study.db"
        self.events: list[Event] = []

    def study(self) -> optuna.Study:
        return open_study(self.settings, self.url)[0]

    def go(self, body: Body, n_trials: int = 2) -> RunReport:
        place = Workplace(
            study=self.study(),
            settings=self.settings,
            tree=self.tree,
            objective=Scripted(body),
            device="cpu",
            storage_url=self.url,
            observers=(self.events.append,),
        )
        return run_study(place, Budget(n_trials=n_trials))

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        return self.study().get_trials()

    def states(self) -> list[str]:
        return [trial.state.name for trial in self.trials()]

    def folder(self, number: int) -> Path:
        path: str = self.trials()[number].user_attrs["output_dir"]
        return self.project / path

    def log(self, number: int) -> str:
        return (self.folder(number) / "logs" / "trial.log").read_text(encoding="utf-8")

    def info(self, number: int) -> dict[str, Any]:
        document: dict[str, Any] = yaml.safe_load(
            (self.folder(number) / "trial_info.yaml").read_text()
        )
        return document

    def config(self, number: int) -> dict[str, Any]:
        document: dict[str, Any] = yaml.safe_load((self.folder(number) / "config.yaml").read_text())
        return document


def first_goes_wrong(wrong: Callable[[TrialContext, int], float]) -> Body:
    """Return a body whose first trial goes wrong in epoch 3, while all others are good."""

    def body(context: TrialContext, epoch: int) -> float:
        if context.config.number == 0 and epoch == 3:
            return wrong(context, epoch)
        return 0.5

    return body


@pytest.mark.parametrize(
    ("value", "policy", "state"),
    [
        (NAN, "prune", "pruned"),
        (NAN, "fail", "failed"),
        (INF, "fail", "failed"),
        (-INF, "prune", "pruned"),
    ],
)
def test_a_value_that_is_no_number_ends_the_trial_at_its_epoch_and_the_study_goes_on(
    tmp_path: Path, value: float, policy: str, state: str
) -> None:
    study = Study(tmp_path, diverged=policy)

    study.go(first_goes_wrong(lambda *_: value))

    bad, good = study.trials()
    assert bad.state.name == {"pruned": "PRUNED", "failed": "FAIL"}[state]
    assert good.state.name == "COMPLETE"
    text = f"val_mse is {value} in epoch 3: the training has diverged; a smaller"
    assert bad.user_attrs["error"].startswith(text)
    assert f"{state}: {text}" in study.log(0)
    assert "Traceback" not in study.log(0)
    assert bad.intermediate_values == {1: 0.5, 2: 0.5}
    assert (study.info(0)["state"], study.info(0)["error"]) == (state, bad.user_attrs["error"])
    ended = [event for event in study.events if isinstance(event, TrialEnded)]
    assert [one.state for one in ended] == [state, "complete"]
    assert ended[0].error == bad.user_attrs["error"]


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_final_value_that_is_no_number_never_is_the_best(tmp_path: Path, value: float) -> None:
    study = Study(tmp_path)

    study.go(lambda context, epoch: value if context.config.number == 0 and epoch == 4 else 0.5)

    assert study.states() == ["PRUNED", "COMPLETE"]
    assert study.trials()[0].user_attrs["error"] == f"val_mse is {value} at the end"
    best = best_trial(study.study())
    assert best is not None
    assert best.number == study.study().best_trial.number == 1


def raising(error: BaseException) -> Body:
    def body(context: TrialContext, epoch: int) -> float:
        raise error

    return first_goes_wrong(body)


@pytest.mark.parametrize(
    "error", [ValueError("a bad day"), SystemExit("a bad day"), GeneratorExit("a bad day")]
)
def test_an_exception_fails_the_trial_with_class_message_and_place_and_the_study_goes_on(
    tmp_path: Path, error: BaseException
) -> None:
    study = Study(tmp_path)

    study.go(raising(error))

    assert study.states() == ["FAIL", "COMPLETE"]
    text = study.trials()[0].user_attrs["error"]
    assert text.startswith(f"{type(error).__name__}: a bad day (running/test_failing_trials.py:")
    assert "Traceback" in study.log(0)
    assert f"failed: {text}" in study.log(0)


@pytest.mark.parametrize("error", [ValueError("a bad day"), SystemExit("a bad day")])
def test_an_exception_may_stop_the_study_once_the_trial_is_stored(
    tmp_path: Path, error: BaseException
) -> None:
    study = Study(tmp_path, exception="stop")

    with pytest.raises(StudyStoppedError, match="trial 0 failed") as raised:
        study.go(raising(error))

    assert raised.value.exit_code == 1
    assert f"{type(error).__name__}: a bad day" in str(raised.value)
    assert str(study.folder(0) / "logs" / "trial.log") in str(raised.value)
    assert study.states() == ["FAIL"]
    assert study.info(0)["state"] == "failed"
    assert [event.number for event in study.events if isinstance(event, TrialEnded)] == [0]
    study.go(raising(error), n_trials=1)  # what failed is not taken up again
    assert study.states() == ["FAIL", "COMPLETE"]


def test_a_divergence_does_not_stop_a_study_that_stops_at_exceptions(tmp_path: Path) -> None:
    study = Study(tmp_path, exception="stop", diverged="fail")
    study.go(first_goes_wrong(lambda *_: NAN))
    assert study.states() == ["FAIL", "COMPLETE"]


class Memory:
    """Runs out in epoch 3 while batches are whole, or always; reports what it saw.

    Args:
        always: Whether it runs out with halves as well.
    """

    def __init__(self, *, always: bool = False) -> None:
        self._always = always
        self.seen: list[tuple[int, int]] = []

    def __call__(self, context: TrialContext, epoch: int) -> float:
        config = context.config
        self.seen.append((config.batch_parts, epoch))
        if config.number == 0 and epoch == 3 and (self._always or config.batch_parts == 1):
            (context.directory.checkpoints_dir / "of-whole-batches").touch()
            raise MemoryExhaustedError("out of memory on cpu: a smaller model needs less")
        left = [path.name for path in context.directory.checkpoints_dir.iterdir()]
        assert config.batch_parts == 1 or not left, "checkpoints of whole batches are still there"
        return float(config.batch_parts)


def test_memory_that_runs_out_fails_the_trial_and_the_study_goes_on(tmp_path: Path) -> None:
    study = Study(tmp_path)

    study.go(Memory())

    assert study.states() == ["FAIL", "COMPLETE"]
    assert study.trials()[0].user_attrs["error"] == (
        "out of memory on cpu: a smaller model needs less"
    )
    assert "Traceback" in study.log(0)


def test_memory_that_runs_out_may_have_the_trial_run_once_more_in_halves(tmp_path: Path) -> None:
    study, memory = Study(tmp_path, out_of_memory="half_batch"), Memory()

    study.go(memory)

    assert study.states() == ["COMPLETE", "COMPLETE"]
    whole, halves = [(1, epoch) for epoch in (1, 2, 3)], [(2, epoch) for epoch in (1, 2, 3, 4)]
    assert memory.seen == [*whole, *halves, *((1, epoch) for epoch in (1, 2, 3, 4))]
    again = study.trials()[0]
    assert again.value == 2.0
    assert again.intermediate_values == {1: 1.0, 2: 1.0, 3: 2.0}  # what was reported stays
    assert "error" not in again.user_attrs
    assert (study.config(0)["batch_parts"], study.config(1)["batch_parts"]) == (2, 1)
    assert "runs once more from the start, each batch in 2 parts" in study.log(0)


def test_memory_that_runs_out_in_halves_too_fails_the_trial(tmp_path: Path) -> None:
    study, memory = Study(tmp_path, out_of_memory="half_batch"), Memory(always=True)

    study.go(memory)

    assert study.states() == ["FAIL", "COMPLETE"]
    assert "it also ran out with each batch in 2 parts" in study.trials()[0].user_attrs["error"]
    assert memory.seen[3:6] == [(2, 1), (2, 2), (2, 3)]


def test_a_trial_in_halves_that_is_interrupted_goes_on_in_halves(tmp_path: Path) -> None:
    study, memory = Study(tmp_path, out_of_memory="half_batch"), Memory()

    def interrupted(context: TrialContext, epoch: int) -> float:
        if context.config.batch_parts == 2 and epoch == 2:
            raise KeyboardInterrupt
        return memory(context, epoch)

    with pytest.raises(KeyboardInterrupt):
        study.go(interrupted)
    assert study.states() == ["RUNNING"]
    study.go(memory, n_trials=1)

    assert study.states() == ["COMPLETE"]
    assert memory.seen[4:] == [(2, epoch) for epoch in (1, 2, 3, 4)]
    assert study.trials()[0].value == 2.0


def past(study: Study, number: int, *, hours: float) -> None:
    """Let a trial have begun so long ago, as the database has it."""
    from sqlalchemy import create_engine, text

    began = dt.datetime.now() - dt.timedelta(hours=hours)
    engine = create_engine(study.url)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE trials SET datetime_start = :began WHERE number = :number"),
            {"began": began.isoformat(sep=" "), "number": number},
        )
    engine.dispose()
    trial = study.trials()[number]
    if "claimed_by" in trial.user_attrs:
        claimed_by = {**trial.user_attrs["claimed_by"], "since_s": began.timestamp()}
        study.study()._storage.set_trial_user_attr(trial._trial_id, "claimed_by", claimed_by)


def test_time_in_which_a_trial_was_interrupted_does_not_count(tmp_path: Path) -> None:
    study = Study(tmp_path, trial_timeout=3600)

    def interrupted(context: TrialContext, epoch: int) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.go(interrupted)
    past(study, 0, hours=10)
    hours_ago = (dt.datetime.now() - dt.timedelta(hours=9.9)).timestamp()
    for file in study.folder(0).rglob("*"):
        _age(file, hours_ago)
    study.go(lambda *_: 0.5, n_trials=1)

    assert study.states() == ["COMPLETE"]


@pytest.mark.parametrize(("policy", "state"), [("prune", "PRUNED"), ("fail", "FAIL")])
def test_a_trial_over_its_time_ends_and_the_study_goes_on(
    tmp_path: Path, policy: str, state: str
) -> None:
    study = Study(tmp_path, trial_timeout=3600, timed_out=policy)

    def interrupted(context: TrialContext, epoch: int) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.go(interrupted)
    past(study, 0, hours=10)  # and it was running until just now
    study.go(lambda *_: 0.5)

    assert study.states() == [state, "COMPLETE"]
    assert study.trials()[0].user_attrs["error"] == "over its time of 3600 s"
    assert "over its time of 3600 s" in study.log(0)


def test_a_trial_that_was_asked_for_long_ago_and_never_began_has_all_its_time(
    tmp_path: Path,
) -> None:
    study = Study(tmp_path, trial_timeout=3600)
    study.study().ask()
    past(study, 0, hours=10)

    study.go(lambda *_: 0.5, n_trials=1)

    assert study.states() == ["COMPLETE"]


def _age(path: Path, seconds: float) -> None:
    import os

    os.utime(path, (seconds, seconds))


def test_a_trial_is_judged_by_the_policy_that_it_began_with(tmp_path: Path) -> None:
    study = Study(tmp_path, diverged="fail")

    def interrupted(context: TrialContext, epoch: int) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.go(interrupted)
    later = Study(tmp_path, diverged="prune")
    with pytest.raises(NoTrialSucceededError, match="val_mse is nan"):
        later.go(lambda *_: NAN, n_trials=1)

    assert later.states() == ["FAIL"]
