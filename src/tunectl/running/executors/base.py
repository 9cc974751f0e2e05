"""What an executor is: it brings a call's trials to their end, somewhere."""

from __future__ import annotations

from typing import Protocol

from tunectl.running.worker import Workplace
from tunectl.studies.budget import Budget


class Executor(Protocol):
    """One way to run trials."""

    @property
    def n_workers(self) -> int:
        """Trials that run at the same time."""

    def run(self, place: Workplace, budget: Budget) -> bool:
        """Run trials until the budget is met or the workplace says stop.

        Args:
            place: The study and its surroundings; its observers are told of every trial.
            budget: How many trials.

        Returns:
            Whether the sampler had no further point.

        Raises:
            StorageError: the database or the disk failed; running trials can be taken up again.
            WorkerError: workers die before they have begun a trial.
        """
