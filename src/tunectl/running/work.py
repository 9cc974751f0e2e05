"""A worker's day: claim after claim until there is nothing more to do or someone says stop.

It is the same wherever the worker runs: in the process of `tune`, in a process that `tune` starts,
or alone as `tunectl worker`.
"""

from __future__ import annotations

import logging
import platform
import time

from tunectl.errors import TrialLostError
from tunectl.garbage import collect_as_usual
from tunectl.objectives.base import TrialInterrupted
from tunectl.running.deaths import note_unseen_death
from tunectl.running.events import AwaitedTrial, TrialClaimed, TrialsAwaited
from tunectl.running.worker import Workplace, run_trial
from tunectl.studies.budget import Claim, Claims, Nothing, Permits
from tunectl.studies.claim_lock import claim_lock
from tunectl.studies.recovery import RunningTrial, Standing
from tunectl.studies.server_lock import LockBusyError
from tunectl.studies.storage import storage_errors

log = logging.getLogger(__name__)

POLL_S = 0.5
# Nobody needs to be told of the moments that most trials of others take to end.
POLLS_BEFORE_A_WORD = 10


def open_claims(place: Workplace, until: int | None, permits: Permits) -> Claims:
    """Return the claims of this process on the study.

    Args:
        place: The study and its surroundings.
        until: Finished trials that the study is to have, None to leave the count to the permits.
        permits: Leave to run trials.

    Raises:
        StorageError: the folder of the trials cannot be written.
    """
    name = place.study.study_name
    place.tree.make_outputs_root()  # find out now, not after a trial has been asked for
    return Claims(
        place.study,
        until=until,
        permits=permits,
        project=place.tree.project,
        outputs_root=place.tree.outputs_root,
        lock=claim_lock(place.storage_url, name, place.tree.study(name), told=place.should_stop),
    )


def work(place: Workplace, claims: Claims) -> bool:
    """Run trials until none is left to claim or the workplace says stop.

    Args:
        place: The study and its surroundings.
        claims: What may be claimed.

    Returns:
        Whether the sampler has no further point.

    Raises:
        StorageError: the database or the disk failed; the running trial can be taken up again.
    """
    collect_as_usual()
    patience = _Patience(place, claims)
    while not place.should_stop():
        try:
            with storage_errors(place.storage_url), claims.next() as claim:
                if not isinstance(claim, Nothing):
                    _run(place, claims, claim)
                elif claim.wait:
                    patience.wait()
                else:
                    return claim.exhausted
        except TrialInterrupted:
            break
        except TrialLostError as error:  # its own worker came back while it was being taken up
            log.warning("a trial was ended by another process: %s", error)
        except LockBusyError:
            if not place.should_stop():
                raise
    return False


def _run(place: Workplace, claims: Claims, claim: Claim) -> None:
    place.tell(TrialClaimed(number=claim.trial.number))
    try:
        if claim.oom_killed and note_unseen_death(place, claim) is not None:
            return
        run_trial(place, claim)
    except TrialLostError as error:
        log.warning("trial %d is not ours any more: %s", claim.trial.number, error)
        claims.give_back()


class _Patience:
    """Waits for trials of other workers, and says which, should it take a while.

    Args:
        place: The study and its surroundings.
        claims: What may be claimed.
    """

    def __init__(self, place: Workplace, claims: Claims) -> None:
        self._place = place
        self._claims = claims
        self._polls = 0
        self._said: tuple[int, ...] = ()

    def wait(self) -> None:
        """Let some time go by."""
        time.sleep(POLL_S)
        self._polls += 1
        if self._polls % POLLS_BEFORE_A_WORD == 0:
            self._say()

    def _say(self) -> None:
        awaited = tuple(_awaited(one) for one in self._claims.awaited() if not one.is_interrupted)
        numbers = tuple(one.number for one in awaited)
        if numbers and numbers != self._said:
            self._said = numbers
            self._place.tell(TrialsAwaited(trials=awaited))


def _awaited(found: RunningTrial) -> AwaitedTrial:
    claimed_by = found.claimed_by
    is_here = claimed_by is None or claimed_by.host == platform.node()
    return AwaitedTrial(
        number=found.trial.number,
        host=None if is_here or claimed_by is None else claimed_by.host,
        silent_s=found.silent_s,
        is_seen=found.is_locked,
        is_outside=found.standing is Standing.OUTSIDE,
    )
