"""What a `tune` would do, without a trial: nothing is created, and no database is opened."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import RandomSampler

from tunectl.config.schema import Settings
from tunectl.config.section import Scalar
from tunectl.errors import Problem
from tunectl.objectives.registry import find_objective
from tunectl.running.plan_warnings import find_warnings, rehearsal_warnings
from tunectl.running.rehearsal import Estimate, Rehearsals, estimate, rehearse, satisfies
from tunectl.running.trial_config import configure_trial
from tunectl.search.space import SearchSpace

SAMPLES = 5
SAMPLES_FOR_CONSTRAINTS = 100
RARE = 0.1


@dataclass(frozen=True, kw_only=True)
class SpaceSize:
    """How large a search space is.

    Args:
        n_points: Different points, conditions left out of the count; None if it is continuous.
        by_type: Number of parameters of each type.
        conditions: Dotted key → the condition of each conditional parameter.
    """

    n_points: int | None
    by_type: Mapping[str, int]
    conditions: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a `tune` would do.

    Args:
        space: How large the search space is.
        samples: Configurations that a random search with the study's seed would propose.
        rehearsal: The extreme configurations, tried out; None if they could not be.
        estimate: What the budget may take, likewise.
        warnings: What works but is probably not meant; keys are set.
    """

    space: SpaceSize
    samples: tuple[Mapping[str, Scalar], ...]
    rehearsal: Rehearsals | None
    estimate: Estimate | None
    warnings: tuple[Problem, ...]


def make_plan(settings: Settings, project: Path) -> Plan:
    """Work out what a `tune` would do.

    Args:
        settings: What the user wrote; they and their data are valid.
        project: Absolute path of the project folder.

    Raises:
        DeviceError: the device asked for is not on this machine.
    """
    objective = find_objective(settings.run)
    device = settings.surroundings.runtime.device
    if objective.needs_device:
        from tunectl.training.device import resolve_device

        device = resolve_device(device)
    rehearsals = rehearse(settings, objective, project, device)
    warnings = [
        *find_warnings(settings, objective, project),
        *_rarely_satisfied(settings),
        *(rehearsal_warnings(rehearsals) if rehearsals else ()),
    ]
    space = SearchSpace(settings.search.params_to_tune)
    return Plan(
        space=measure_space(space),
        samples=tuple(sample(space, settings.search.study.seed, SAMPLES)),
        rehearsal=rehearsals,
        estimate=estimate(settings, rehearsals) if rehearsals else None,
        warnings=tuple(warnings),
    )


def measure_space(space: SearchSpace) -> SpaceSize:
    """Return how large a search space is."""
    size = space.size()
    return SpaceSize(
        n_points=None if math.isinf(size) else int(size),
        by_type=dict(sorted(Counter(spec.type for spec in space.specs.values()).items())),
        conditions={key: spec.when for key, spec in space.specs.items() if spec.when},
    )


def sample(space: SearchSpace, seed: int, count: int) -> list[dict[str, Scalar]]:
    """Return random configurations, from a study that lives in memory only.

    Args:
        space: The search space.
        seed: Of the sampler; the same seed gives the same configurations.
        count: How many.
    """
    study = optuna.create_study(sampler=RandomSampler(seed=seed))
    return [space.suggest(study.ask()) for _ in range(count)]


def _rarely_satisfied(settings: Settings) -> list[Problem]:
    """Return a warning if the constraints leave hardly anything of the space."""
    if not settings.search.constraints:
        return []
    objective = find_objective(settings.run)
    space = SearchSpace(settings.search.params_to_tune)
    drawn = sample(space, settings.search.study.seed, SAMPLES_FOR_CONSTRAINTS)
    kept = sum(satisfies(settings, configure_trial(settings, objective, 0, one)) for one in drawn)
    if kept > RARE * len(drawn):
        return []
    message = f"only {kept} of {len(drawn)} random configurations satisfy them"
    return [Problem(key="constraints", message=message)]
