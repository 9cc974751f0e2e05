"""Exact claims: which trial a worker may run next, and whether it may run one at all.

Every claim is made under one file lock per study, so that any number of processes on one machine
agree on how many trials have been started. A claimed trial has its directory, and the claimer
holds that directory's lock.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.trial import FrozenTrial, TrialState

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.errors import StorageError
from tunectl.search.samplers import PerTrialSampler
from tunectl.studies import attributes
from tunectl.studies.recovery import claimant, interrupted_trials, own_directory

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How many trials a call may run; exactly one of the two is set.

    Args:
        n_trials: Trials that this call brings to an end, whatever that end is.
        until: Finished (complete or pruned) trials that the study is to have.
    """

    n_trials: int | None = None
    until: int | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A trial that this process, and no other, is to run.

    Args:
        trial: The Optuna trial.
        directory: Its folder, locked for as long as the claim is held.
        adopted: Whether an earlier process was interrupted in it.
    """

    trial: optuna.Trial
    directory: TrialDir
    adopted: bool


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """No trial to claim.

    Args:
        wait: True where other processes run trials whose end decides whether more are needed.
        exhausted: True where the sampler has no further point.
    """

    wait: bool
    exhausted: bool = False


class Claims:
    """The claims of one process on one study.

    Args:
        study: The study, with its sampler.
        budget: What this call may run.
        project: Absolute path of the project folder.
        outputs_root: Root of the trial directories.
        lock_file: File of the study's claim lock; its folder exists.
    """

    def __init__(
        self,
        study: optuna.Study,
        budget: Budget,
        *,
        project: Path,
        outputs_root: Path,
        lock_file: Path,
    ) -> None:
        self._study = study
        self._budget = budget
        self._project = project
        self._outputs_root = outputs_root
        self._lock_file = lock_file
        self._started = 0

    @contextmanager
    def next(self) -> Iterator[Claim | Nothing]:
        """Claim the next trial, interrupted ones first, for as long as the block runs.

        Yields:
            The claim, or `Nothing` where the budget is met or used up.

        Raises:
            StorageError: the lock or the trial's directory cannot be made.
        """
        with ExitStack() as held:
            try:
                with FileLock(self._lock_file):
                    claim = self._claim(held)
            except OSError as error:
                raise StorageError(f"cannot lock {self._lock_file}: {error}") from error
            if isinstance(claim, Claim):
                self._started += 1
            yield claim

    def remaining(self) -> int:
        """Return how many trials are still to be brought to an end by this call."""
        return self._remaining(self._study.get_trials(deepcopy=False))

    def _remaining(self, trials: Sequence[FrozenTrial]) -> int:
        if self._budget.n_trials is not None:
            return max(0, self._budget.n_trials - self._started)
        finished = sum(trial.state in FINISHED for trial in trials)
        return max(0, (self._budget.until or 0) - finished)

    def _claim(self, held: ExitStack) -> Claim | Nothing:
        # One look at all trials: a trial of another process that ends between two looks would be
        # counted neither as running nor as finished.
        trials = self._study.get_trials(deepcopy=False)
        remaining = self._remaining(trials)
        if remaining == 0:
            return Nothing(wait=False)
        abandoned = interrupted_trials(self._study, self._project)
        if self._budget.until is not None:
            running = sum(trial.state == TrialState.RUNNING for trial in trials)
            if running - len(abandoned) >= remaining:
                return Nothing(wait=True)
        if abandoned:
            return self._adopt(abandoned[0], held)
        if self._is_exhausted():
            return Nothing(wait=False, exhausted=True)
        return self._ask(held)

    def _is_exhausted(self) -> bool:
        sampler = self._study.sampler
        return isinstance(sampler, PerTrialSampler) and sampler.is_exhausted(self._study)

    def _adopt(self, frozen: FrozenTrial, held: ExitStack) -> Claim:
        directory = own_directory(self._study.study_name, frozen, self._project)
        trial = optuna.Trial(self._study, frozen._trial_id)
        if directory is None:
            directory = self._make_directory(trial)
        self._hold(directory, held)
        self._count_pause(trial, directory)
        return Claim(trial=trial, directory=directory, adopted=True)

    def _count_pause(self, trial: optuna.Trial, directory: TrialDir) -> None:
        """Add the time since the trial's last sign of life to that in which it did not run.

        Where there is none, it begins anew: all the time since its start is one pause.
        """
        last_s, paused_s = directory.last_sign_s(), 0.0
        if last_s is not None:
            paused_s = float(trial.user_attrs.get(attributes.PAUSED_S, 0.0))
        elif trial.datetime_start is not None:
            last_s = trial.datetime_start.timestamp()
        if last_s is not None:
            paused_s += max(0.0, time.time() - last_s)
            trial.set_user_attr(attributes.PAUSED_S, round(paused_s, 3))

    def _ask(self, held: ExitStack) -> Claim:
        trial = self._study.ask()
        directory = self._make_directory(trial)
        self._hold(directory, held)
        return Claim(trial=trial, directory=directory, adopted=False)

    def _make_directory(self, trial: optuna.Trial) -> TrialDir:
        directory = TrialDir.create(self._outputs_root, trial.datetime_start or dt.datetime.now())
        claimed_by = claimant(self._study.study_name, self._project)
        trial.set_user_attr(attributes.CLAIMED_BY, claimed_by)
        trial.set_user_attr(attributes.OUTPUT_DIR, recorded_path(directory.path, self._project))
        return directory

    def _hold(self, directory: TrialDir, held: ExitStack) -> None:
        if not held.enter_context(directory.locked()):
            raise StorageError(f"another process holds {directory.path}")


def recorded_path(path: Path, project: Path) -> str:
    """Return a path as it is recorded: relative to the project folder where it lies inside."""
    return str(path.relative_to(project) if path.is_relative_to(project) else path)
