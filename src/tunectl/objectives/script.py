"""The objective `script`: a script of the user's own drives the study, and no worker its trials."""

from __future__ import annotations

from pathlib import Path

from tunectl.config.run import Run
from tunectl.errors import Problem, UsageError
from tunectl.objectives.base import Outcome, TrialContext
from tunectl.objectives.own_code import OwnCode

DRIVEN_BY = (
    "objective is script: a script of your own runs these trials, with tunectl trial ask and "
    "tunectl trial tell"
)


class ScriptObjective(OwnCode):
    """Has values to propose, and nothing to run."""

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
