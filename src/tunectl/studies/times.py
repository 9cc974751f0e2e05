"""Times as they are stored, naive local ones by Optuna, and as they are shown, RFC 3339 in UTC."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING

from tunectl.studies import attributes

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tunectl.studies.records import Told


def spent_s(trial: FrozenTrial) -> float:
    """Return the seconds for which a running trial has run, without those of interruptions."""
    if trial.datetime_start is None:
        return 0.0
    return max(0.0, time.time() - trial.datetime_start.timestamp() - _paused_s(trial))


def utc(moment: dt.datetime | None) -> str | None:
    """Return an aware time, or one of Optuna's naive local ones, as RFC 3339 in UTC.

    Returns:
        None for None.
    """
    return rfc3339(moment) if moment is not None else None


def rfc3339(moment: dt.datetime) -> str:
    """Return a time as RFC 3339 in UTC, to the millisecond; a naive one is local."""
    text = moment.astimezone(dt.UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def duration_s(trial: Told) -> float | None:
    """Return the seconds that a trial ran, without those in which it was interrupted.

    Returns:
        None while it has no end.
    """
    if trial.datetime_start is None or trial.datetime_complete is None:
        return None
    # Through UTC: between naive local times lies an hour too much or too little when clocks change.
    took = trial.datetime_complete.astimezone(dt.UTC) - trial.datetime_start.astimezone(dt.UTC)
    return round(max(0.0, took.total_seconds() - _paused_s(trial)), 3)


def _paused_s(trial: Told) -> float:
    return float(trial.user_attrs.get(attributes.PAUSED_S, 0.0))
