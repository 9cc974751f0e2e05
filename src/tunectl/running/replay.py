"""A finished trial trained again from its own configuration, and compared with what it left.

It writes to a temporary folder only; of the database it needs the trial's values, nothing else.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import math
import platform
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import TrialConfig
from tunectl.errors import ArtifactError, DivergedError, ObjectiveError, UsageError
from tunectl.objectives.base import Outcome, TrialPruned
from tunectl.objectives.registry import find_objective
from tunectl.running.comparison import Difference, compare_files, compare_series
from tunectl.running.context import OVER_TIME
from tunectl.running.failures import judge
from tunectl.studies import attributes
from tunectl.studies.ranking import STATE_NAMES
from tunectl.studies.trial_info import versions
from tunectl.training.divergence import DIVERGED

TIMED = ("train_time_s", "inference_time_ms")
"""Metrics that differ from run to run, whatever a trial does."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """Something about the surroundings that is not as it was.

    Args:
        what: Its name, for example `torch`.
        then: As the trial recorded it.
        now: As it is here.
    """

    what: str
    then: str
    now: str


@dataclass(frozen=True, kw_only=True)
class Replay:
    """How a trial came out the second time.

    Args:
        study: The study's name.
        number: The trial's number.
        state: How it ended the first time.
        epochs: Epochs trained this time.
        device: The device it ran on this time.
        compared: What was compared.
        differences: What of it is not the same to the bit.
        changes: What may explain them.
    """

    study: str
    number: int
    state: str
    epochs: int
    device: str
    compared: tuple[str, ...]
    differences: tuple[Difference, ...]
    changes: tuple[Change, ...]

    @property
    def same(self) -> bool:
        """Whether everything is the same to the bit."""
        return not self.differences

    def to_document(self) -> dict[str, Any]:
        """Return it as it stands in `trial replay --json`."""
        return {
            "study": self.study,
            "number": self.number,
            "state": self.state,
            "same": self.same,
            "epochs": self.epochs,
            "device": self.device,
            "compared": list(self.compared),
            "differences": [one.to_document() for one in self.differences],
            "changes": [vars(one) for one in self.changes],
        }


def _silent_log() -> logging.Logger:
    log = logging.getLogger("tunectl.replay")
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    return log


def refuse_foreign_trial(config: TrialConfig, directory: TrialDir, outputs_root: Path) -> None:
    """Refuse to run code that stands in a folder which is not among this project's trials.

    A study that was imported says itself where the folders of its trials are.

    Raises:
        UsageError: it would be.
    """
    inside = directory.path.resolve().is_relative_to(outputs_root.resolve())
    if config.run.runs_code and not inside:
        raise UsageError(
            f"{directory.path} is not in {outputs_root}, so the code that it names "
            f"({config.run.objective_name}) is not run; was the study imported?"
        )


@dataclass(kw_only=True)
class ReplayedTrial:
    """What a replayed trial offers its objective: nobody else hears of it.

    Args:
        config: The trial's own configuration.
        project: Absolute path of the project folder.
        directory: A temporary folder.
        device: The device to run on.
        stop_at: The epoch after which the trial was given up; None where it ended by itself.
        on_epoch: Told of every epoch.
        reported: Epoch → the study's metric.
        stopped: Whether it has come to `stop_at`.
    """

    config: TrialConfig
    project: Path
    directory: TrialDir
    device: str
    stop_at: int | None
    on_epoch: Callable[[int], None]
    log: logging.Logger = field(default_factory=_silent_log)
    reported: dict[int, float] = field(default_factory=dict)
    stopped: bool = False

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Take the epoch down, and stop where the trial was stopped."""
        metric = self.config.study.metric
        value = metrics.get(metric, math.nan)
        if not math.isfinite(value):
            raise DivergedError(f"{metric} is {value} in epoch {epoch}: {DIVERGED}")
        self.reported[epoch] = value
        self.on_epoch(epoch)
        if epoch == self.stop_at:
            self.stopped = True
            raise TrialPruned(f"given up after epoch {epoch}, as it was")

    def trained(self) -> None:
        """A replay has no time limit."""

    def settle(self) -> None:
        """Nothing is written anywhere."""

    def check_stop(self) -> None:
        """Signals end a replay by themselves, as there is nothing to save."""


def check_ended(trial: FrozenTrial) -> None:
    """Make sure that a trial has ended.

    Raises:
        UsageError: it has not.
    """
    if not trial.state.is_finished():
        state = STATE_NAMES[trial.state]
        raise UsageError(
            f"trial {trial.number} is {state}; only one that has ended can be replayed"
        )


def read_own_config(directory: TrialDir) -> TrialConfig:
    """Return what a trial ran with.

    Raises:
        ArtifactError: its configuration is gone or damaged.
    """
    config = directory.read_config()
    if config is None:
        raise ArtifactError(f"{directory.config_file} is gone or damaged")
    return config


def stopping_epoch(trial: FrozenTrial, directory: TrialDir) -> int | None:
    """Return after which epoch a trial was given up, None where it ended by itself.

    Args:
        trial: The trial as it is stored.
        directory: Its folder.

    Raises:
        UsageError: it was given up before its first epoch was over.
    """
    error = trial.user_attrs.get(attributes.ERROR)
    histories = _histories(directory)
    reached = max([*trial.intermediate_values, *map(len, histories.values())], default=0)
    was_pruned = trial.state is TrialState.PRUNED
    is_over_time = error is not None and str(error).startswith(OVER_TIME)
    if reached == 0 and (was_pruned or is_over_time):
        why = error or "it was pruned at once"
        raise UsageError(f"trial {trial.number} has no epoch to train again: {why}")
    return reached if is_over_time or (was_pruned and error is None) else None


def replay_trial(
    trial: FrozenTrial,
    study: str,
    config: TrialConfig,
    directory: TrialDir,
    project: Path,
    device: str,
    stop_at: int | None,
    on_epoch: Callable[[int], None] = lambda _: None,
) -> Replay:
    """Train a trial again and compare; the study and the trial's folder stay as they are.

    Args:
        trial: The trial as it is stored.
        study: Its study's name.
        config: What it ran with.
        directory: The trial's folder.
        project: Absolute path of the project folder.
        device: The device to run on, as PyTorch names it.
        stop_at: From `stopping_epoch`.
        on_epoch: Told the number of each epoch that has ended.

    Raises:
        DataError: the data are gone, or do not fit any more.
        DeviceError: the device is not there.
    """
    with tempfile.TemporaryDirectory(prefix="tunectl-replay-") as folder:
        again = ReplayedTrial(
            config=config,
            project=project,
            directory=TrialDir.create(Path(folder), dt.datetime.now()),
            device=device,
            stop_at=stop_at,
            on_epoch=on_epoch,
        )
        end, outcome = _run(again, trial)
        compared, differences = _compare(trial, directory, again, end, outcome)
    return Replay(
        study=study,
        number=trial.number,
        state=STATE_NAMES[trial.state],
        epochs=len(again.reported),
        device=device,
        compared=compared,
        differences=differences,
        changes=_changes(directory.read_info(), device),
    )


def _run(again: ReplayedTrial, trial: FrozenTrial) -> tuple[str, Outcome | None]:
    """Run the objective; return how it ended, in words, and what it reached."""
    try:
        outcome = find_objective(again.config.run).run(again)
    except Exception as error:
        if again.stopped:
            return _end_of(trial), None
        if not isinstance(error, ObjectiveError) and trial.state is not TrialState.FAIL:
            raise
        ending = judge(error, again.config)
        return _end(ending.state, ending.attrs), None
    return _end(TrialState.COMPLETE, {}), outcome


def _compare(
    trial: FrozenTrial,
    directory: TrialDir,
    again: ReplayedTrial,
    end: str,
    outcome: Outcome | None,
) -> tuple[tuple[str, ...], tuple[Difference, ...]]:
    """Return what was compared and what of it differs."""
    compared, differences = ["end"], []
    end_before = _end_of(trial)
    if end != end_before:
        differences.append(Difference(what="end", stored=end_before, replayed=end))
    pairs = {
        **_values(trial, again.config, outcome),
        **_series(trial, directory, again),
    }
    for what, (stored, replayed) in pairs.items():
        compared.append(what)
        differences += compare_series(what, stored, replayed)
    for what, difference in compare_files(directory, again.directory).items():
        compared.append(what)
        differences += difference
    return tuple(compared), tuple(differences)


_Pair = tuple[list[float | None], list[float | None]]


def _values(
    trial: FrozenTrial, config: TrialConfig, outcome: Outcome | None
) -> Mapping[str, _Pair]:
    """Return the trial's values, then and now; those that measure time are left out."""
    if outcome is None or trial.state is not TrialState.COMPLETE:
        return {}
    now = {**outcome.metrics, config.study.metric: outcome.value}
    named = zip(config.study.values, trial.values, strict=True)
    return {
        f"value ({name})": ([then], [now.get(name)]) for name, then in named if name not in TIMED
    }


def _series(trial: FrozenTrial, directory: TrialDir, again: ReplayedTrial) -> Mapping[str, _Pair]:
    """Return every epoch's metrics, then and now: those the database has, and `metrics.json`."""
    pairs: dict[str, _Pair] = {}
    if trial.intermediate_values:
        stored: list[float | None] = [one for _, one in sorted(trial.intermediate_values.items())]
        pairs["reported values"] = (
            stored,
            [again.reported[epoch] for epoch in sorted(again.reported)],
        )
    then, now = _histories(directory), _histories(again.directory)
    pairs |= {name: (then[name], now.get(name, [])) for name in sorted(then)}
    return pairs


def _histories(directory: TrialDir) -> Mapping[str, list[float | None]]:
    try:
        document = json.loads(directory.metrics_file.read_text(encoding="utf-8"))
        return dict(document["histories"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _end_of(trial: FrozenTrial) -> str:
    return _end(trial.state, trial.user_attrs)


def _end(state: TrialState, attrs: Mapping[str, Any]) -> str:
    error = attrs.get(attributes.ERROR)
    return f"{STATE_NAMES[state]}: {error}" if error else STATE_NAMES[state]


def _changes(info: Mapping[str, Any], device: str) -> tuple[Change, ...]:
    """Return what of the surroundings that the trial recorded is different here."""
    recorded = {"host": info.get("host"), "device": info.get("device"), **info.get("versions", {})}
    here = {"host": platform.node(), "device": device, **versions()}
    return tuple(
        Change(what=what, then=str(then), now=str(here[what]))
        for what, then in recorded.items()
        if then is not None and what in here and str(then) != str(here[what])
    )
