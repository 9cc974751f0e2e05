"""A trial's context that does as it is told, for tests of objectives that train networks."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import TrialConfig
from tunectl.objectives.base import TrialInterrupted, TrialPruned


@dataclass
class Told:
    """A trial's context."""

    config: TrialConfig
    project: Path
    directory: TrialDir
    device: str = "cpu"
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("test.networks"))
    prune_at: int | None = None
    stop_at_check: int | None = None
    checks: int = 0
    reported: dict[int, Mapping[str, float]] = field(default_factory=dict)

    def check_stop(self) -> None:
        """Stop where told to."""
        self.checks += 1
        if self.checks == self.stop_at_check:
            raise TrialInterrupted(f"check {self.checks}")

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Remember what an epoch reached."""
        self.reported[epoch] = metrics
        if epoch == self.prune_at:
            raise TrialPruned(f"epoch {epoch}")

    def trained(self) -> None:
        """It has no time limit."""

    def settle(self) -> None:
        """Nothing is held back here."""


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
