"""Times as they are stored, naive local ones by Optuna, and as they are shown, RFC 3339 in UTC."""

from __future__ import annotations

import datetime as dt
import time

from optuna.trial import FrozenTrial

from tunectl.studies import attributes


def spent_s(trial: FrozenTrial) -> float:
    """Return the seconds for which a running trial has run, without those of interruptions."""
    if trial.datetime_start is None:
        return 0.0
    return max(0.0, time.time() - trial.datetime_start.timestamp() - _paused_s(trial))


def utc(local: dt.datetime | None) -> str | None:
    """Return one of Optuna's naive local times as RFC 3339 in UTC, None for None."""
    return rfc3339(local.astimezone(dt.UTC)) if local is not None else None


def rfc3339(moment: dt.datetime) -> str:
    """Return an aware time as RFC 3339 in UTC, to the millisecond."""
    text = moment.astimezone(dt.UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def duration_s(trial: FrozenTrial) -> float | None:
    """Return the seconds that a trial ran, without those in which it was interrupted.

    Returns:
        None while it has no end.
    """
    if trial.duration is None:
        return None
    return round(max(0.0, trial.duration.total_seconds() - _paused_s(trial)), 3)


def _paused_s(trial: FrozenTrial) -> float:
    return float(trial.user_attrs.get(attributes.PAUSED_S, 0.0))
