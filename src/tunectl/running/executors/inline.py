"""The executor that needs nothing: trials run in this process, one after another."""

from __future__ import annotations

from tunectl.running.work import open_claims, work
from tunectl.running.worker import Workplace
from tunectl.studies.budget import Budget, permits_for


class Inline:
    """Runs trials in this process."""

    n_workers = 1

    def run(self, place: Workplace, budget: Budget) -> bool:
        """Run trials here. See `Executor.run`."""
        return work(place, open_claims(place, budget.until, permits_for(budget)))
