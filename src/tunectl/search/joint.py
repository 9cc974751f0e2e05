"""What a sampler proposed for several parameters of a trial at once, kept with the trial.

A trial that is taken up again between two of its parameters gets the rest of the same proposal,
whatever has been stored since: other trials may have ended, and some samplers would now see the
trial itself among the running ones.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial

OWN_KEY = "tunectl:relative_params"
# These two store it themselves, for other workers to see; TPE does as long as it lies to them.
STORED_BY_OPTUNA = {"GPSampler": "gp:relative_params", "TPESampler": "tpe:relative_params"}


def remembered(trial: FrozenTrial, key: str) -> dict[str, Any] | None:
    """Return what was proposed jointly for a trial.

    Args:
        trial: The trial as it was when it was asked for or taken up.
        key: The system attribute that it is kept in.

    Returns:
        Parameter → value, empty if each was proposed alone; None if nothing was proposed yet.
    """
    # A database may bound the length of an attribute, so a long proposal is in several pieces.
    pieces = (trial.system_attrs.get(f"{key}:{index}", "") for index in itertools.count())
    try:
        return dict(json.loads("".join(itertools.takewhile(bool, pieces))))
    except ValueError:  # there is none, or its process died between two pieces of it
        return {} if _is_begun(trial) else None


def remember(study: optuna.Study, trial: FrozenTrial, values: Mapping[str, Any]) -> None:
    """Keep what was proposed jointly for a trial, before any of it becomes a parameter."""
    try:
        text = json.dumps(dict(values))
    except TypeError:
        return  # values of someone else's sampler, which no database keeps
    study._storage.set_trial_system_attr(trial._trial_id, f"{OWN_KEY}:0", text)


def _is_begun(trial: FrozenTrial) -> bool:
    """Whether the trial has a parameter that a sampler was asked for."""
    given = trial.system_attrs.get("fixed_params", {})
    return any(
        name not in given and not distribution.single()
        for name, distribution in trial.distributions.items()
    )
