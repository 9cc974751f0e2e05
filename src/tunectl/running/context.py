"""What a running trial offers its objective: the `TrialContext` that stands on an Optuna trial."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import optuna

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import TrialConfig
from tunectl.errors import ObjectiveError
from tunectl.objectives.base import TrialInterrupted, TrialPruned
from tunectl.studies.storage import storage_errors


class RunningTrial:
    """One trial while it runs.

    Args:
        trial: The Optuna trial, new or taken up again.
        config: Its whole configuration.
        project: Absolute path of the project folder.
        directory: Its own folder.
        device: The device to run on.
        log: Its log.
        storage_url: The database's URL, for messages.
        on_epoch: Told epoch and value after each report.
        should_stop: Whether the program has been told to stop.
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
        on_epoch: Callable[[int, float], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self.config = config
        self.project = project
        self.directory = directory
        self.device = device
        self.log = log
        self._trial = trial
        self._storage_url = storage_url
        self._on_epoch = on_epoch
        self._should_stop = should_stop
        # What an interrupted attempt reported already; the same epochs give the same values again.
        self._reported_before = max(_reported_steps(trial), default=0)
        # Optuna prunes by the study's only value: not for several, nor for one that no epoch has.
        self._prunable = config.study.values == (config.study.metric,)

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Store the epoch's metric and ask the pruner. See `TrialContext.report`."""
        value = self._value(epoch, metrics)
        self._on_epoch(epoch, value)
        if not self._prunable:
            return
        with storage_errors(self._storage_url):
            if epoch > self._reported_before:
                self._trial.report(value, step=epoch)
            # An epoch that was reported and then survived the pruner needs no second judgement,
            # but after the last one the answer may not have been heard.
            if epoch >= self._reported_before and self._trial.should_prune():
                raise TrialPruned(f"pruned after epoch {epoch} with {value:.6g}")

    def check_stop(self) -> None:
        """Stop here if told to. See `TrialContext.check_stop`."""
        if self._should_stop():
            raise TrialInterrupted("told to stop")

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
            raise ObjectiveError(f"{metric} is {value} after epoch {epoch}")
        return value


def _reported_steps(trial: optuna.Trial) -> list[int]:
    frozen = trial.study.get_trials(deepcopy=False)[trial.number]
    return list(frozen.intermediate_values)
