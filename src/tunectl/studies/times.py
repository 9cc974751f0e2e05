"""Times as they are stored, naive local ones by Optuna, and as they are shown, RFC 3339 in UTC."""

from __future__ import annotations

import datetime as dt

from optuna.trial import FrozenTrial

from tunectl.studies import attributes


def utc(local: dt.datetime | None) -> str | None:
    """Return one of Optuna's naive local times as RFC 3339 in UTC, None for None."""
    return rfc3339(local.astimezone(dt.UTC)) if local is not None else None


def rfc3339(time: dt.datetime) -> str:
    """Return an aware time as RFC 3339 in UTC, to the millisecond."""
    text = time.astimezone(dt.UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def duration_s(trial: FrozenTrial) -> float | None:
    """Return the seconds that a trial ran, without those in which it was interrupted.

    Returns:
        None while it has no end.
    """
    if trial.duration is None:
        return None
    paused_s = float(trial.user_attrs.get(attributes.PAUSED_S, 0.0))
    return round(max(0.0, trial.duration.total_seconds() - paused_s), 3)
