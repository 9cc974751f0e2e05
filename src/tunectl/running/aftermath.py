"""What a worker leaves undone that dies right after its trial has ended: telling and writing it."""

from __future__ import annotations

import datetime as dt
import platform

from optuna.trial import FrozenTrial

from tunectl.running.disk import disk_errors
from tunectl.running.events import TrialEnded
from tunectl.running.trial_end import describe_end
from tunectl.running.worker import Workplace
from tunectl.studies.claimant import worker_of
from tunectl.studies.directories import own_directory
from tunectl.studies.trial_info import describe_again

# How many trials of an earlier call may have been ending when it died.
RECENT = 20


def rewrite_stale_infos(place: Workplace) -> None:
    """Make the last trials' `trial_info.yaml` true again where a worker died before writing it."""
    finished = [one for one in place.study.get_trials(deepcopy=False) if one.state.is_finished()]
    latest = sorted(finished, key=lambda one: one.datetime_complete or dt.datetime.min)
    for trial in latest[-RECENT:]:
        _rewrite_if_stale(place, trial)


def tell_unheard_end(place: Workplace, number: int, pid: int) -> TrialEnded | None:
    """Tell the observers of a trial whose worker died between storing its end and telling it.

    Args:
        place: The study and its surroundings.
        number: The trial's number.
        pid: The worker's process, on this machine.

    Returns:
        What they are told; None for a trial that has not ended, or that another worker has ended.
    """
    trial = place.stored(number)
    directory = own_directory(place.study.study_name, trial, place.tree.project)
    is_ours = worker_of(trial) == (platform.node(), pid)
    if not trial.state.is_finished() or directory is None or not is_ours:
        return None
    _rewrite_if_stale(place, trial)
    ended = describe_end(place.study, trial, directory)
    place.tell(ended)
    return ended


def _rewrite_if_stale(place: Workplace, trial: FrozenTrial) -> None:
    directory = own_directory(place.study.study_name, trial, place.tree.project)
    if directory is None:
        return
    written = directory.read_info()
    if written.get("state") not in (None, "running"):
        return
    with directory.locked() as free, disk_errors():
        if free:  # else its worker is about to write it
            directory.write_info(describe_again(trial, place.settings, written))
            directory.tidy()
