"""What one run in MLflow is to hold, as plain data: made from the truth, compared by digest.

It imports nothing of MLflow. The same truth gives the same plan, whenever it is made.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]

LONGEST_PARAMETER = 6000
LONGEST_TAG = 5000
LONGEST_KEY = 250


@dataclass(frozen=True)
class Point:
    """One value of a metric.

    Args:
        key: The metric's name.
        value: A finite number.
        time_ms: Milliseconds since 1970.
        step: The epoch, or what else the value belongs to.
    """

    key: str
    value: float
    time_ms: int
    step: int


@dataclass(frozen=True)
class ArtifactFile:
    """A file that the run is to have.

    Args:
        source: Where it is.
        folder: The artifact folder that it goes to, empty for the root.
        mark: What tells it from an earlier state of the same file.
    """

    source: Path
    folder: str
    mark: str


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """One run.

    Args:
        name: Its name.
        status: MLflow's status.
        start_ms: Its start in milliseconds since 1970.
        end_ms: Its end, None while it runs.
        tags: Name → text; may change at any time.
        params: Name → text; MLflow never changes one that is there.
        points: Values of metrics.
        files: Files of the trial's directory.
        texts: Artifact name → text of a file that is made for MLflow.
        has_files: Whether the trial's directory was there to be looked at.
    """

    name: str
    status: Status
    start_ms: int
    end_ms: int | None
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    points: Sequence[Point] = ()
    files: Sequence[ArtifactFile] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    has_files: bool = True

    def digest(self) -> str:
        """Return what is the same for two plans only if they are the same.

        The part before the dot is what the database says, the part after it what the files say; it
        is a dash where the files are out of reach.
        """
        files = [[str(one.folder), one.source.name, one.mark] for one in self.files]
        core = [self.name, self.status, self.start_ms, self.end_ms, self.tags.get(STATE)]
        rest = [dict(self.tags), dict(self.params), files, dict(self.texts)]
        points = [[p.key, p.value, p.time_ms, p.step] for p in self.points]
        return f"{_short(core)}.{_short([*rest, points]) if self.has_files else '-'}"

    def is_mirrored_by(self, digest: str | None) -> bool:
        """Whether a run that was mirrored with such a digest holds all that this plan says.

        Without the files there is nothing to add to what another project folder has mirrored.
        """
        if digest is None or self.has_files:
            return digest == self.digest()
        return digest.partition(".")[0] == self.digest().partition(".")[0]


STUDY = "tunectl.study"
STUDY_ID = "tunectl.study_id"
KIND = "tunectl.kind"
TRIAL = "tunectl.trial"
STATE = "tunectl.state"
DIGEST = "tunectl.mirrored"
MODEL = "tunectl.model"
NOW = "now."
"""Before the name of a setting that the study did not begin with."""


def as_key(name: str) -> str:
    """Return a name that MLflow takes for a parameter or metric."""
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII).strip("/")[:LONGEST_KEY] or "_"


def as_texts(values: Mapping[str, Any], longest: int = LONGEST_PARAMETER) -> dict[str, str]:
    """Return values by dotted key as MLflow takes them."""
    return {as_key(name): as_text(value, longest) for name, value in values.items()}


def as_text(value: Any, longest: int = LONGEST_TAG) -> str:
    """Return a value as text: as JSON has it, apart from quotes around text."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def points_of(values: Mapping[str, Any], time_ms: int, step: int) -> list[Point]:
    """Return a point for each value that is a finite number."""
    return [
        Point(as_key(name), float(value), time_ms, step)
        for name, value in values.items()
        if is_number(value)
    ]


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(value)


def milliseconds(local: dt.datetime) -> int:
    """Return one of Optuna's naive local times, or an aware one, in milliseconds since 1970."""
    return round(local.timestamp() * 1000)


def _short(document: Any) -> str:
    text = json.dumps(document, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
