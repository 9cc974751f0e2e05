"""A call of `tune`: runs trials until the budget is met, the time is over or someone says stop."""

from __future__ import annotations

import collections
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunectl.errors import NoTrialSucceededError
from tunectl.running.aftermath import rewrite_stale_infos
from tunectl.running.events import Event, StudyStarted, TrialEnded
from tunectl.running.executors.base import Executor
from tunectl.running.executors.inline import Inline
from tunectl.running.worker import Workplace
from tunectl.studies.budget import Budget, planned_trials
from tunectl.studies.ranking import best_trial, directions_of, first_value, metrics_of
from tunectl.studies.storage import storage_errors


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a call brought about.

    Args:
        ended: The trials that this call brought to an end, in that order.
        timed_out: Whether the time ended it before the budget was met.
        exhausted: Whether the sampler had no further point.
    """

    ended: tuple[TrialEnded, ...]
    timed_out: bool
    exhausted: bool = False


def run_study(
    place: Workplace,
    budget: Budget,
    timeout_s: float = math.inf,
    executor: Executor | None = None,
) -> RunReport:
    """Run trials until the budget is met.

    Args:
        place: The study and its surroundings.
        budget: How many trials.
        timeout_s: After so many seconds running trials leave a checkpoint and stop.
        executor: What runs them; by default this process does.

    Returns:
        The trials that were brought to an end.

    Raises:
        NoTrialSucceededError: all trials of this call failed, or too many in a row did.
        StorageError: the database or the disk failed; running trials can be taken up again.
    """
    deadline = time.monotonic() + timeout_s
    executor = executor or Inline()
    tally = Tally(place.settings.search.failures.max_consecutive_failures)
    told = place.should_stop

    def should_stop() -> bool:
        return told() or tally.is_hopeless or time.monotonic() >= deadline

    place = replace(place, should_stop=should_stop, observers=(*place.observers, tally))
    _announce(place, budget, executor.n_workers)
    exhausted = executor.run(place, budget)
    tally.check(stopped_early=should_stop())
    is_over = time.monotonic() >= deadline and not _is_met(place, budget, len(tally.ended))
    return RunReport(ended=tuple(tally.ended), timed_out=is_over, exhausted=exhausted)


class Tally:
    """Counts how trials end, as an observer, and knows when there is no hope.

    Args:
        most_failures: Failed trials in a row that are too many; None for any number.
    """

    def __init__(self, most_failures: int | None) -> None:
        self.ended: list[TrialEnded] = []
        self._most_failures = most_failures

    def __call__(self, event: Event) -> None:
        """Take down the end of a trial."""
        if isinstance(event, TrialEnded):
            self.ended.append(event)

    @property
    def is_hopeless(self) -> bool:
        """Whether the last trials all failed: stop before the night is over."""
        if self._most_failures is None or len(self.ended) < self._most_failures:
            return False
        return all(one.state == "failed" for one in self.ended[-self._most_failures :])

    def check(self, *, stopped_early: bool) -> None:
        """Raise if nothing came of the call.

        Args:
            stopped_early: Whether it was stopped, so that its trials say little.

        Raises:
            NoTrialSucceededError: too many trials failed in a row, or all did.
        """
        if self.is_hopeless:
            last = self.ended[-(self._most_failures or 0) :]
            raise NoTrialSucceededError(f"stopped: {_count_text(len(last))}\n{_reasons(last)}")
        if not stopped_early and self.ended and all(one.state == "failed" for one in self.ended):
            raise NoTrialSucceededError(f"no trial succeeded\n{_reasons(self.ended)}")


def _is_met(place: Workplace, budget: Budget, ended: int) -> bool:
    """Whether a call has done all that it was to do."""
    if budget.n_trials is not None:
        return ended >= budget.n_trials
    with storage_errors(place.storage_url):
        return planned_trials(place.study, budget) == 0


def _announce(place: Workplace, budget: Budget, n_workers: int) -> None:
    """Make what the last call left true, and tell the observers what is to come."""
    with storage_errors(place.storage_url):
        rewrite_stale_infos(place)
        planned, best = planned_trials(place.study, budget), best_trial(place.study)
    place.tell(
        StudyStarted(
            study=place.study.study_name,
            metrics=metrics_of(place.study),
            directions=directions_of(place.study),
            planned=planned,
            best_value=first_value(best) if best else None,
            workers=n_workers,
            counts_failed=budget.n_trials is not None,
        )
    )


def _count_text(count: int) -> str:
    return "1 trial failed" if count == 1 else f"{count} trials failed one after another"


def _reasons(failed: Sequence[TrialEnded]) -> str:
    counts = collections.Counter(one.error or "unknown" for one in failed)
    lines = [f"  {count} × {reason}" for reason, count in counts.most_common()]
    return "\n".join(
        [*lines, f"  the last one's log: {failed[-1].directory / 'logs' / 'trial.log'}"]
    )
