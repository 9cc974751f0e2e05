"""A trial's own configuration: everything that it needs to be run, and to be run again."""

from __future__ import annotations

from collections.abc import Mapping

from tunectl.config.schema import Settings, TrialConfig
from tunectl.config.search_schema import Direction
from tunectl.config.section import Scalar
from tunectl.objectives.base import Objective


def configure_trial(
    settings: Settings, objective: Objective, number: int, parameters: Mapping[str, Scalar]
) -> TrialConfig:
    """Return a trial's own configuration: the run's, with the proposed parameters merged in.

    Args:
        settings: What the user wrote.
        objective: What the trial runs.
        number: The trial's number.
        parameters: Dotted key → proposed value.
    """
    tree = settings.run.model_dump()
    for key, value in parameters.items():
        *sections, leaf = key.split(".")
        section = tree
        for name in sections:
            section = section.setdefault(name, {})
        section[leaf] = value
    metric, direction = epoch_metric(settings, objective)
    tree["study"] = {
        "name": settings.search.study.name,
        "metric": metric,
        "direction": direction,
        "values": settings.search.study.metric,
    }
    tree["runtime"] = settings.surroundings.runtime.model_dump()
    tree["failures"] = settings.search.failures.model_dump()
    return TrialConfig.model_validate({**tree, "number": number, "parameters": dict(parameters)})


def epoch_metric(settings: Settings, objective: Objective) -> tuple[str, Direction]:
    """Return the metric that says which epoch is best, and the direction in which it is better.

    It is the first of the study's metrics that is known every epoch, else the objective's default.
    """
    study = settings.search.study
    for metric, direction in zip(study.metric, study.directions, strict=True):
        if metric in objective.epoch_metrics:
            return metric, direction
    if objective.metrics is None:
        return study.metric[0], study.directions[0]
    default = objective.epoch_metrics[0]
    return default, objective.metrics[default]


def values_of(config: TrialConfig) -> dict[str, Scalar]:
    """Return every single value of a trial's sections by its dotted key."""
    return config.run.values()
