"""What a running trial offers its objective: the `TrialContext` that stands on an Optuna trial."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import optuna

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import TrialConfig
from tunectl.errors import DivergedError, ObjectiveError, StorageError
from tunectl.objectives.base import TrialInterrupted, TrialPruned, TrialTimedOut
from tunectl.studies import attributes
from tunectl.studies.epoch_log import open_log
from tunectl.studies.storage import storage_errors
from tunectl.training.divergence import DIVERGED

OVER_TIME = "over its time"
"""How the error of a trial begins that has used up its time."""


class RunningTrial:
    """One trial while it runs.

    What it has reported is written when the block ends, however it does, that it is used for.

    Args:
        trial: The Optuna trial, new or taken up again.
        config: Its whole configuration.
        project: Absolute path of the project folder.
        directory: Its own folder.
        device: The device to run on.
        log: Its log.
        storage_url: The database's URL, for messages.
        on_epoch: Told epoch, value and best value so far at each report.
        should_stop: Whether the program has been told to stop.
        clock: Seconds that no one sets back.
        since_s: When the trial was claimed, by that clock; None for now.
    """

    def __init__(
        self,
        *,
        trial: optuna.Trial,
        config: TrialConfig,
        project: Path,
        directory: TrialDir,
        device: str,
        log: logging.Logger,
        storage_url: str,
        on_epoch: Callable[[int, float, float], None],
        should_stop: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        since_s: float | None = None,
    ) -> None:
        self.config = config
        self.project = project
        self.directory = directory
        self.device = device
        self.log = log
        self._storage_url = storage_url
        self._on_epoch = on_epoch
        self._should_stop = should_stop
        self._clock = clock
        with storage_errors(storage_url):
            frozen = trial.study.get_trials(deepcopy=False)[trial.number]
        # What an interrupted attempt reported already; the same epochs give the same values again.
        self._reported_before = max(frozen.intermediate_values, default=-1)
        self._better = max if config.study.direction == "maximize" else min
        self._best = self._better(frozen.intermediate_values.values(), default=None)
        self._epoch = 0
        limit_s = config.failures.trial_timeout
        spent_s = float(frozen.user_attrs.get(attributes.SPENT_S, 0.0))  # before this claim
        left_s = math.inf if limit_s is None else limit_s - spent_s
        self._deadline = (clock() if since_s is None else since_s) + left_s
        # Optuna prunes by the study's only value: not for several, nor for one that no epoch has.
        self._prunable = config.study.values == (config.study.metric,)
        with storage_errors(storage_url):  # last, since it has to be closed
            self._epochs = open_log(trial, frozen, clock)

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Store the epoch's metric and ask the pruner. See `TrialContext.report`."""
        value = self._value(epoch, metrics)
        self._best = value if self._best is None else self._better(value, self._best)
        self._on_epoch(epoch, value, self._best)
        self._epoch = epoch
        if self._prunable:
            self._ask_pruner(epoch, value)
        self._check_time()

    def check_stop(self) -> None:
        """Stop here if told to or if the time is over. See `TrialContext.check_stop`."""
        if self._should_stop():
            raise TrialInterrupted("told to stop")
        if self._epochs.is_late():
            with storage_errors(self._storage_url):
                self._epochs.write(secure=False)
        self._check_time()

    def trained(self) -> None:
        """Take the deadline away. See `TrialContext.trained`."""
        self._deadline = math.inf

    def settle(self) -> None:
        """Write what was reported. See `TrialContext.settle`."""
        with storage_errors(self._storage_url):
            self._epochs.write(secure=True)

    def __enter__(self) -> RunningTrial:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if not isinstance(error, StorageError):
                self.settle()
        finally:
            self._epochs.close()

    def _ask_pruner(self, epoch: int, value: float) -> None:
        with storage_errors(self._storage_url):
            if epoch > self._reported_before:
                self._epochs.add(epoch, value)
            # What comes after the last one may take a while.
            is_last = epoch == self.config.run.epochs
            if is_last or self._epochs.is_late():
                self._epochs.write(secure=is_last)
            # An epoch that was reported and then survived the pruner needs no second judgement,
            # but after the last one the answer may not have been heard.
            if epoch >= self._reported_before and self._epochs.should_prune():
                raise TrialPruned(f"by the pruner after epoch {epoch} with {value:.6g}")

    def _check_time(self) -> None:
        if self._clock() < self._deadline:
            return
        epochs = self.config.run.epochs
        if epochs is not None and max(self._epoch, self._reported_before) >= epochs:
            return  # trained to the end: what it reached is not thrown away
        where = f" after epoch {self._epoch}" if self._epoch else ""
        raise TrialTimedOut(f"{OVER_TIME} of {self.config.failures.trial_timeout:g} s{where}")

    def _value(self, epoch: int, metrics: Mapping[str, float]) -> float:
        metric = self.config.study.metric
        try:
            value = float(metrics[metric])
        except KeyError:
            there_are = ", ".join(sorted(metrics))
            raise ObjectiveError(
                f"no metric {metric!r} was reported; there are: {there_are}"
            ) from None
        if not math.isfinite(value):
            raise DivergedError(f"{metric} is {value} in epoch {epoch}: {DIVERGED}")
        return value
