"""Which `params.yaml` goes with which objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from tunectl.config.image_run import ImageRun
from tunectl.config.mlp_run import MlpRun
from tunectl.config.run import CommandRun, OpenRun, Run, ScriptRun
from tunectl.config.signal_run import SignalRun, TrainingRun

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


def _as_run(values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    return run_model(values.get("objective", DEFAULT_OBJECTIVE)).model_validate(dict(values))


AnyRun = Annotated[SerializeAsAny[Run], BeforeValidator(_as_run)]
"""A run of whatever kind its objective makes it."""
