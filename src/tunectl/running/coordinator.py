"""A call of `tune`: runs trials until the budget is met, the time is over or someone says stop."""

from __future__ import annotations

import collections
import time
from dataclasses import dataclass, replace

from tunectl.errors import NoTrialSucceededError, StorageError
from tunectl.objectives.base import TrialInterrupted
from tunectl.running.events import StudyStarted, TrialEnded
from tunectl.running.worker import Workplace, rewrite_stale_infos, run_trial
from tunectl.studies.budget import Budget, Claims, Nothing
from tunectl.studies.ranking import best_trial, directions_of, first_value, metrics_of
from tunectl.studies.recovery import claim_lock
from tunectl.studies.storage import storage_errors

# A study whose trials fail one after another is hopeless; stop before the night is over.
MAX_CONSECUTIVE_FAILURES = 5
POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a call brought about.

    Args:
        ended: The trials that this call brought to an end, in that order.
        timed_out: Whether the time ended it.
        exhausted: Whether the sampler had no further point.
    """

    ended: tuple[TrialEnded, ...]
    timed_out: bool
    exhausted: bool = False


def run_study(place: Workplace, budget: Budget, timeout_s: float | None = None) -> RunReport:
    """Run trials until the budget is met.

    Args:
        place: The study and its surroundings.
        budget: How many trials.
        timeout_s: After so many seconds the running trial leaves a checkpoint and stops.

    Returns:
        The trials that were brought to an end.

    Raises:
        NoTrialSucceededError: all trials of this call failed, or too many in a row did.
        StorageError: the database or the disk failed; the running trial can be taken up again.
    """
    deadline = time.monotonic() + timeout_s if timeout_s is not None else float("inf")
    told = place.should_stop
    place = replace(place, should_stop=lambda: told() or time.monotonic() >= deadline)
    claims = _open_claims(place, budget)
    _announce(place, claims)
    ended: list[TrialEnded] = []
    exhausted = False
    while not place.should_stop():
        with storage_errors(place.storage_url), claims.next() as claim:
            if isinstance(claim, Nothing):
                if not claim.wait:
                    exhausted = claim.exhausted
                    break
                time.sleep(POLL_S)
                continue
            try:
                ended.append(run_trial(place, claim))
            except TrialInterrupted:
                break
        _stop_if_hopeless(ended)
    if not place.should_stop():
        _check_success(ended)
    timed_out = time.monotonic() >= deadline
    return RunReport(ended=tuple(ended), timed_out=timed_out, exhausted=exhausted)


def _announce(place: Workplace, claims: Claims) -> None:
    """Make what the last call left true, and tell the observers what is to come."""
    with storage_errors(place.storage_url):
        rewrite_stale_infos(place)
        planned, best = claims.remaining(), best_trial(place.study)
    place.tell(
        StudyStarted(
            study=place.study.study_name,
            metrics=metrics_of(place.study),
            directions=directions_of(place.study),
            planned=planned,
            best_value=first_value(best) if best else None,
        )
    )


def _open_claims(place: Workplace, budget: Budget) -> Claims:
    lock_file = claim_lock(place.storage_url, place.tree.study(place.study.study_name))
    place.tree.make_outputs_root()  # find out now, not after a trial has been asked for
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write to {error.filename}: {error.strerror}") from error
    return Claims(
        place.study,
        budget,
        project=place.tree.project,
        outputs_root=place.tree.outputs_root,
        lock_file=lock_file,
    )


def _stop_if_hopeless(ended: list[TrialEnded]) -> None:
    last = ended[-MAX_CONSECUTIVE_FAILURES:]
    if len(last) == MAX_CONSECUTIVE_FAILURES and all(one.state == "failed" for one in last):
        raise NoTrialSucceededError(
            f"stopped: {len(last)} trials failed one after another\n{_reasons(last)}"
        )


def _check_success(ended: list[TrialEnded]) -> None:
    if ended and all(one.state == "failed" for one in ended):
        raise NoTrialSucceededError(f"no trial succeeded\n{_reasons(ended)}")


def _reasons(failed: list[TrialEnded]) -> str:
    counts = collections.Counter(one.error or "unknown" for one in failed)
    lines = [f"  {count} × {reason}" for reason, count in counts.most_common()]
    return "\n".join(
        [*lines, f"  the last one's log: {failed[-1].directory / 'logs' / 'trial.log'}"]
    )
