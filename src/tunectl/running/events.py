"""What happens while a study runs, as told to whoever shows or mirrors it.

Observers are projections: an observer that fails is logged and never costs a trial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tunectl.config.section import Scalar

EndState = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True, kw_only=True)
class StudyStarted:
    """Trials are about to run.

    Args:
        study: The study's name.
        metrics: What is optimised.
        directions: `minimize` or `maximize` for each.
        planned: Trials that this call is to bring to an end, as far as is known at the start.
        best_value: Best value of the first metric so far, None while there is none.
        workers: Trials that run at the same time.
        counts_failed: Whether a trial that fails is one of those planned.
    """

    study: str
    metrics: Sequence[str]
    directions: Sequence[str]
    planned: int
    best_value: float | None
    workers: int = 1
    counts_failed: bool = True


@dataclass(frozen=True, kw_only=True)
class TrialClaimed:
    """A worker has a trial and is about to begin it.

    Args:
        number: Its number.
    """

    number: int


@dataclass(frozen=True, kw_only=True)
class TrialStarted:
    """A trial begins.

    Args:
        number: Its number.
        parameters: What the sampler proposed.
        epochs: Epochs it is to train, None where the objective has none.
        adopted: Whether it was interrupted before and is taken up again.
        directory: Its folder.
    """

    number: int
    parameters: Mapping[str, Scalar]
    epochs: int | None
    adopted: bool
    directory: Path


@dataclass(frozen=True, kw_only=True)
class EpochEnded:
    """An epoch of a trial is over.

    Args:
        number: The trial's number.
        epoch: 1-based.
        value: The study's metric at this epoch, or the objective's where the study's is not known
            every epoch.
        best: The trial's best value so far, this one included.
    """

    number: int
    epoch: int
    value: float
    best: float


@dataclass(frozen=True, kw_only=True)
class TrialEnded:
    """A trial is finished and stored.

    Args:
        number: Its number.
        state: How it ended.
        value: Its value of the first metric, None for a failed one.
        epochs: Epochs it trained.
        duration_s: From its start to its end.
        error: Why it failed.
        directory: Its folder.
        is_best: Whether it is now the study's best, or with several metrics one of the best.
    """

    number: int
    state: EndState
    value: float | None
    epochs: int
    duration_s: float
    error: str | None
    directory: Path
    is_best: bool


@dataclass(frozen=True, kw_only=True)
class WorkerLost:
    """A worker process is gone that was not told to go.

    Args:
        worker: Its place among the workers, counted from 1.
        number: The trial that it ran, None where it ran none.
        reason: How it ended, a few words.
    """

    worker: int
    number: int | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class AwaitedTrial:
    """A trial of another call whose end decides whether more trials are needed.

    Args:
        number: Its number.
        host: The machine that runs it, None where that is this one.
        silent_s: Seconds since it was heard of, None where it is not heard of at all.
        is_seen: Whether its worker is seen to be alive.
        is_outside: Whether a script is to say how it ends, and no worker.
    """

    number: int
    host: str | None
    silent_s: float | None
    is_seen: bool
    is_outside: bool = False


@dataclass(frozen=True, kw_only=True)
class TrialsAwaited:
    """There is nothing to do for a worker until trials of other calls have ended.

    Args:
        trials: Those trials.
    """

    trials: Sequence[AwaitedTrial]


Event = (
    StudyStarted
    | TrialClaimed
    | TrialStarted
    | EpochEnded
    | TrialEnded
    | TrialsAwaited
    | WorkerLost
)
Observer = Callable[[Event], None]
