"""A trial's context that does as it is told, for tests of objectives."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import TrialConfig
from tunectl.errors import StorageError
from tunectl.objectives.base import TrialInterrupted, TrialPruned


@dataclass
class Told:
    """A trial's context.

    Args:
        stop_at: The epoch whose report ends the trial.
        stop_at_check: The question whether to stop that is answered with yes.
        stop_with: How it ends then; by default pruned by a report, interrupted by a check.
        fail_at_settle: The time of storing reports at which the database is gone.
        checks: How often it was asked whether to stop.
        settles: How often reports were to be stored.
        settled: How many reports were, the last time.
    """

    config: TrialConfig
    project: Path
    directory: TrialDir
    device: str = "cpu"
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("test.objective"))
    stop_at: int | None = None
    stop_at_check: int | None = None
    stop_with: type[BaseException] | None = None
    fail_at_settle: int | None = None
    checks: int = 0
    settles: int = 0
    settled: int = 0
    reported: dict[int, Mapping[str, float]] = field(default_factory=dict)

    def check_stop(self) -> None:
        """Stop where told to."""
        self.checks += 1
        if self.checks == self.stop_at_check:
            raise (self.stop_with or TrialInterrupted)(f"check {self.checks}")

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Remember what an epoch reached."""
        self.reported[epoch] = metrics
        if epoch == self.stop_at:
            raise (self.stop_with or TrialPruned)(f"epoch {epoch}")

    def trained(self) -> None:
        """It has no time limit."""

    def settle(self) -> None:
        """Nothing is held back here; it may fail."""
        self.settles += 1
        self.settled = len(self.reported)
        if self.settles == self.fail_at_settle:
            raise StorageError("the database is gone")


def context_for(
    project: Path, run: Mapping[str, Any], metric: str, *, outputs: str = "outputs", **told: Any
) -> Told:
    """Return the context of a trial in a directory of its own."""
    direction = "maximize" if metric in ("val_acc", "val_f1", "val_r2") else "minimize"
    sections: dict[str, Any] = {
        **run,
        "study": {"name": "s", "metric": metric, "direction": direction, "values": [metric]},
        "runtime": {"threads_per_worker": 1},
        "number": 0,
        "parameters": {},
    }
    config = TrialConfig.model_validate(sections)
    start = dt.datetime(2026, 1, 31, 12, 0, 0)
    directory = TrialDir.create(project / outputs, start)
    return Told(config=config, project=project, directory=directory, **told)
