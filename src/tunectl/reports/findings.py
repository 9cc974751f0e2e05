"""What a look at a project finds: frozen findings, and what is repaired of them.

It knows neither how they are found nor how they look.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Severity(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    NOTICE = "notice"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Args:
        code: Its kind, for programs, for example `info-differs`.
        severity: How bad it is; a notice needs nothing to be done.
        message: What was found, a sentence without a full stop.
        study: The study that it concerns.
        trial: The trial's number.
        path: Where it is on the disk, relative to the project folder where it lies inside.
        fix: What `doctor --fix` would do about it; None where nothing safe can be done.
    """

    code: str
    severity: Severity
    message: str
    study: str | None = None
    trial: int | None = None
    path: str | None = None
    fix: str | None = None

    @property
    def is_bad(self) -> bool:
        """Whether something is wrong, so that `doctor` does not end with 0 while it stays."""
        return self.severity in (Severity.WARNING, Severity.ERROR)

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "study": self.study,
            "trial": self.trial,
            "path": self.path,
            "message": self.message,
            "fix": self.fix,
        }


@dataclass(frozen=True, kw_only=True)
class Repair:
    """What was done about a finding.

    Args:
        finding: The finding.
        done: What was done, in the past tense; None where it failed.
        error: Why it failed, None where it did not.
    """

    finding: Finding
    done: str | None = None
    error: str | None = None

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        keys = ("code", "study", "trial", "path")
        document = self.finding.to_document()
        return {**{key: document[key] for key in keys}, "done": self.done, "error": self.error}


def shown_path(path: Path, project: Path) -> str:
    """Return a path as it is shown: relative to the project folder where it lies inside."""
    return str(path.relative_to(project) if path.is_relative_to(project) else path)
