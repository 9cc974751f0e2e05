"""Bringing MLflow up to date with a study: a projection, made again at any time.

What MLflow has is asked of MLflow: each run carries the digest of the plan that it was brought up
to. So a store that was emptied, exchanged or left half-written is no special case.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from filelock import FileLock
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.errors import TrackingError
from tunectl.studies.claim_lock import claim_lock
from tunectl.studies.directories import own_directory
from tunectl.studies.lifecycle import stored_settings
from tunectl.studies.ranking import metrics_of
from tunectl.studies.recovery import running_trials
from tunectl.studies.server_lock import ServerLock, keeps_locks
from tunectl.studies.storage import sqlite_path, storage_errors
from tunectl.tracking.dataset import DatasetFacts, describe_dataset
from tunectl.tracking.destination import Destination
from tunectl.tracking.memory import Memory, recall_or_begin, remember, remember_run
from tunectl.tracking.run_plan import STUDY, STUDY_ID, RunPlan
from tunectl.tracking.runs import PARENT, Mirrored, bring_up_to, create_run, find_runs, put_under
from tunectl.tracking.service import connect, find_experiment, mlflow_errors, noting_refusal
from tunectl.tracking.study_plan import StudyFacts, plan_study
from tunectl.tracking.trial_plan import plan_trial

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True, kw_only=True)
class MirrorReport:
    """What a look at MLflow brought about.

    Args:
        experiment_id: The experiment.
        parent_run_id: The study's run.
        best_run_id: The best trial's run, None while no trial is complete.
        n_runs: Runs that the study has there now.
        n_written: Runs that were made or changed.
        refused: What MLflow would not take, a sentence for each run.
    """

    experiment_id: str
    parent_run_id: str
    best_run_id: str | None
    n_runs: int
    n_written: int
    refused: tuple[str, ...] = ()

    def check(self, destination: Destination) -> None:
        """Make sure that MLflow took everything.

        Raises:
            TrackingError: it refused something; the message says what.
        """
        if self.refused:
            first, *others = self.refused
            more = f", and of {len(others)} more runs" if others else ""
            raise TrackingError(
                f"MLflow at {destination.shown_uri} did not take all of {first}{more}; "
                "everything else is there"
            )


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """A study and where it is mirrored to.

    Args:
        study: The study.
        storage: Its database.
        storage_url: The database's URL.
        tree: Where the project keeps its files.
        destination: The MLflow.
        summarise: Makes the study's summary document.
    """

    study: optuna.Study
    storage: RDBStorage
    storage_url: str
    tree: ProjectTree
    destination: Destination
    summarise: Callable[[], Mapping[str, Any]] | None = None

    def locked(self) -> AbstractContextManager[object]:
        """Hold the lock under which runs are made: two processes would make each one twice."""
        database, name = sqlite_path(self.storage_url), self.study.study_name
        if database is not None:
            return FileLock(f"{database}.mlflow.lock")
        if keeps_locks(self.storage_url):
            return ServerLock(self.storage_url, f"mlflow {name}")()
        folder = self.tree.study(name).path
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / ".mlflow.lock")


class Session:
    """A mirror at work: it remembers which runs need no further look.

    Args:
        mirror: The study and where it is mirrored to.

    Raises:
        TrackingError: MLflow does not answer.
    """

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self.client: MlflowClient = connect(mirror.destination)
        self._experiment_id: str | None = None
        self._runs: dict[int, Mirrored] = {}
        self._settled: set[int] = set()
        self._dataset: DatasetFacts | None = None
        self._has_dataset = False
        self._n_written = 0
        self._refused: list[str] = []
        self.best: FrozenTrial | None = None
        """The trial that stands for the study, as of the last look."""
        self.has_live_trials = False
        """Whether somebody ran trials at the last look."""

    def update(self, *, whole: bool, is_going_on: bool = False) -> MirrorReport:
        """Bring MLflow up to date.

        A run that MLflow refuses holds up no other one; the report says which.

        Args:
            whole: Whether everything is looked at, and the study's files; else only the trials
                that had not ended at the last look.
            is_going_on: Whether trials are being run.

        Raises:
            TrackingError: MLflow cannot be reached, or has no place for the study.
            StorageError: the study's database cannot be read.
        """
        mirror = self.mirror
        with mlflow_errors(mirror.destination), mirror.locked():
            self._n_written, self._refused = 0, []
            memory = self._find_what_is_there(anew=whole)
            with self._database():
                facts = self._look(whole=whole, is_going_on=is_going_on)
            self.best, self.has_live_trials = facts.best, bool(facts.live)
            tags = {STUDY: mirror.study.study_name, STUDY_ID: memory.study_id}
            parent_plan = plan_study(facts, tags, whole=whole)
            parent = self._find_or_create(PARENT, parent_plan, memory, None)
            self._remember(memory, parent)
            for trial in facts.trials:
                if trial.number not in self._settled:
                    with self._by_itself(trial.number):
                        self._update_trial(trial, facts, tags, memory, parent)
                    if trial.state.is_finished():  # a refused one too, until the next whole look
                        self._settled.add(trial.number)
            with self._by_itself(PARENT):
                self._write(PARENT, parent_plan, with_dataset=whole)
            return self._report(parent)

    @property
    def experiment_id(self) -> str:
        """The experiment; known after the first update, as are the runs."""
        assert self._experiment_id is not None
        return self._experiment_id

    @property
    def parent(self) -> Mirrored:
        """The study's run."""
        return self._runs[PARENT]

    def run_id(self, number: int) -> str | None:
        """Return the id of a trial's run, None if it has none."""
        run = self._runs.get(number)
        return run.run_id if run else None

    def note_tag(self, key: str, text: str) -> None:
        """Take down a tag that the study's run was given."""
        tags = {**self.parent.tags, key: text}
        self._runs[PARENT] = dataclasses.replace(self.parent, tags=tags)

    def _find_what_is_there(self, *, anew: bool) -> Memory:
        with self._database():
            memory = recall_or_begin(self.mirror.study)
        if self._experiment_id is None or anew:
            self._experiment_id = find_experiment(self.client, self.mirror.destination)
            self._runs = find_runs(self.client, self._experiment_id, memory.study_id)
            self._settled.clear()
        return memory

    @contextmanager
    def _by_itself(self, number: int) -> Iterator[None]:
        """Let a run that MLflow refuses be the only one that is behind."""
        what = "the study's run" if number == PARENT else f"trial {number}"
        with noting_refusal(self.mirror.destination) as refusal:
            yield
        if refusal:
            self._refused.append(f"{what}: {refusal[0]}")

    def _look(self, *, whole: bool, is_going_on: bool) -> StudyFacts:
        mirror = self.mirror
        interrupted: frozenset[int] = frozenset()
        if (whole or not is_going_on) and any(
            t.state is TrialState.RUNNING for t in self._trials()
        ):
            name = mirror.study.study_name
            with claim_lock(mirror.storage_url, name, mirror.tree.study(name))():
                found = running_trials(mirror.study, mirror.tree.project)
            interrupted = frozenset(one.trial.number for one in found if one.is_interrupted)
        return StudyFacts(
            study=mirror.study,
            trials=self._trials(),
            tree=mirror.tree,
            interrupted=interrupted,
            is_going_on=is_going_on,
            summarise=mirror.summarise,
        )

    def _trials(self) -> list[FrozenTrial]:
        return self.mirror.study.get_trials(deepcopy=False)

    def _update_trial(
        self,
        trial: FrozenTrial,
        facts: StudyFacts,
        tags: Mapping[str, str],
        memory: Memory,
        parent: Mirrored,
    ) -> None:
        study = facts.study
        directory = own_directory(study.study_name, trial, facts.tree.project)
        plan = plan_trial(
            trial,
            directory,
            metrics_of(study)[0],
            tags,
            interrupted=trial.number in facts.interrupted,
        )
        if plan is None:
            return
        run = self._find_or_create(trial.number, plan, memory, parent.run_id)
        with self._database():
            remember_run(self.mirror.storage, trial, run.run_id)
        self._runs[trial.number] = put_under(self.client, run, parent.run_id)
        is_moved = self._runs[trial.number] is not run
        is_written = self._write(trial.number, plan, with_dataset=True)
        self._n_written += is_moved and not is_written

    def _find_or_create(
        self, number: int, plan: RunPlan, memory: Memory, parent_run_id: str | None
    ) -> Mirrored:
        assert self._experiment_id is not None
        if number not in self._runs:  # another process may have made it since
            self._runs |= find_runs(self.client, self._experiment_id, memory.study_id, number)
        if number not in self._runs:
            made = create_run(self.client, self._experiment_id, plan, parent_run_id)
            self._runs[number] = made
        return self._runs[number]

    def _write(self, number: int, plan: RunPlan, *, with_dataset: bool) -> bool:
        seen = self._runs[number]
        if plan.is_mirrored_by(seen.digest):
            return False
        find_dataset = self._dataset_for if with_dataset else None
        self._runs[number] = bring_up_to(self.client, seen, plan, find_dataset)
        self._n_written += 1
        return True

    def _remember(self, memory: Memory, parent: Mirrored) -> None:
        now = dataclasses.replace(
            memory,
            uri=self.mirror.destination.shown_uri,
            experiment_id=self._experiment_id,
            parent_run_id=parent.run_id,
        )
        with self._database():
            remember(self.mirror.study, memory, now)

    def _dataset_for(self, plan: RunPlan) -> DatasetFacts | None:
        return self.dataset_of(plan.start_ms)

    def dataset_of(self, start_ms: int) -> DatasetFacts | None:
        """Return the data set of a run, None if its files have changed since the run began.

        Args:
            start_ms: When that was, in milliseconds since 1970.
        """
        if not self._has_dataset:  # reading all of it takes its time
            settings = stored_settings(self.mirror.study)
            if settings is not None:
                project = self.mirror.tree.project
                self._dataset = describe_dataset(settings.run.value("dataset"), project)
            self._has_dataset = True
        if self._dataset is None or self._dataset.changed_s * 1000 > start_ms:
            return None
        return self._dataset

    def _database(self) -> AbstractContextManager[None]:
        return storage_errors(self.mirror.storage_url)

    def _report(self, parent: Mirrored) -> MirrorReport:
        return MirrorReport(
            experiment_id=self.experiment_id,
            parent_run_id=parent.run_id,
            best_run_id=self.run_id(self.best.number) if self.best else None,
            n_runs=len(self._runs),
            n_written=self._n_written,
            refused=tuple(self._refused),
        )
