"""Exact claims: which trial a worker may run next, and whether it may run one at all.

Every claim is made under one lock per study, so that any number of processes, on any machine that
uses the database, agree on how many trials have been started. A claimed trial has its directory,
and the claimer holds that directory's lock. What a call with `--n-trials` may still start is
counted by its permits, which its workers share.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.errors import StorageError
from tunectl.search.samplers import PerTrialSampler
from tunectl.studies import attributes
from tunectl.studies.claim_lock import Lock
from tunectl.studies.claimant import claimant, claimed_since_s, oom_killed_since
from tunectl.studies.directories import recorded_path
from tunectl.studies.recovery import (
    RunningTrial,
    Standing,
    interrupted_trials,
    running_trials,
    take_over,
)

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
        oom_killed: Whether memory may have run out under that process.
        since_s: When it was made, on the monotonic clock.
    """

    trial: optuna.Trial
    directory: TrialDir
    adopted: bool
    oom_killed: bool = False
    since_s: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """No trial to claim.

    Args:
        wait: True where other processes run trials whose end decides whether more are needed.
        exhausted: True where the sampler has no further point.
    """

    wait: bool
    exhausted: bool = False


class Permits(Protocol):
    """Leave to run one trial each, shared by the workers of a call."""

    def take(self) -> bool:
        """Take one; False where none is left."""

    def give_back(self) -> None:
        """Return one that was taken, since there was no trial for it."""


class Unlimited:
    """Permits of a call that counts what the study has."""

    def take(self) -> bool:
        """Take one; there always is."""
        return True

    def give_back(self) -> None:
        """Return one."""


class Counted:
    """Permits of a call that counts what it brings to an end.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self._left = count

    def take(self) -> bool:
        """Take one; False where none is left."""
        if self._left == 0:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        """Return one that was taken."""
        self._left += 1


def permits_for(budget: Budget) -> Permits:
    """Return the permits of a call."""
    return Unlimited() if budget.n_trials is None else Counted(budget.n_trials)


def planned_trials(study: optuna.Study, budget: Budget) -> int:
    """Return how many trials a call is to bring to an end, as far as is known at its start."""
    if budget.n_trials is not None:
        return budget.n_trials
    return _missing(study.get_trials(deepcopy=False), budget.until or 0)


def is_met(storage: RDBStorage | None, name: str, budget: Budget) -> bool:
    """Whether a stored study has all the trials that a call is to bring it to.

    Args:
        storage: The database, None where there is none yet.
        name: The study's name; it need not be there.
        budget: How many trials.
    """
    if storage is None or budget.until is None:
        return False
    try:
        study = storage.get_study_id_from_name(name)
    except KeyError:
        return False
    finished: int = storage.get_n_trials(study, FINISHED)
    return finished >= budget.until


class Claims:
    """The claims of one process on one study.

    Args:
        study: The study, with its sampler.
        until: Finished trials that the study is to have; None to leave the count to the permits.
        permits: Leave to run trials.
        project: Absolute path of the project folder.
        outputs_root: Root of the trial directories.
        lock: The study's claim lock.
    """

    def __init__(
        self,
        study: optuna.Study,
        *,
        until: int | None,
        permits: Permits,
        project: Path,
        outputs_root: Path,
        lock: Lock,
    ) -> None:
        self._study = study
        self._until = until
        self._permits = permits
        self._project = project
        self._outputs_root = outputs_root
        self._lock = lock

    @contextmanager
    def next(self) -> Iterator[Claim | Nothing]:
        """Claim the next trial, interrupted ones first, for as long as the block runs.

        Yields:
            The claim, or `Nothing` where the budget is met or used up.

        Raises:
            StorageError: the lock or the trial's directory cannot be made.
        """
        with ExitStack() as held:
            if not self._permits.take():
                yield Nothing(wait=False)
                return
            try:
                with self._lock():
                    claim = self._claim(held)
            except BaseException:
                self._permits.give_back()
                raise
            if isinstance(claim, Nothing):
                self._permits.give_back()
            yield claim

    def give_back(self) -> None:
        """Return the permit for a trial that another process has brought to its end."""
        self._permits.give_back()

    @contextmanager
    def interrupted(self, number: int) -> Iterator[Claim | None]:
        """Claim a certain trial if its worker is gone, for as long as the block runs.

        Args:
            number: The trial's number.

        Yields:
            The claim, or None where the trial is finished or in other hands.
        """
        with ExitStack() as held:
            with self._lock():
                abandoned = interrupted_trials(self._study, self._project)
                wanted = [trial for trial in abandoned if trial.number == number]
                claim = self._take_over(wanted[0], held) if wanted else None
            yield claim

    @contextmanager
    def outside(self, number: int) -> Iterator[Claim | None]:
        """Claim a certain trial that a script drives, for as long as the block runs.

        Args:
            number: The trial's number.

        Yields:
            The claim, or None where the trial is finished or in other hands.
        """
        with ExitStack() as held:
            with self._lock():
                driven = [
                    one.trial
                    for one in running_trials(self._study, self._project)
                    if one.trial.number == number and one.standing is Standing.OUTSIDE
                ]
                claim = self._take_over(driven[0], held) if driven else None
            yield claim

    def awaited(self) -> list[RunningTrial]:
        """Return the trials that are running, with whoever runs them."""
        with self._lock():
            return running_trials(self._study, self._project)

    def _claim(self, held: ExitStack) -> Claim | Nothing:
        # One look at all trials: a trial of another process that ends between two looks would be
        # counted neither as running nor as finished.
        trials = self._study.get_trials(deepcopy=False)
        missing = None if self._until is None else _missing(trials, self._until)
        if missing == 0:
            return Nothing(wait=False)
        abandoned = interrupted_trials(self._study, self._project)
        if missing is not None:
            running = sum(trial.state == TrialState.RUNNING for trial in trials)
            if running - len(abandoned) >= missing:
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
        claim = self._take_over(frozen, held)
        if frozen.user_attrs.get(attributes.OUTSIDE):  # released, and a worker's from now on
            claim.trial.set_user_attr(attributes.OUTSIDE, False)
        self._count_pause(claim.trial, claim.directory)
        return claim

    def _take_over(self, frozen: FrozenTrial, held: ExitStack) -> Claim:
        trial = optuna.Trial(self._study, frozen._trial_id)
        directory = take_over(trial, frozen, self._project)
        if directory is None:
            directory = self._make_directory(trial)
        self._hold(directory, held)
        directory.make_parts()
        _count_spent(trial, directory.last_sign_s(), claimed_since_s(frozen))
        oom_killed = oom_killed_since(frozen)
        return Claim(trial=trial, directory=directory, adopted=True, oom_killed=oom_killed)

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
        try:
            trial.set_user_attr(attributes.CLAIMED_BY, claimed_by)
            trial.set_user_attr(attributes.OUTPUT_DIR, recorded_path(directory.path, self._project))
        except BaseException:
            directory.remove_unused()
            raise
        return directory

    def _hold(self, directory: TrialDir, held: ExitStack) -> None:
        if not held.enter_context(directory.locked()):
            raise StorageError(f"another process holds {directory.path}")


def _missing(trials: Sequence[FrozenTrial], until: int) -> int:
    finished = sum(trial.state in FINISHED for trial in trials)
    return max(0, until - finished)


def _count_spent(trial: optuna.Trial, last_s: float | None, since_s: float | None) -> None:
    """Add the time that a trial had with its last worker to that of those before.

    Args:
        trial: The trial, taken up.
        last_s: When that worker last wrote something, None where nothing is left of it.
        since_s: When it claimed the trial; both in seconds since 1970.
    """
    if last_s is not None and since_s is not None:
        spent_s = trial.user_attrs.get(attributes.SPENT_S, 0.0) + max(0.0, last_s - since_s)
        trial.set_user_attr(attributes.SPENT_S, round(spent_s, 3))
    elif attributes.SPENT_S in trial.user_attrs:
        trial.set_user_attr(attributes.SPENT_S, 0.0)
