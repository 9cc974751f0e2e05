"""A worker's day: claim after claim until there is nothing more to do or someone says stop.

It is the same wherever the worker runs: in the process of `tune`, in a process that `tune` starts,
or alone as `tunectl worker`.
"""

from __future__ import annotations

import logging
import time

from tunectl.errors import TrialLostError
from tunectl.objectives.base import TrialInterrupted
from tunectl.running.events import TrialClaimed
from tunectl.running.worker import Workplace, run_trial
from tunectl.studies.budget import Claims, Nothing, Permits
from tunectl.studies.claim_lock import claim_lock
from tunectl.studies.storage import storage_errors

log = logging.getLogger(__name__)

POLL_S = 0.5


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
        lock=claim_lock(place.storage_url, name, place.tree.study(name)),
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
    while not place.should_stop():
        with storage_errors(place.storage_url), claims.next() as claim:
            if isinstance(claim, Nothing):
                if not claim.wait:
                    return claim.exhausted
                time.sleep(POLL_S)
                continue
            place.tell(TrialClaimed(number=claim.trial.number))
            try:
                run_trial(place, claim)
            except TrialLostError as error:
                log.warning("trial %d is not ours any more: %s", claim.trial.number, error)
                claims.give_back()
            except TrialInterrupted:
                break
    return False
