"""Objectives by name. Finding one imports nothing heavy: PyTorch comes only when a trial runs."""

from __future__ import annotations

from collections.abc import Callable

from tunectl.config.run import CommandRun, OpenRun, Run
from tunectl.config.runs import objective_flaw
from tunectl.errors import ConfigError, Problem
from tunectl.objectives.base import Objective


def _flow_cnn() -> Objective:
    from tunectl.objectives.flow_cnn import FlowCnn

    return FlowCnn()


def _script() -> Objective:
    from tunectl.objectives.script import ScriptObjective

    return ScriptObjective()


def _signal_regressor() -> Objective:
    from tunectl.objectives.signal_regressor import SignalRegressor

    return SignalRegressor()


def _mlp() -> Objective:
    from tunectl.objectives.mlp import MlpObjective

    return MlpObjective()


def _image_classifier() -> Objective:
    from tunectl.objectives.image_classifier import ImageClassifier

    return ImageClassifier()


OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "flow_cnn": _flow_cnn,
    "signal_regressor": _signal_regressor,
    "mlp": _mlp,
    "image_classifier": _image_classifier,
    "script": _script,
}


def _function() -> Objective:
    from tunectl.objectives.function import FunctionObjective

    return FunctionObjective()


def _command() -> Objective:
    from tunectl.objectives.command.objective import CommandObjective

    return CommandObjective()


def find_objective(run: Run) -> Objective:
    """Return the objective that a run names.

    Raises:
        ConfigError: there is none; the message lists those there are.
    """
    if isinstance(run, CommandRun):
        return _command()
    name = run.objective_name
    if name in OBJECTIVES:
        return OBJECTIVES[name]()
    if isinstance(run, OpenRun):
        return _function()
    raise ConfigError([Problem(key="objective", message=str(objective_flaw(name)))])
