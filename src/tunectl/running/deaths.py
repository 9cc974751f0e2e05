"""What becomes of a trial whose worker died alone: once more, but not for ever.

A death counts that a living coordinator saw, or before which the kernel killed a process for want
of memory, and only as long as the trial comes no further in between. A study that is killed as a
whole, however often, costs no trial; a trial that kills its worker at the same place each time, for
want of memory say, does not do so all night.
"""

from __future__ import annotations

from tunectl.running.aftermath import tell_unheard_end
from tunectl.running.events import TrialEnded
from tunectl.running.worker import Workplace, fail_trial
from tunectl.studies import attributes
from tunectl.studies.budget import Claim, Claims
from tunectl.studies.storage import storage_errors


def note_death(
    place: Workplace, claims: Claims, number: int, reason: str, *, pid: int, counts: bool = True
) -> TrialEnded | None:
    """Count a worker's death against the trial that it ran, and fail a trial that had too many.

    Args:
        place: The study and its surroundings.
        claims: The claims of this process.
        number: The trial's number.
        reason: How the worker ended, a few words.
        pid: The worker's process.
        counts: Whether the death says something about the trial: not if the worker was told to go.

    Returns:
        The trial's end, told to the observers as well; None if it can be taken up again.

    Raises:
        StorageError: the database or the disk failed.
    """
    with storage_errors(place.storage_url), claims.interrupted(number) as claim:
        if claim is None:
            return tell_unheard_end(place, number, pid)
        return _count(place, claim, reason) if counts else None


def note_unseen_death(place: Workplace, claim: Claim) -> TrialEnded | None:
    """Count a death that nobody saw against a trial that was taken up; see `note_death`."""
    return _count(place, claim, "memory ran out, as far as can be told")


def _count(place: Workplace, claim: Claim, reason: str) -> TrialEnded | None:
    where = _progress(claim)
    before = claim.trial.user_attrs.get(attributes.DEATHS, {})
    deaths = before.get("count", 0) + 1 if before.get("where") == where else 1
    claim.trial.set_user_attr(attributes.DEATHS, {"count": deaths, "where": where})
    if deaths <= place.settings.search.study.max_retries:
        return None
    times = "once" if deaths == 1 else f"{deaths} times at the same place"
    return fail_trial(place, claim, f"its worker died {times}; the last time: {reason}")


def _progress(claim: Claim) -> str:
    """Return how far a trial has come: its last reported epoch and its newest checkpoint."""
    trials = claim.trial.study.get_trials(deepcopy=False)
    epoch = max(trials[claim.trial.number].intermediate_values, default=0)
    return f"epoch {epoch}, {claim.directory.newest_checkpoint() or 'no checkpoint'}"
