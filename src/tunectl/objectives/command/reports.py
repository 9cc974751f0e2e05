"""What a program has reported, step by step, kept on disk for whoever takes the trial up."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunectl.objectives.base import TAKEN
from tunectl.objectives.command.protocol import Report


class Reports:
    """The reports of one trial, those of an interrupted attempt included.

    Args:
        file: Where they are kept, a line of JSON per step.
        metric: The study's metric.
        maximize: Whether more of it is better.
    """

    def __init__(self, file: Path, metric: str, *, maximize: bool) -> None:
        self._file = file
        self._metric = metric
        self._choose = max if maximize else min
        self._by_step: dict[int, Mapping[str, float | None]] = {}

    def recall(self) -> None:
        """Read what an earlier attempt reported; a line that was cut short is passed over."""
        try:
            lines = self._file.read_text(encoding="utf-8").splitlines()
        except OSError:
            return
        for line in lines:
            try:
                values = json.loads(line)
                self._by_step.setdefault(int(values.pop("step")), values)
            except (ValueError, TypeError, KeyError, AttributeError):
                continue

    def add(self, report: Report) -> None:
        """Take down a report; what a step reported first is what stays, as in the database."""
        if report.step in self._by_step:
            return
        finite = {
            name: value if math.isfinite(value) else None for name, value in report.metrics.items()
        }
        self._by_step[report.step] = finite
        line = json.dumps({"step": report.step, **finite})
        with self._file.open("a+b") as file:
            if file.tell():  # the last line may have been cut short
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else f"\n{line}"
            file.write(f"{line}\n".encode())

    @property
    def steps(self) -> list[int]:
        """The steps, ascending."""
        return sorted(self._by_step)

    def at(self, step: int) -> dict[str, float]:
        """Return what a step reported, without what was not finite."""
        return {name: one for name, one in self._by_step[step].items() if one is not None}

    @property
    def histories(self) -> dict[str, list[float | None]]:
        """Each metric, one value per step; None where a step did not report it."""
        names = dict.fromkeys(name for values in self._by_step.values() for name in values)
        return {name: [self._by_step[step].get(name) for step in self.steps] for name in names}

    @property
    def best_step(self) -> int | None:
        """The step whose metric is best, the first of several; None without a report."""
        values = {
            step: value
            for step in self.steps
            if (value := self._by_step[step].get(self._metric)) is not None
        }
        best = self._choose(values.values(), default=None)
        return next((step for step, value in values.items() if value == best), None)

    def document(self, metrics: Mapping[str, float]) -> dict[str, Any]:
        """Return what `metrics.json` says of the trial.

        Args:
            metrics: What it reached in the end; empty where it did not come to that.
        """
        return {
            "best_epoch": self.best_step,
            "epochs": len(self.steps),
            **(metrics or self.best),
            "histories": self.histories,
            "steps": self.steps,
        }

    @property
    def best(self) -> dict[str, float]:
        """What the best step reported."""
        if self.best_step is None:
            return {}
        return {name: one for name, one in self.at(self.best_step).items() if name not in TAKEN}
