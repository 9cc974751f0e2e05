"""What a running trial has reported: known to its process at once, written to the database in turn.

Ten statements and a commit for each epoch are nothing beside an epoch of minutes, and more than the
training beside one of milliseconds. So what is reported within `LATE_S` of the last writing waits,
and is written together with what comes after. Whoever keeps the log has it written before anything
that must not be ahead of the database: a checkpoint, the trial's end. That writing survives the
loss of power, any other the end of the process (`epoch_rows.py`), and after `SECURE_S` that, too.

The pruner is asked with what the log knows, and with complete trials as they were a moment ago.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Container
from typing import Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState

from tunectl.search.pruners import compares_with_complete
from tunectl.studies import attributes
from tunectl.studies.epoch_rows import EpochRows, open_rows
from tunectl.studies.rows import known_database

LATE_S = 0.2
# An objective that keeps checkpoints of its own says nothing of them.
SECURE_S = 10.0

Clock = Callable[[], float]


class EpochLog(Protocol):
    """The values that a running trial has reported, epoch by epoch."""

    def add(self, epoch: int, value: float) -> None:
        """Take an epoch's value down; a second one for the same epoch is left out."""

    def should_prune(self) -> bool:
        """Ask the pruner."""

    def is_late(self) -> bool:
        """Whether something waits that should be written now."""

    def write(self, *, secure: bool) -> None:
        """Write what waits to the database.

        Args:
            secure: It is to survive the loss of power, and not only the end of the process.

        Raises:
            UpdateFinishedTrialError: somebody else has ended the trial.
            KeyError: somebody has deleted the study.
            SQLAlchemyError, sqlite3.Error, OSError: the database cannot be written; what waits
                still does.
        """

    def close(self) -> None:
        """Let the database go; what waits is not written."""


def open_log(trial: optuna.Trial, stored: FrozenTrial, clock: Clock = time.monotonic) -> EpochLog:
    """Return the log of a trial that is about to run.

    Args:
        trial: The trial, new or taken up again.
        stored: The same as it is stored.
        clock: Seconds that no one sets back.
    """
    study = trial.study
    # A pruner that compares running trials has to find all that is known of them, and writes too.
    database = known_database(study) if compares_with_complete(study.pruner) else None
    if database is None:
        return _PromptLog(trial)
    rows = open_rows(database, trial._trial_id)
    # Of a trial that has killed its worker is told at once how far it comes: see `deaths.py`.
    late_s = 0.0 if attributes.DEATHS in stored.user_attrs else LATE_S
    return _LateLog(study, rows, stored, clock, late_s)


class _PromptLog:
    """A log that leaves everything to Optuna, epoch by epoch."""

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial = trial

    def add(self, epoch: int, value: float) -> None:
        self._trial.report(value, step=epoch)

    def should_prune(self) -> bool:
        return bool(self._trial.should_prune())

    def is_late(self) -> bool:
        return False

    def write(self, *, secure: bool) -> None:
        """Do nothing: it is written."""

    def close(self) -> None:
        """Do nothing: the connections are Optuna's."""


class _LateLog:
    """A log that is written every now and then, by whichever thread has something to report."""

    def __init__(
        self,
        study: optuna.Study,
        rows: EpochRows,
        stored: FrozenTrial,
        clock: Clock,
        late_s: float,
    ) -> None:
        self._rows = rows
        self._pruner = study.pruner
        self._seen = _SeenStudy(study, rows, clock)
        self._trial = copy.copy(stored)
        self._trial.intermediate_values = dict(stored.intermediate_values)
        self._clock = clock
        self._late_s = late_s
        self._waiting: dict[int, float] = {}
        self._written_s = float("-inf")
        self._secured_s = clock()
        self._one_at_a_time = threading.Lock()

    def add(self, epoch: int, value: float) -> None:
        with self._one_at_a_time:
            if epoch not in self._trial.intermediate_values:
                self._trial.intermediate_values[epoch] = value
                self._waiting[epoch] = value

    def should_prune(self) -> bool:
        with self._one_at_a_time:
            return bool(self._pruner.prune(self._seen, self._trial))

    def is_late(self) -> bool:
        return bool(self._waiting) and self._clock() >= self._written_s + self._late_s

    def write(self, *, secure: bool) -> None:
        with self._one_at_a_time:
            now_s = self._clock()
            if self._waiting:
                self._rows.add(self._waiting)
                self._waiting.clear()
                self._written_s = now_s
            if secure or not self._late_s or now_s >= self._secured_s + SECURE_S:
                self._rows.secure()
                self._secured_s = now_s

    def close(self) -> None:
        with self._one_at_a_time:
            self._rows.close()


class _SeenStudy(optuna.Study):
    """A study as a pruner sees it: its complete trials are read again when there are new ones.

    Whatever else it is asked for it asks the database.
    """

    def __init__(self, study: optuna.Study, rows: EpochRows, clock: Clock) -> None:
        super().__init__(study.study_name, study._storage, study.sampler, study.pruner)
        self._rows = rows
        self._clock = clock
        self._complete: list[FrozenTrial] | None = None
        self._looked_s = float("-inf")
        # The first trial that had not ended at the last look, and how many after it were complete.
        self._first, self._count = 0, 0

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if states != (TrialState.COMPLETE,):
            return super().get_trials(deepcopy, states)
        trials = self._look()
        return copy.deepcopy(trials) if deepcopy else list(trials)

    def _look(self) -> list[FrozenTrial]:
        if self._complete is not None and self._clock() < self._looked_s + LATE_S:
            return self._complete
        if self._complete is None or self._count_new() != self._count:
            trials = super().get_trials(deepcopy=False)
            self._complete = [one for one in trials if one.state == TrialState.COMPLETE]
            open_ones = (one._trial_id for one in trials if not one.state.is_finished())
            self._first = min(open_ones, default=0)
            self._count = sum(one._trial_id >= self._first for one in self._complete)
        self._looked_s = self._clock()
        return self._complete

    def _count_new(self) -> int:
        return self._rows.count_complete(self._study_id, self._first)
