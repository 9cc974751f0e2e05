"""What a program is told in its environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from tunectl.config.section import Scalar
from tunectl.objectives.command.template import text_of

PARAMETER = "TUNECTL_PARAM_"
VARIABLES = (
    "TUNECTL_PROJECT",
    "TUNECTL_STUDY",
    "TUNECTL_NUMBER",
    "TUNECTL_SEED",
    "TUNECTL_DEVICE",
    "TUNECTL_TRIAL_DIR",
    "TUNECTL_CHECKPOINT_DIR",
    "TUNECTL_PARAMS_FILE",
    "TUNECTL_STOP_FILE",
    "TUNECTL_RESUMED",
)
"""Those that every program gets, beside one for each value of its run."""


def variable_of(key: str) -> str:
    """Return the variable of a value: `training.learning_rate` → `…_TRAINING_LEARNING_RATE`.

    The key in capitals; whatever is neither a letter from A to Z nor a digit becomes `_`.
    """
    return PARAMETER + re.sub(r"[^A-Za-z0-9]", "_", key).upper()


def told_of(
    own: Mapping[str, Scalar], values: Mapping[str, Scalar], *, resumed: bool
) -> dict[str, str]:
    """Return the variables that tell of a trial.

    Args:
        own: What braces may name beside the run's values; see `template.OWN`.
        values: The run's single values by dotted key. One that is null gives an empty variable.
        resumed: Whether an earlier attempt at this trial was interrupted.
    """
    told = {f"TUNECTL_{name.upper()}": text_of(value) for name, value in own.items()}
    told["TUNECTL_RESUMED"] = str(int(resumed))
    for key, value in values.items():
        told[variable_of(key)] = "" if value is None else text_of(value)
    return told


def environment_of(told: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Return all environment variables of a program.

    Args:
        told: Those that tell of the trial.
        more: Those that the user's configuration sets; they go before all others.
    """
    left = {name: text for name, text in os.environ.items() if not name.startswith(PARAMETER)}
    return {**left, **told, **more}
