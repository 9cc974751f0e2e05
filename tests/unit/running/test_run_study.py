"""Trials from claim to end, with an objective that is quick and a real SQLite database."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.trial import TrialState

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.config.run import Run as TrialRun
from tunectl.config.schema import Settings, Surroundings
from tunectl.config.search_schema import Direction, Search
from tunectl.config.signal_run import TrainingRun
from tunectl.errors import DivergedError, NoTrialSucceededError, Problem, StorageError
from tunectl.objectives.base import (
    Outcome,
    TrialContext,
    TrialInterrupted,
    TrialPruned,
)
from tunectl.running.coordinator import RunReport, run_study
from tunectl.running.deaths import note_death
from tunectl.running.events import EpochEnded, Event, TrialEnded, TrialStarted
from tunectl.running.opening import open_study
from tunectl.running.work import open_claims
from tunectl.running.worker import Workplace
from tunectl.studies.budget import Budget, Unlimited
from tunectl.studies.ranking import best_trials

Make = Callable[..., Settings]
Body = Callable[[TrialContext], float]


def run_of(context: TrialContext) -> TrainingRun:
    """Return what the trial does."""
    return context.config.run.as_kind(TrainingRun)


class Quick:
    """An objective that does what a test says, three epochs of it.

    Args:
        body: Configuration → value of an epoch.
    """

    metrics: Mapping[str, Direction] = {"val_mse": "minimize", "size": "minimize"}
    epoch_metrics = ("val_mse",)
    needs_device = True
    leaves_network = True

    def __init__(self, body: Body) -> None:
        self._body = body

    def problems(self, run: TrialRun, project: Path) -> list[Problem]:
        return []

    def run(self, context: TrialContext) -> Outcome:
        value = 0.0
        for epoch in (1, 2, 3):
            value = self._body(context)
            context.report(epoch, {"val_mse": value})
        size = 10.0 * run_of(context).model.hidden
        metrics = {"val_mse": value, "size": size}
        return Outcome(value=value, best_epoch=3, epochs=3, metrics=metrics)


class Run:
    """A project folder with one study, run as one process after another would."""

    def __init__(self, project: Path, settings: Settings) -> None:
        self.project = project
        self.settings = settings
        self.tree = ProjectTree.of(project, settings.surroundings)
        self.url = f"sqlite:///{self.tree.optuna_dir}/study.db"
        self.events: list[Event] = []

    def study(self) -> optuna.Study:
        return open_study(self.settings, self.url)[0]

    def place(self, body: Body) -> Workplace:
        return Workplace(
            study=self.study(),
            settings=self.settings,
            tree=self.tree,
            objective=Quick(body),
            device="cpu",
            storage_url=self.url,
            observers=(self.events.append,),
        )

    def go(self, body: Body, **budget: int) -> RunReport:
        return run_study(self.place(body), Budget(**budget))

    def states(self) -> list[str]:
        return [trial.state.name for trial in self.study().get_trials()]


@pytest.fixture
def run(tmp_path: Path, make_settings: Make) -> Run:
    return Run(tmp_path, make_settings(name="quick"))


def good(context: TrialContext) -> float:
    return run_of(context).training.learning_rate


def failing(context: TrialContext) -> float:
    raise ValueError("a bad day")


def interrupted(context: TrialContext) -> float:
    raise KeyboardInterrupt


def test_n_trials_brings_so_many_to_an_end_and_until_counts_what_is_there(run: Run) -> None:
    run.go(good, n_trials=2)
    run.go(good, until=3)
    report = run.go(good, until=3)

    assert run.states() == ["COMPLETE"] * 3
    assert report.ended == ()


def test_every_trial_has_a_directory_that_tells_the_truth(run: Run) -> None:
    def body(context: TrialContext) -> float:
        return failing(context) if context.config.number == 1 else good(context)

    run.go(body, n_trials=2)

    trials = run.study().get_trials()
    for trial, state in zip(trials, ("complete", "failed"), strict=True):
        folder = run.project / trial.user_attrs["output_dir"]
        info = yaml.safe_load((folder / "trial_info.yaml").read_text())
        config = yaml.safe_load((folder / "config.yaml").read_text())
        assert (info["state"], info["number"], info["study"]) == (state, trial.number, "quick")
        assert info["params"] == trial.params
        assert config["training"]["learning_rate"] == trial.params["training.learning_rate"]
        assert info["started_at"].endswith("Z")
        assert (folder / "logs" / "trial.log").stat().st_size > 0
    assert trials[1].user_attrs["error"].startswith("ValueError: a bad day")
    assert (
        "Traceback"
        in (run.project / trials[1].user_attrs["output_dir"] / "logs/trial.log").read_text()
    )


def test_an_interrupted_trial_is_taken_up_under_its_own_number_and_parameters(run: Run) -> None:
    run.go(good, n_trials=1)
    with pytest.raises(KeyboardInterrupt):
        run.go(interrupted, n_trials=1)
    before = run.study().get_trials()[1]
    assert before.state == optuna.trial.TrialState.RUNNING

    run.go(good, until=3)

    after = run.study().get_trials()
    assert [trial.state.name for trial in after] == ["COMPLETE"] * 3
    assert after[1].params == before.params
    assert after[1].user_attrs["output_dir"] == before.user_attrs["output_dir"]
    adopted = [e.number for e in run.events if isinstance(e, TrialStarted) and e.adopted]
    assert adopted == [1]


def test_a_trial_interrupted_after_an_epoch_reports_each_epoch_once(run: Run) -> None:
    calls = 0

    def once(context: TrialContext) -> float:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return 0.5

    with pytest.raises(KeyboardInterrupt):
        run.go(once, n_trials=1)
    run.go(once, n_trials=1)

    assert run.study().get_trials()[0].intermediate_values == {1: 0.5, 2: 0.5, 3: 0.5}
    assert run.states() == ["COMPLETE"]


def test_a_trial_whose_directory_is_gone_is_taken_up_with_a_new_one(run: Run) -> None:
    import shutil

    with pytest.raises(KeyboardInterrupt):
        run.go(interrupted, n_trials=1)
    shutil.rmtree(run.tree.outputs_root)

    run.go(good, n_trials=1)

    trial = run.study().get_trials()[0]
    assert trial.state == optuna.trial.TrialState.COMPLETE
    assert (run.project / trial.user_attrs["output_dir"] / "trial_info.yaml").is_file()


def test_a_trial_that_another_process_runs_is_left_to_it(run: Run) -> None:
    def nested(context: TrialContext) -> float:
        if context.config.number == 0:
            run.go(good, n_trials=1)
        return good(context)

    run.go(nested, n_trials=1)

    numbers = [e.number for e in run.events if isinstance(e, TrialEnded)]
    assert numbers[-1] == 0
    assert set(numbers) == {0, 1, 2, 3}  # one more for each of the three epochs
    assert run.states() == ["COMPLETE"] * 4


def test_the_pruner_stops_a_hopeless_trial(tmp_path: Path, make_settings: Make) -> None:
    pruner = {"name": "MedianPruner", "kwargs": {"n_startup_trials": 1, "n_warmup_steps": 2}}
    run = Run(tmp_path, make_settings(name="quick", pruner=pruner))

    run.go(lambda context: float(context.config.number), n_trials=2)

    trial = run.study().get_trials()[1]
    assert trial.state == optuna.trial.TrialState.PRUNED
    assert list(trial.intermediate_values) == [1, 2]
    assert trial.value == 1.0
    folder = run.project / trial.user_attrs["output_dir"]
    assert yaml.safe_load((folder / "trial_info.yaml").read_text())["state"] == "pruned"


def test_trials_that_fail_one_after_another_end_the_call(run: Run) -> None:
    with pytest.raises(NoTrialSucceededError, match="5 × ValueError: a bad day"):
        run.go(failing, until=20)

    assert run.states() == ["FAIL"] * 5


def test_a_full_disk_stops_the_study_and_fails_no_trial(run: Run) -> None:
    def full(context: TrialContext) -> float:
        raise OSError(28, "No space left on device", "y_pred.npy")

    with pytest.raises(StorageError, match="No space left"):
        run.go(full, n_trials=1)

    assert run.states() == ["RUNNING"]


def test_an_observer_that_fails_costs_no_trial(run: Run) -> None:
    def broken(event: Event) -> None:
        raise RuntimeError("the server is down")

    place = Workplace(
        study=run.study(),
        settings=run.settings,
        tree=run.tree,
        objective=Quick(good),
        device="cpu",
        storage_url=run.url,
        observers=(broken, run.events.append),
    )
    run_study(place, Budget(n_trials=1))

    assert run.states() == ["COMPLETE"]
    assert [e.epoch for e in run.events if isinstance(e, EpochEnded)] == [1, 2, 3]


def test_trials_of_one_second_have_directories_of_their_own(run: Run) -> None:
    run.go(good, n_trials=4)

    folders = [trial.user_attrs["output_dir"] for trial in run.study().get_trials()]

    assert len(set(folders)) == 4


SPACE = {
    "model.hidden": {"type": "int", "low": 2, "high": 40},
    "training.learning_rate": {"type": "float", "low": 0.1, "high": 1.0},
}


def test_several_metrics_give_a_front_of_trials_that_no_other_beats(
    tmp_path: Path, make_settings: Make
) -> None:
    settings = make_settings(SPACE, name="two", metric=["val_mse", "size"], direction="minimize")
    run = Run(tmp_path, settings)

    run.go(good, n_trials=12)

    trials = run.study().get_trials()
    front = best_trials(run.study())
    optuna_front = {trial.number for trial in run.study().best_trials}
    assert {trial.number for trial in front} == optuna_front
    assert [trial.values for trial in front] == sorted(trial.values for trial in front)
    assert all(len(trial.values) == 2 for trial in trials)
    info = yaml.safe_load(
        (run.project / trials[0].user_attrs["output_dir"] / "trial_info.yaml").read_text()
    )
    assert info["metric"] == ["val_mse", "size"]
    assert info["values"] == trials[0].values
    assert info["epochs"] == 3


def test_what_breaks_a_constraint_is_told_to_the_sampler_and_not_trained(
    tmp_path: Path, make_settings: Make
) -> None:
    trained = []

    def body(context: TrialContext) -> float:
        trained.append(context.config.number)
        assert run_of(context).model.hidden * run_of(context).training.batch_size <= 80
        return good(context)

    settings = make_settings(
        SPACE, name="tight", constraints=["model.hidden * training.batch_size <= 80"]
    )
    run = Run(tmp_path, settings)
    run.go(body, n_trials=10)

    for trial in run.study().get_trials():
        violation = trial.constraints["model.hidden * training.batch_size <= 80"]
        assert violation == trial.params["model.hidden"] * 4 - 80
        assert trial.state.name == ("PRUNED" if violation > 0 else "COMPLETE")
        assert (trial.number in trained) == (violation <= 0)
    assert {trial.state.name for trial in run.study().get_trials()} == {"PRUNED", "COMPLETE"}


def test_a_value_that_was_not_reached_fails_the_trial(tmp_path: Path, make_settings: Make) -> None:
    settings = make_settings(SPACE, name="two", metric=["val_mse", "unheard_of"])

    with pytest.raises(
        NoTrialSucceededError, match="unheard_of has no value; there are: size, val_mse"
    ):
        Run(tmp_path, settings).go(good, n_trials=1)


def _go_until(project: Path, count: int) -> None:
    """Run trials as one of several processes does."""
    search = {"study": {"name": "shared"}, "params_to_tune": SPACE}
    settings = Settings(
        surroundings=Surroundings(), run=TrainingRun(), search=Search.model_validate(search)
    )
    Run(project, settings).go(good, until=count)


def test_processes_that_share_a_study_run_exactly_what_is_wanted(tmp_path: Path) -> None:
    starter = multiprocessing.get_context("forkserver")
    starter.set_forkserver_preload(["tunectl.running.coordinator", "tunectl.running.opening"])
    processes = [starter.Process(target=_go_until, args=(tmp_path, 8)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    trials = optuna.load_study(
        study_name="shared", storage=f"sqlite:///{tmp_path}/optuna/study.db"
    ).get_trials()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 8
    assert [trial.number for trial in trials] == list(range(8))
    assert len({trial.user_attrs["output_dir"] for trial in trials}) == 8


def test_an_interrupted_trial_goes_on_as_it_was_configured_not_as_the_files_say_now(
    tmp_path: Path, make_settings: Make
) -> None:
    run = Run(tmp_path, make_settings(name="quick"))
    with pytest.raises(KeyboardInterrupt):
        run.go(interrupted, n_trials=1)
    epochs = TrainingRun.model_validate({"training": {"epochs": 7}})
    run.settings = make_settings(name="quick", run=epochs)
    seen = []

    def body(context: TrialContext) -> float:
        seen.append(run_of(context).training.epochs)
        return good(context)

    run.go(body, n_trials=2)

    assert seen == [100] * 3 + [7] * 3
    folder = run.project / run.study().get_trials()[0].user_attrs["output_dir"]
    assert yaml.safe_load((folder / "config.yaml").read_text())["training"]["epochs"] == 100


def test_a_trial_of_another_project_folder_is_taken_up_where_it_was(
    tmp_path: Path, make_settings: Make
) -> None:
    settings = make_settings(name="quick")
    one, other = Run(tmp_path / "one", settings), Run(tmp_path / "other", settings)
    other.url = one.url
    with pytest.raises(KeyboardInterrupt):
        one.go(interrupted, n_trials=1)
    (before,) = one.study().get_trials()

    other.go(good, n_trials=1)

    (after,) = one.study().get_trials()
    assert (after.state.name, after.params) == ("COMPLETE", before.params)
    folder = one.project / before.user_attrs["output_dir"]
    assert after.user_attrs["output_dir"] == str(folder)
    assert after.user_attrs["claimed_by"]["project"] == str(other.project)
    assert yaml.safe_load((folder / "trial_info.yaml").read_text())["state"] == "complete"
    assert list(other.project.glob("outputs/*/*")) == []
    one.go(good, until=1)
    assert one.states() == ["COMPLETE"]


def test_a_trial_that_another_process_has_ended_is_let_go(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    def body(context: TrialContext) -> float:
        if context.config.number == 0:  # by a machine that took this one for dead
            run.study().tell(0, 7.0)
        elif context.config.number == 1:
            run.study().tell(1, state=TrialState.FAIL)
            context.report(1, {"val_mse": 1.0})
        return good(context)

    report = run.go(body, n_trials=2)

    assert run.states() == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert run.study().get_trials()[0].value == 7.0
    assert [ended.number for ended in report.ended] == [2, 3]
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    reason = "is not ours any more: another process has brought it to its end"
    assert said == [f"trial {number} {reason}" for number in (0, 1)]
    run.go(good, until=3)
    folder = run.project / run.study().get_trials()[1].user_attrs["output_dir"]
    assert yaml.safe_load((folder / "trial_info.yaml").read_text())["state"] == "failed"


def test_a_copied_study_takes_up_its_own_copy_of_an_interrupted_trial(
    tmp_path: Path, make_settings: Make
) -> None:
    run = Run(tmp_path, make_settings(name="quick"))
    with pytest.raises(KeyboardInterrupt):
        run.go(interrupted, n_trials=1)
    optuna.copy_study(
        from_study_name="quick",
        from_storage=run.url,
        to_storage=run.url,
        to_study_name="copy",
    )
    copy = Run(tmp_path, make_settings(name="copy"))

    copy.go(good, n_trials=1)

    folders = [one.study().get_trials()[0].user_attrs["output_dir"] for one in (run, copy)]
    assert folders[0] != folders[1]
    assert yaml.safe_load((tmp_path / folders[0] / "trial_info.yaml").read_text())["study"] == (
        "quick"
    )
    assert run.states() == ["RUNNING"]


def test_a_trial_that_cannot_be_configured_fails_and_is_not_taken_up_for_ever(
    tmp_path: Path, make_settings: Make
) -> None:
    run = Run(tmp_path, make_settings(SPACE, name="quick"))
    study = run.study()
    trial = study.ask()
    trial.suggest_float("model.hidden", 0.0, 1.0)  # another program's idea of it

    with pytest.raises(NoTrialSucceededError, match="different distribution kind"):
        run.go(good, n_trials=1)

    assert run.states() == ["FAIL"]


def test_a_stale_trial_info_is_made_true_by_the_next_call(run: Run) -> None:
    run.go(good, n_trials=1)
    folder = run.project / run.study().get_trials()[0].user_attrs["output_dir"]
    info = yaml.safe_load((folder / "trial_info.yaml").read_text())
    (folder / "trial_info.yaml").write_text(yaml.safe_dump({**info, "state": "running"}))

    run.go(good, until=1)

    assert yaml.safe_load((folder / "trial_info.yaml").read_text())["state"] == "complete"


def test_told_to_stop_a_study_ends_between_trials(run: Run) -> None:
    stop = False

    def body(context: TrialContext) -> float:
        nonlocal stop
        stop = context.config.number == 1
        return good(context)

    place = Workplace(
        study=run.study(),
        settings=run.settings,
        tree=run.tree,
        objective=Quick(body),
        device="cpu",
        storage_url=run.url,
        should_stop=lambda: stop,
    )
    run_study(place, Budget(n_trials=9))

    assert run.states() == ["COMPLETE"] * 2


def test_a_trial_that_was_begun_again_after_its_directory_was_deleted_is_ended_once(
    run: Run,
) -> None:
    other = Run(run.project, run.settings)

    def body(context: TrialContext) -> float:
        if context.config.number == 0:
            shutil.rmtree(context.directory.path, ignore_errors=True)
            other.go(good, n_trials=1)
        return good(context)

    report = run.go(body, n_trials=1)

    assert [one.number for one in report.ended] == [1]  # trial 0 is the other's
    trial, _ = run.study().get_trials()
    assert run.states() == ["COMPLETE"] * 2
    info = run.project / trial.user_attrs["output_dir"] / "trial_info.yaml"
    assert yaml.safe_load(info.read_text())["state"] == "complete"


def test_the_end_of_a_trial_whose_worker_died_before_it_could_tell_is_told(run: Run) -> None:
    (ended,) = run.go(good, n_trials=1).ended
    info = ended.directory / "trial_info.yaml"
    written = yaml.safe_load(info.read_text())
    info.write_text(yaml.safe_dump({**written, "state": "running", "value": None}))
    run.events.clear()

    place = run.place(good)
    told = note_death(place, open_claims(place, None, Unlimited()), 0, "killed", pid=os.getpid())

    assert told == ended
    assert run.events == [ended]
    assert yaml.safe_load(info.read_text()) == written
    (trial,) = run.study().get_trials()
    assert (trial.state, trial.user_attrs.get("worker_deaths")) == (TrialState.COMPLETE, None)


def test_a_trial_under_which_memory_runs_out_again_and_again_is_failed_at_last(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = tmp_path / "vmstat"
    monkeypatch.setattr("tunectl.studies.claimant.VM_FILE", kernel)
    for killed in range(4):  # once, and three times more: study.max_retries
        kernel.write_text(f"oom_kill {killed}\n")
        with pytest.raises(KeyboardInterrupt):
            run.go(interrupted, n_trials=1)
        assert run.states() == ["RUNNING"]

    kernel.write_text("oom_kill 4\n")
    with pytest.raises(NoTrialSucceededError, match=r"4 times at the same place.* memory ran out"):
        run.go(good, n_trials=1)

    assert run.states() == ["FAIL"]


def test_a_trial_that_is_killed_again_and_again_is_never_given_up(run: Run) -> None:
    for _ in range(6):
        with pytest.raises(KeyboardInterrupt):
            run.go(interrupted, n_trials=1)
    run.go(good, n_trials=1)

    assert run.states() == ["COMPLETE"]


def test_whatever_ends_a_trial_all_that_it_reported_is_stored_with_it(run: Run) -> None:
    def body(context: TrialContext) -> float:
        for epoch in range(1, 21):
            context.report(epoch, {"val_mse": 1.0 / epoch})
        ends = {1: TrialPruned, 2: ValueError, 3: DivergedError, 4: SystemExit}
        if context.config.number in ends:
            raise ends[context.config.number]("so it ends")
        return 0.5

    run.go(body, n_trials=5)

    assert run.states() == ["COMPLETE", "PRUNED", "FAIL", "PRUNED", "FAIL"]
    for trial in run.study().get_trials():
        assert trial.intermediate_values == {epoch: 1.0 / epoch for epoch in range(1, 21)}


def test_what_an_interrupted_trial_reported_is_stored_for_whoever_takes_it_up(run: Run) -> None:
    def body(context: TrialContext) -> float:
        for epoch in range(1, 21):
            context.report(epoch, {"val_mse": 1.0 / epoch})
        raise TrialInterrupted("told to stop")

    run.go(body, n_trials=1)

    (trial,) = run.study().get_trials()
    assert trial.state == TrialState.RUNNING
    assert set(trial.intermediate_values) == set(range(1, 21))


def test_a_settled_trial_has_everything_stored_before_its_checkpoint_is(run: Run) -> None:
    seen = []

    def body(context: TrialContext) -> float:
        for epoch in range(1, 6):
            context.report(epoch, {"val_mse": 1.0 / epoch})
        context.settle()
        (trial,) = run.study().get_trials()
        seen.append(set(trial.intermediate_values))
        return 0.5

    run.go(body, n_trials=1)

    assert seen[0] == {1, 2, 3, 4, 5}


def test_a_trial_that_somebody_ends_is_lost_to_its_worker_at_its_next_report(run: Run) -> None:
    def body(context: TrialContext) -> float:
        context.report(1, {"val_mse": 0.5})
        if context.config.number == 0:
            run.study().tell(0, state=TrialState.FAIL)
            context.report(2, {"val_mse": 0.4})
            context.settle()
            went_on.append(context.config.number)
        return 0.5

    went_on: list[int] = []
    run.go(body, n_trials=1)

    lost, other = run.study().get_trials()
    assert (lost.state, other.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert lost.intermediate_values == {1: 0.5}
    assert went_on == []
