"""The objective `script`: a script of the user's own drives the study, and no worker its trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tunectl.config.run import Run
from tunectl.config.search_schema import Direction
from tunectl.errors import Problem, UsageError
from tunectl.objectives.base import Outcome, TrialContext

DRIVEN_BY = (
    "objective is script: a script of your own runs these trials, with tunectl trial ask and "
    "tunectl trial tell"
)


class ScriptObjective:
    """Has values to propose, and nothing to run."""

    @property
    def metrics(self) -> Mapping[str, Direction] | None:
        """Whatever the script tells."""
        return None

    @property
    def epoch_metrics(self) -> Sequence[str]:
        """Whatever the script reports."""
        return ()

    @property
    def needs_device(self) -> bool:
        """The script chooses its own."""
        return False

    @property
    def leaves_network(self) -> bool:
        """What a script leaves is its own affair."""
        return False

    @property
    def driven_by(self) -> str:
        """The script."""
        return DRIVEN_BY

    def problems(self, run: Run, project: Path) -> list[Problem]:  # noqa: ARG002
        """Return nothing: the script is not known."""
        return []

    def run(self, context: TrialContext) -> Outcome:  # noqa: ARG002
        """Refuse; see `Unstaffed`."""
        raise UsageError(DRIVEN_BY)
