"""Trials whose worker is gone: find them, so that they are taken up under their own number.

What is known of a trial that the database calls running, and what follows; the first line counts:

| claimed | its directory's lock | last heartbeat | the trial is |
|---|---|---|---|
| anywhere | held | | running |
| never, or no directory recorded, or copied from another study | | | interrupted |
| anywhere, and released since by hand | free or not to be seen | | interrupted |
| anywhere, and handed to a script since | free or not to be seen | | driven from outside |
| on this machine | free | | interrupted |
| on this machine | not to be seen, SQLite on a local disk | | interrupted, see below |
| anywhere | free or not to be seen | at most `GRACE_S` ago | running elsewhere |
| anywhere | free or not to be seen | longer ago, or in the future | interrupted |
| on another machine | free or not to be seen, SQLite on a local disk | none | interrupted |
| anywhere | free or not to be seen, database server | none | running until it is silent for long |
| anywhere | free or not to be seen, SQLite on a network | none | running elsewhere |

A held lock is proof wherever it is seen; a free one only on the machine of the claim, since
elsewhere the folder may be a copy, or on a file system that keeps locks to itself. "This machine"
is the running kernel, or the same machine after a restart (`claimant.py`), so a container that has
a new name at each start is judged by the lock. After a restart of its host it is judged by its
heartbeat, a few minutes later. Nobody on another machine can be using a SQLite file on a local disk
of this one: its folder came here as a copy, or the machine has got another name.

A directory that is not to be seen has been deleted, if the claim was made under this host's name;
under another name it is that of another container. Never judged is what a worker does that sees as
a local file what others see on the network: it writes no heartbeat, and its locks are not seen.

In any case the caller holds the claim lock, so that no trial is between being asked for and having
its directory recorded and locked. A wrong verdict costs time and no trial: both workers run the
same trial under the same number, and whoever comes second finds it finished.
"""

from __future__ import annotations

import functools
import os
import platform
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.errors import UsageError
from tunectl.studies import attributes
from tunectl.studies.claimant import Claimant, claimant, claimant_of
from tunectl.studies.directories import own_directories, own_directory, recorded_path
from tunectl.studies.heartbeat import GRACE_S, heartbeats_of, is_silent


class Standing(Enum):
    """How things stand with a trial that the database calls running."""

    LIVE = "running on this machine"
    ELSEWHERE = "running elsewhere"
    OUTSIDE = "driven from outside"
    INTERRUPTED = "interrupted"
    STALE = "interrupted elsewhere"

    @property
    def is_interrupted(self) -> bool:
        """Whether nobody runs it, so that it can be taken up."""
        return self in (Standing.INTERRUPTED, Standing.STALE)


@dataclass(frozen=True, kw_only=True)
class RunningTrial:
    """A trial that the database calls running.

    Args:
        trial: The trial as it is stored.
        standing: How things stand with it.
        claimed_by: Who claimed it, None for nobody.
        directory: Its directory, None where there is none to be seen.
        is_locked: Whether somebody is seen to hold the directory's lock.
        silent_s: Seconds since its last heartbeat by the database's clock, None without one.
    """

    trial: FrozenTrial
    standing: Standing
    claimed_by: Claimant | None
    directory: TrialDir | None
    is_locked: bool
    silent_s: float | None

    @property
    def is_interrupted(self) -> bool:
        """Whether nobody runs it, so that it can be taken up."""
        return self.standing.is_interrupted


def running_trials(study: optuna.Study, project: Path) -> list[RunningTrial]:
    """Return every trial that the database calls running, by number.

    Each directory's lock is taken for an instant if it is free. Without the claim lock a trial that
    is being claimed just now may look interrupted, and its claim may fail.

    Args:
        study: The study.
        project: Absolute path of the project folder.
    """
    judge = _Judge(study, project)
    return [judge.look_at(trial) for trial in judge.trials]


def interrupted_trials(study: optuna.Study, project: Path) -> list[FrozenTrial]:
    """Return the running trials that nobody runs, oldest first.

    The caller holds the claim lock. One on another machine that never made a heartbeat gets its
    first one here: from now on it counts as alive until it has been silent for long enough.
    """
    judge = _Judge(study, project)
    abandoned = []
    for trial in judge.trials:
        found = judge.look_at(trial)
        if found.is_interrupted:
            abandoned.append(trial)
        elif found.standing is Standing.ELSEWHERE and found.silent_s is None:
            judge.begin_to_listen(trial)
    if not abandoned:
        return []
    # A worker ends its trial before it lets go of the lock: what still runs now has no worker.
    still = {trial.number for trial in _running(study)}
    return [trial for trial in abandoned if trial.number in still]


def release(study: optuna.Study, number: int, project: Path) -> Standing:
    """Let a trial be taken up whose worker is gone but cannot be seen to be.

    The caller holds the claim lock. An interrupted trial is left as it is.

    Args:
        study: The study.
        number: The trial's number.
        project: Absolute path of the project folder.

    Returns:
        How things stood with it.

    Raises:
        UsageError: the trial is not running, or its worker is alive.
    """
    found = next(
        (one for one in running_trials(study, project) if one.trial.number == number), None
    )
    if found is None:
        raise UsageError(f"trial {number} is not running: there is nothing to release")
    if found.is_locked:
        raise UsageError(f"trial {number} has a worker, which holds the lock of its directory")
    if found.is_interrupted:
        return found.standing
    if found.silent_s is not None and not is_silent(found.silent_s):
        raise UsageError(
            f"trial {number} has a worker: it was heard of {found.silent_s:.0f} s ago; "
            f"after {GRACE_S:.0f} s of silence the trial is taken up without being released"
        )
    released = {**found.trial.user_attrs[attributes.CLAIMED_BY], "released": True}
    study._storage.set_trial_user_attr(found.trial._trial_id, attributes.CLAIMED_BY, released)
    return found.standing


def take_over(trial: optuna.Trial, frozen: FrozenTrial, project: Path) -> TrialDir | None:
    """Record that this process has an interrupted trial from now on.

    The caller holds the claim lock.

    Args:
        trial: The trial, taken up.
        frozen: The same as it is stored.
        project: Absolute path of the project folder.

    Returns:
        The trial's directory, which may lie in another project folder; None where there is none
        that can be reached and written to, so that it needs a new one.
    """
    name = trial.study.study_name
    directory = own_directory(name, frozen, project)
    if directory is not None and not os.access(directory.path, os.W_OK):
        directory = None
    if directory is not None:
        recorded = {
            attributes.CLAIMED_BY: claimant(name, project),
            attributes.OUTPUT_DIR: recorded_path(directory.path, project),
        }
        for key, value in recorded.items():
            if frozen.user_attrs.get(key) != value:
                trial.set_user_attr(key, value)
    heartbeats = heartbeats_of(trial.study)
    if heartbeats.are_needed:  # before anybody else looks, who would find the old one
        heartbeats.beat(trial._trial_id)
    return directory


def _running(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


class _Judge:
    """Says how things stand with the running trials of a study."""

    def __init__(self, study: optuna.Study, project: Path) -> None:
        self.trials = _running(study)
        self._name = study.study_name
        self._project = project
        self._heartbeats = heartbeats_of(study)

    def look_at(self, trial: FrozenTrial) -> RunningTrial:
        """Return how things stand with one of them."""
        directories = list(own_directories(self._name, trial, self._project))
        locks = [_is_free(directory) for directory in directories]
        claimed_by = claimant_of(trial)
        silent_s = None
        if False in locks:
            here = claimed_by is None or claimed_by.is_here
            standing = Standing.LIVE if here else Standing.ELSEWHERE
        elif claimed_by is None or self._was_cut_short(trial, claimed_by):
            standing = Standing.INTERRUPTED
        elif trial.user_attrs.get(attributes.OUTSIDE) is True:
            standing = Standing.OUTSIDE
        elif claimed_by.is_here and True in locks:
            standing = Standing.INTERRUPTED
        else:
            silent_s = self._silences_s.get(trial._trial_id)
            standing = self._judge_unseen(claimed_by, silent_s)
        return RunningTrial(
            trial=trial,
            standing=standing,
            claimed_by=claimed_by,
            directory=directories[0] if directories else None,
            is_locked=False in locks,
            silent_s=silent_s,
        )

    def begin_to_listen(self, trial: FrozenTrial) -> None:
        """Make a trial's first heartbeat in its name, where it was to make one itself."""
        if self._heartbeats.are_of_a_server:
            self._heartbeats.beat(trial._trial_id)

    def _was_cut_short(self, trial: FrozenTrial, claimed_by: Claimant) -> bool:
        """Whether a trial's claim is void, wherever it was made.

        It did not come to its end, or was made for another study, or a person has said so.
        """
        if claimed_by.released:
            return True
        recorded = trial.user_attrs.get(attributes.OUTPUT_DIR)
        return claimed_by.study != self._name or not isinstance(recorded, str)

    def _judge_unseen(self, claimed_by: Claimant, silent_s: float | None) -> Standing:
        """Say how things stand with a trial whose lock cannot be judged from here."""
        is_local = not self._heartbeats.are_needed
        if is_local and claimed_by.is_here:
            deleted = claimed_by.host == platform.node()
            return Standing.INTERRUPTED if deleted else Standing.ELSEWHERE
        if silent_s is not None:
            return Standing.STALE if is_silent(silent_s) else Standing.ELSEWHERE
        return Standing.INTERRUPTED if is_local else Standing.ELSEWHERE

    @functools.cached_property
    def _silences_s(self) -> dict[int, float]:
        return self._heartbeats.ages_s([trial._trial_id for trial in self.trials])


def _is_free(directory: TrialDir) -> bool | None:
    """Whether nobody holds a directory's lock, None where that cannot be told."""
    try:
        with directory.locked() as free:
            return free
    except (OSError, NotImplementedError):  # not ours to write, or a file system without locks
        return None
