"""Which `params.yaml` goes with which objective.

A model takes as long to make as a short command has altogether, so each is imported when asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from tunectl.config.run import CommandRun, OpenRun, Run, ScriptRun
from tunectl.config.values import describe


class _Runs(Mapping[str, type[Run]]):
    """A model for each name, imported when it is looked up."""

    def __init__(self, models: Mapping[str, Callable[[], type[Run]]]) -> None:
        self._models = models

    def __getitem__(self, objective: str) -> type[Run]:
        return self._models[objective]()

    def __contains__(self, objective: object) -> bool:
        return objective in self._models  # without making it

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)


def _flow_cnn() -> type[Run]:
    from tunectl.config.signal_run import TrainingRun

    return TrainingRun


def _signal_regressor() -> type[Run]:
    from tunectl.config.signal_run import SignalRun

    return SignalRun


def _mlp() -> type[Run]:
    from tunectl.config.mlp_run import MlpRun

    return MlpRun


def _image_classifier() -> type[Run]:
    from tunectl.config.image_run import ImageRun

    return ImageRun


RUNS: Mapping[str, type[Run]] = _Runs(
    {
        "flow_cnn": _flow_cnn,
        "signal_regressor": _signal_regressor,
        "mlp": _mlp,
        "image_classifier": _image_classifier,
        "script": lambda: ScriptRun,
    }
)
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
    name = str(objective)
    return RUNS[name if name in RUNS else DEFAULT_OBJECTIVE]


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
