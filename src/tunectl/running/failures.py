"""What becomes of a trial that does not come to its end: from what it raised to how it is stored.

It only decides: it writes nothing and knows neither database nor disk.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from optuna.trial import TrialState

from tunectl.config.schema import TrialConfig
from tunectl.errors import DivergedError, MemoryExhaustedError, ObjectiveError, TunectlError
from tunectl.objectives.base import TrialPruned, TrialTimedOut
from tunectl.objectives.exhaustion import is_out_of_memory
from tunectl.studies import attributes

HALVES = 2
LONGEST = 1000
STATES: Mapping[Literal["prune", "fail"], TrialState] = {
    "prune": TrialState.PRUNED,
    "fail": TrialState.FAIL,
}


class ConstraintViolated(Exception):  # noqa: N818 - no error: the sampler learns from it
    """The proposed parameters break a constraint."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a trial ended.

    Args:
        state: As it is stored.
        text: Why, in one line.
        values: One for each of the study's metrics where it is complete.
        attrs: User attributes to store with it.
        is_fault: Whether its traceback is worth keeping.
        stops_study: Whether no further trial is to run.
    """

    state: TrialState
    text: str
    values: Sequence[float] | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    is_fault: bool = False
    stops_study: bool = False


def judge(error: BaseException, config: TrialConfig) -> Ending:
    """Return what becomes of a trial that has raised something.

    Args:
        error: What it raised.
        config: The trial's own configuration, with the user's policy.
    """
    if isinstance(error, TrialPruned):
        return Ending(state=TrialState.PRUNED, text=str(error))
    if isinstance(error, ConstraintViolated):
        return _with_error(TrialState.PRUNED, str(error))
    policy = config.failures
    if isinstance(error, DivergedError):
        return _with_error(STATES[policy.diverged], describe(error))
    if isinstance(error, TrialTimedOut):
        return _with_error(STATES[policy.timed_out], str(error))
    if is_out_of_memory(error):
        return _with_error(TrialState.FAIL, _describe_exhaustion(error, config), is_fault=True)
    stops = policy.exception == "stop"
    return _with_error(TrialState.FAIL, describe(error), is_fault=True, stops_study=stops)


def failed(error: BaseException) -> Ending:
    """Return the end of a trial that an error kept from running."""
    return _with_error(TrialState.FAIL, describe(error), is_fault=True)


def can_run_halved(error: BaseException, config: TrialConfig) -> bool:
    """Whether a trial that has raised something is to run once more with half the memory."""
    wanted = config.failures.out_of_memory == "half_batch" and is_out_of_memory(error)
    size = config.run.value("training.batch_size")
    return wanted and config.batch_parts == 1 and isinstance(size, int) and size >= HALVES


def halved(config: TrialConfig) -> TrialConfig:
    """Return a trial's configuration with each batch computed in two parts."""
    return config.model_copy(update={"batch_parts": HALVES})


def describe(error: BaseException) -> str:
    """Return an error in one line: what went wrong, and of what kind and where if not one of ours.

    For an error that is not named by us that is `class: message (file:line)`, of the innermost
    frame; the folder is shortened to the last one.
    """
    text = _in_one_line(error)
    if isinstance(error, ObjectiveError):
        return text
    kind = type(error).__name__
    what = f"{kind}: {text}" if text else kind
    frames = list(traceback.walk_tb(error.__traceback__))
    if isinstance(error, TunectlError) or not frames:
        return what
    frame, line = frames[-1]
    file = "/".join(Path(frame.f_code.co_filename).parts[-2:])
    return f"{what} ({file}:{line})"


def _with_error(
    state: TrialState, text: str, *, is_fault: bool = False, stops_study: bool = False
) -> Ending:
    return Ending(
        state=state,
        text=text,
        attrs={attributes.ERROR: text},
        is_fault=is_fault,
        stops_study=stops_study,
    )


def _describe_exhaustion(error: BaseException, config: TrialConfig) -> str:
    named = isinstance(error, MemoryExhaustedError)
    text = describe(error) if named else f"out of memory: {describe(error)}"
    if config.batch_parts > 1:
        return f"{text} (it also ran out with each batch in {config.batch_parts} parts)"
    if config.failures.out_of_memory == "half_batch":
        return f"{text} (a batch of a single sample has no half)"
    return text


def _in_one_line(error: BaseException) -> str:
    """Return an error's own words, whatever is in them, and at most so many of them."""
    try:
        words = " ".join(str(error).split())
    except Exception:  # its words are code of whoever raised it
        return "its message cannot be read"
    words = words.encode("utf-8", "backslashreplace").decode("utf-8")
    return words if len(words) <= LONGEST else f"{words[:LONGEST]} …"
