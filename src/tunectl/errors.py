"""The error tree: every error that a user can meet, each with its exit code.

    TunectlError                    1   it failed
    ├── ObjectiveError              1   a trial's objective failed (the study goes on)
    │   ├── DivergedError           1   its numbers are not finite, or exploded
    │   └── MemoryExhaustedError    1   memory ran out in it
    ├── StudyStoppedError           1   a trial failed in a way that is to stop the study
    ├── NoTrialSucceededError       1   every trial of this call failed
    ├── WorkerError                 1   worker processes die before they begin a trial
    ├── OutputError                 1   standard output or a file asked for cannot be written
    ├── ArtifactError               1   a file of a trial or of a bundle is gone or damaged
    ├── TrackingError               1   MLflow cannot be reached, or says no
    ├── UsageError                  2   wrong usage
    │   ├── ProblemsError           2   carries every Problem at once
    │   │   ├── ConfigError         2   the three files and the overrides
    │   │   ├── DataError           2   the data set
    │   │   └── StudyFileError      2   a file of an exported study or of points to queue
    │   └── DeviceError             2   a device that this machine does not have
    ├── NotFoundError               3
    │   ├── StudyNotFoundError      3
    │   └── TrialNotFoundError      3
    ├── StudyExistsError            4
    ├── NoCompletedTrialError       5
    ├── SpaceMismatchError          6   the stored study and today's search space do not fit
    └── StorageError                7   the storage cannot be reached, is locked or is damaged
        └── TrialLostError          7   another process has ended the trial (the study goes on)

This module knows nothing of the others; they translate third-party errors into these at one
boundary each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with what the user wrote, and where.

    Args:
        message: What is wrong and what is valid, one sentence without a full stop.
        file: The file it stands in, as the user would name it; None for the command line.
        line: 1-based line in that file, where known.
        key: Dotted configuration key, where there is one.
        kind: What sort of mistake it is, where the program itself tells some from others:
            `unknown_key` for a key that nothing is called at its place.
    """

    message: str
    file: str | None = None
    line: int | None = None
    key: str | None = None
    kind: Literal["unknown_key"] | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return ": ".join(part for part in (place, self.key, self.message) if part)


class TunectlError(Exception):
    """Root of the tree. `str(error)` is what the user reads; it never needs a traceback."""

    exit_code: ClassVar[int] = 1


class ObjectiveError(TunectlError):
    """A trial failed for a reason worth naming."""


class DivergedError(ObjectiveError):
    """A loss or a metric of a trial is no finite number, or it has exploded."""


class MemoryExhaustedError(ObjectiveError):
    """Memory ran out in a trial, that of the machine or that of the device."""


class StudyStoppedError(TunectlError):
    """A trial failed, and the user wants the study to stop when one does."""


class NoTrialSucceededError(TunectlError):
    """Trials ran in this call and none of them succeeded."""


class WorkerError(TunectlError):
    """Worker processes die before they have begun a trial."""


class OutputError(TunectlError):
    """Standard output, or a file that was asked for, cannot be written."""


class ArtifactError(TunectlError):
    """A file of a trial or of a bundle is gone or damaged; the study itself is whole."""


class TrackingError(TunectlError):
    """MLflow cannot be reached, or refuses something; the study itself is whole."""


class UsageError(TunectlError):
    """The command was used wrongly."""

    exit_code = 2


class ProblemsError(UsageError):
    """An error that carries every problem found, not only the first.

    Args:
        problems: At least one.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ConfigError(ProblemsError):
    """The three YAML files or the overrides are not valid."""


class DataError(ProblemsError):
    """The data set cannot be used."""


class StudyFileError(ProblemsError):
    """A file of an exported study, or of points to queue, cannot be used."""


class DeviceError(UsageError):
    """The device asked for is not on this machine."""


class NotFoundError(TunectlError):
    """Something named by the user does not exist."""

    exit_code = 3


class StudyNotFoundError(NotFoundError):
    """No study of that name is stored."""


class TrialNotFoundError(NotFoundError):
    """The study has no trial of that number."""


class StudyExistsError(TunectlError):
    """A study of that name is stored already."""

    exit_code = 4


class NoCompletedTrialError(TunectlError):
    """The study has no completed trial yet, so there is no best one."""

    exit_code = 5


class SpaceMismatchError(TunectlError):
    """The stored study and today's search space do not fit."""

    exit_code = 6


class StorageError(TunectlError):
    """The storage cannot be reached, is locked or is damaged."""

    exit_code = 7


class TrialLostError(StorageError):
    """Another process has brought the trial to its end: what comes later is not stored."""
