"""A study brought to a real store, in one process: what is there after whatever has happened."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, Trial

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.config.schema import Mlflow, Settings, Surroundings
from tunectl.config.signal_run import Training, TrainingRun
from tunectl.errors import TrackingError
from tunectl.running.executors.channel import pair
from tunectl.studies.lifecycle import store_settings
from tunectl.studies.storage import open_storage
from tunectl.studies.transfer import pack_study, unpack_study
from tunectl.tracking.agreement import compare
from tunectl.tracking.destination import Destination, find_destination
from tunectl.tracking.follower import (
    Done,
    Follow,
    Follower,
    Look,
    Over,
    Summarise,
    Told,
    Trouble,
    UpToDate,
)
from tunectl.tracking.memory import recall
from tunectl.tracking.mirror import Mirror, MirrorReport, Session
from tunectl.tracking.model import NAME, log_model
from tunectl.tracking.run_plan import TRIAL
from tunectl.tracking.service import connect

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # MLflow's own warnings

Runs = dict[str, Any]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Destination:
    """Return a local store, which takes seconds to make."""
    folder = tmp_path_factory.mktemp("store")
    made = find_destination(Mlflow(), ProjectTree.of(folder, Surroundings()), "none")
    connect(made)
    return made


class Mirrored:
    """A study of a project folder, with values made up, and its mirror."""

    def __init__(self, folder: Path, store: Destination, name: str) -> None:
        self.project = folder
        self.url = f"sqlite:///{folder / 'optuna' / 'study.db'}"
        self.storage = open_storage(self.url, create=True)
        self.study = optuna.create_study(study_name=name, storage=self.storage)
        self.destination = replace(store, experiment=name)
        self.client = connect(self.destination)

    def mirror(self) -> Mirror:
        assert self.storage is not None
        return Mirror(
            study=self.study,
            storage=self.storage,
            storage_url=self.url,
            tree=ProjectTree.of(self.project, Surroundings()),
            destination=self.destination,
        )

    def sync(self) -> MirrorReport:
        return Session(self.mirror()).update(whole=True)

    def ask(self) -> Trial:
        """Begin a trial that has a directory with a file."""
        trial = self.study.ask()
        trial.suggest_float("lr", 0.0, 1.0)
        folder = self.project / "outputs" / str(trial.number)
        folder.mkdir(parents=True)
        (folder / "note.txt").write_text("a file")
        trial.set_user_attr("output_dir", f"outputs/{trial.number}")
        return trial

    def run(self, *values: float) -> None:
        for value in values:
            self.study.tell(self.ask(), value)

    def runs(self) -> Runs:
        """Return the runs by name; none may be there twice."""
        experiment = self.client.get_experiment_by_name(self.destination.experiment)
        assert experiment is not None
        found = list(self.client.search_runs([experiment.experiment_id]))
        named = {run.info.run_name: run for run in found}
        assert len(named) == len(found)
        return named


@pytest.fixture
def mirrored(tmp_path: Path, store: Destination, request: pytest.FixtureRequest) -> Mirrored:
    return Mirrored(tmp_path, store, request.node.name[:90])


def parents(runs: Runs) -> set[str | None]:
    children = [run for name, run in runs.items() if name.startswith("trial_")]
    return {run.data.tags.get("mlflow.parentRunId") for run in children}


def test_a_second_sync_writes_nothing(mirrored: Mirrored) -> None:
    mirrored.run(0.5, 0.4)

    first, second = mirrored.sync(), mirrored.sync()

    assert (first.n_written, second.n_written) == (3, 0)
    assert first.best_run_id == mirrored.runs()["trial_1"].info.run_id


def test_trials_follow_a_parent_that_was_made_anew(mirrored: Mirrored) -> None:
    mirrored.run(0.5, 0.4)
    before = mirrored.sync()
    mirrored.client.delete_run(before.parent_run_id)

    after = mirrored.sync()

    assert after.parent_run_id != before.parent_run_id
    assert parents(mirrored.runs()) == {after.parent_run_id}
    assert (after.n_written, mirrored.sync().n_written) == (3, 0)


def test_runs_deleted_in_mlflow_are_made_again(mirrored: Mirrored) -> None:
    mirrored.run(0.5, 0.4)
    mirrored.sync()
    there = mirrored.runs()
    mirrored.client.delete_run(there["trial_0"].info.run_id)

    report = mirrored.sync()

    now = mirrored.runs()
    assert sorted(now) == sorted(there)
    assert now["trial_0"].data.metrics == there["trial_0"].data.metrics
    assert now["trial_1"].info.run_id == there["trial_1"].info.run_id
    assert report.n_written == 1


def test_a_trial_that_is_taken_up_again_keeps_its_run(mirrored: Mirrored) -> None:
    trial = mirrored.study.ask()
    session = Session(mirrored.mirror())
    session.update(whole=True, is_going_on=True)
    cut_off = mirrored.runs()["trial_0"].info
    mirrored.sync()  # nobody runs it
    killed = mirrored.runs()["trial_0"].info

    mirrored.study.tell(Trial(mirrored.study, trial._trial_id), 0.5)
    mirrored.sync()

    run = mirrored.runs()["trial_0"]
    assert run.info.run_id == killed.run_id == cut_off.run_id
    assert (killed.status, run.info.status) == ("KILLED", "FINISHED")
    assert run.data.tags["tunectl.state"] == "complete"


class Overtaken(optuna.Study):
    """A study in which a trial becomes the best one right after the trials have been read."""

    after_reading: Callable[[], None] | None = None

    def get_trials(self, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        trials = super().get_trials(deepcopy, states)
        then, self.after_reading = self.after_reading, None
        if then is not None:
            then()
        return trials


def test_a_trial_that_becomes_the_best_one_meanwhile_waits_for_the_next_look(
    mirrored: Mirrored,
) -> None:
    mirrored.run(0.5)
    whole = mirrored.study
    overtaken = Overtaken(whole.study_name, mirrored.url)
    mirror = replace(mirrored.mirror(), study=overtaken)
    session = Session(mirror)
    overtaken.after_reading = lambda: mirrored.run(0.1)

    first = session.update(whole=False, is_going_on=True)
    second = session.update(whole=False, is_going_on=True)

    runs = mirrored.runs()
    assert first.best_run_id == runs["trial_0"].info.run_id
    assert second.best_run_id == runs["trial_1"].info.run_id


def test_a_run_that_mlflow_does_not_take_holds_up_no_other_one(mirrored: Mirrored) -> None:
    trial = mirrored.ask()
    Session(mirrored.mirror()).update(whole=True, is_going_on=True)
    obstacle = artifacts_of(mirrored.runs()["trial_0"])
    obstacle.parent.mkdir(parents=True, exist_ok=True)
    obstacle.write_text("no folder, so nothing can be put into it")
    mirrored.study.tell(trial, 0.5)
    mirrored.run(0.4)

    report = mirrored.sync()

    runs = mirrored.runs()
    assert {name: run.info.status for name, run in runs.items()} == dict.fromkeys(runs, "FINISHED")
    assert runs["trial_0"].data.metrics["value"] == 0.5  # all but the files
    (sentence,) = report.refused
    assert sentence.startswith("trial 0: ")
    with pytest.raises(TrackingError, match="did not take all of trial 0"):
        report.check(mirrored.destination)
    assert missing_in(mirrored) == (0,)

    obstacle.unlink()
    assert (mirrored.sync().refused, missing_in(mirrored)) == ((), ())
    assert [file.name for file in artifacts_of(runs["trial_0"]).iterdir()] == ["note.txt"]


def messages_of(mirrored: Mirrored, summarise: Summarise, *said: Look | Over) -> list[Told]:
    """Let a follower run until the coordinator, which said something, is gone; return its words."""
    ours, theirs = pair()
    order = Follow(
        tree=mirrored.mirror().tree,
        storage_url=mirrored.url,
        study=mirrored.study.study_name,
        destination=mirrored.destination,
        folder=mirrored.project / "models",
    )
    for message in said:
        ours.send(message)
    follower = Follower(order, Connection(theirs.detach()), summarise)
    if not said:
        ours.close()  # it was killed
        follower.run()
        return []
    follower.run()
    heard = []
    while ours.poll(0):
        heard.append(ours.recv())
    ours.close()
    return heard


def test_what_a_killed_coordinator_left_running_is_shown_as_killed(mirrored: Mirrored) -> None:
    mirrored.run(0.5)
    session = Session(mirrored.mirror())
    session.update(whole=True, is_going_on=True)
    mirrored.ask()
    session.update(whole=False, is_going_on=True)
    assert mirrored.runs()["trial_1"].info.status == "RUNNING"

    messages_of(mirrored, lambda *_: {})

    name = mirrored.study.study_name
    found = {name: run.info.status for name, run in mirrored.runs().items()}
    assert found == {name: "KILLED", "trial_0": "FINISHED", "trial_1": "KILLED"}


def test_a_mirror_that_fails_in_whatever_way_says_so_once(mirrored: Mirrored) -> None:
    mirrored.run(0.5)

    def summarise(*_: Any) -> dict[str, Any]:
        raise RuntimeError("http://ann:secret@host is odd")

    told = messages_of(mirrored, summarise, Look(), Over())

    assert [type(one) for one in told] == [Trouble]
    assert isinstance(told[0], Trouble) and "RuntimeError: http://…@host is odd" in told[0].text


def test_a_mirror_that_is_told_that_all_is_over_ends_with_the_last_message(
    mirrored: Mirrored,
) -> None:
    mirrored.run(0.5)

    told = messages_of(mirrored, lambda *_: {}, Look(), Over(in_a_hurry=True))

    assert [type(one) for one in told] == [UpToDate, UpToDate, Done]


def test_a_model_that_was_begun_is_the_one_that_is_logged(
    mirrored: Mirrored, tmp_path: Path
) -> None:
    from mlflow.models import Model

    mirrored.run(0.5)
    session = Session(mirrored.mirror())
    session.update(whole=True)
    place, saved = session.experiment_id, tmp_path / "saved"
    saved.mkdir()
    Model().save(str(saved / "MLmodel"))
    begun = mirrored.client.create_logged_model(
        place, name=NAME, source_run_id=session.parent.run_id, tags={TRIAL: "0"}
    )

    logged = log_model(mirrored.client, place, session.parent, 0, saved)

    assert logged.model_id == begun.model_id
    (only,) = mirrored.client.search_logged_models([place])
    assert only.status == "READY"


def test_what_a_changed_study_looks_like_does_not_depend_on_when_it_was_mirrored(
    mirrored: Mirrored, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    name = mirrored.study.study_name
    late = copy.copy(mirrored)
    late.destination = replace(mirrored.destination, experiment=f"{name} late")

    def settings(epochs: int) -> Settings:
        return make_settings(run=TrainingRun(training=Training(epochs=epochs)), name=name)

    found = []
    for epochs in (10, 20, 10):
        store_settings(mirrored.study, settings(epochs))
        mirrored.sync()
        found.append(mirrored.runs()[name])
        if epochs == 20:
            late.sync()

    at_once, other = found[1], late.runs()[name]
    assert at_once.data.params == other.data.params == found[0].data.params
    assert at_once.data.params["training.epochs"] == "10"
    assert at_once.data.tags["now.training.epochs"] == "20"
    assert nows(at_once) == nows(other)
    assert nows(found[0]) == nows(found[2]) == {}


def nows(run: Any) -> dict[str, str]:
    return {key: text for key, text in run.data.tags.items() if key.startswith("now.")}


def test_an_imported_study_gets_runs_of_its_own(mirrored: Mirrored, tmp_path: Path) -> None:
    mirrored.run(0.5)
    mirrored.sync()
    assert mirrored.storage is not None
    read_anew = optuna.load_study(study_name=mirrored.study.study_name, storage=mirrored.url)
    packed = pack_study(mirrored.storage, read_anew)
    assert "mlflow_run_id" in packed.trials[0].user_attrs
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    elsewhere = open_storage(url, create=True)
    assert elsewhere is not None

    name = unpack_study(elsewhere, packed)

    imported = optuna.load_study(study_name=name, storage=elsewhere)
    assert recall(imported) is None
    assert "mlflow_run_id" not in imported.get_trials()[0].user_attrs


def artifacts_of(run: Any) -> Path:
    return Path(run.info.artifact_uri.removeprefix("file://"))


def missing_in(mirrored: Mirrored) -> Sequence[int]:
    found = compare(mirrored.study, mirrored.destination)
    assert found is not None
    return found.missing


def test_the_study_remembers_its_runs(mirrored: Mirrored) -> None:
    mirrored.run(0.5)

    report = mirrored.sync()

    memory = recall(optuna.load_study(study_name=mirrored.study.study_name, storage=mirrored.url))
    assert memory is not None
    assert (memory.parent_run_id, memory.uri) == (report.parent_run_id, mirrored.destination.uri)
    trial = optuna.load_study(
        study_name=mirrored.study.study_name, storage=mirrored.url
    ).get_trials()[0]
    assert trial.user_attrs["mlflow_run_id"] == report.best_run_id


def test_a_folder_of_files_does_as_a_store_where_mlflow_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    wanted = Mlflow(tracking_uri=(tmp_path / "mlruns").as_uri())
    tree = ProjectTree.of(tmp_path, Surroundings())
    mirrored = Mirrored(tmp_path, find_destination(wanted, tree, "files"), "files")
    mirrored.run(0.5, 0.4)

    first, second = mirrored.sync(), mirrored.sync()

    runs = mirrored.runs()
    assert (first.n_written, second.n_written) == (3, 0)
    assert parents(runs) == {first.parent_run_id}
    assert runs["trial_1"].data.metrics["value"] == 0.4
    assert (artifacts_of(runs["trial_1"]) / "note.txt").is_file()
    assert missing_in(mirrored) == ()
