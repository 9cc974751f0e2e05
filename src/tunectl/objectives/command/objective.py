"""The objective `{command: […]}`. This module is light; `trial.py` does the work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunectl.config.run import CommandRun, Run
from tunectl.config.search_schema import Search
from tunectl.errors import Problem
from tunectl.objectives.base import Outcome, TrialContext
from tunectl.objectives.command import checks
from tunectl.objectives.own_code import OwnCode


class CommandObjective(OwnCode):
    """Starts a program per trial and takes its metric from what it leaves."""

    def problems(self, run: Run, project: Path) -> list[Problem]:
        """Return why the program cannot be started."""
        return checks.find_problems(run.as_kind(CommandRun), project)

    def replaced(self, run: Run, search: Search) -> Sequence[str]:
        """Return what braces in the command name that will be replaced."""
        return checks.replaced(run.as_kind(CommandRun), search)

    def remarks(self, run: Run, search: Search) -> list[Problem]:
        """Return what in the command is probably not meant."""
        return list(checks.find_remarks(run.as_kind(CommandRun), search))

    def run(self, context: TrialContext) -> Outcome:
        """Run the program to its end; see `Objective.run`.

        Raises:
            TrialPruned, TrialInterrupted, TrialTimedOut: from the context, let through when the
                program has ended.
            ObjectiveError: it cannot be started, failed, or left no metric.
            DivergedError: a metric is not finite.
        """
        from tunectl.objectives.command.trial import run_trial

        return run_trial(context)
