"""Which `params.yaml` goes with which objective."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from tunectl.config.image_run import ImageRun
from tunectl.config.mlp_run import MlpRun
from tunectl.config.run import CommandRun, OpenRun, Run, ScriptRun
from tunectl.config.signal_run import SignalRun, TrainingRun
from tunectl.config.values import describe

RUNS: Mapping[str, type[Run]] = {
    "flow_cnn": TrainingRun,
    "signal_regressor": SignalRun,
    "mlp": MlpRun,
    "image_classifier": ImageRun,
    "script": ScriptRun,
}
"""Objective of the program's own → the model of its `params.yaml`."""

DEFAULT_OBJECTIVE = "flow_cnn"


def run_model(objective: object) -> type[Run]:
    """Return the model of `params.yaml` for what it says under `objective`.

    Args:
        objective: A name, `module:function`, or the mapping of a command; anything else gets the
            default's model, for whoever validates it to refuse.
    """
    if isinstance(objective, Mapping):
        return CommandRun
    if isinstance(objective, str) and ":" in objective:
        return OpenRun
    return RUNS.get(str(objective), RUNS[DEFAULT_OBJECTIVE])


def objective_flaw(objective: object) -> str | None:
    """Return what is wrong with what stands under `objective`, as far as its form shows.

    Args:
        objective: As written; interpolations are not resolved.
    """
    if isinstance(objective, Mapping):
        return None
    ways = f"{', '.join(sorted(RUNS))}, a function of your own as module:function, or a command"
    if not isinstance(objective, str):
        return f"{describe(objective)} is no objective; valid: {ways}"
    if "${" in objective:
        return "has to be written out: it decides which keys there may be"
    if objective in RUNS or ":" in objective:
        return None
    near = difflib.get_close_matches(objective.lower(), RUNS, n=1)
    module, dot, function = objective.rpartition(".")
    if dot and function == "py":
        near = [f"{module}:run"]
    elif dot:
        near = [f"{module}:{function}"]
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown objective {objective!r}; {hint}valid: {ways}"


def _as_run(values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    return run_model(values.get("objective", DEFAULT_OBJECTIVE)).model_validate(dict(values))


AnyRun = Annotated[SerializeAsAny[Run], BeforeValidator(_as_run)]
"""A run of whatever kind its objective makes it."""
