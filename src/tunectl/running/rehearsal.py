"""The corners of a search space tried out, and what a whole budget of such trials may take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunectl.config.constraints import parse_constraint
from tunectl.config.schema import Settings, TrialConfig
from tunectl.config.section import Scalar
from tunectl.errors import ObjectiveError
from tunectl.objectives.base import ModelSize, Objective, Rehearsable, Rehearsal
from tunectl.running.corners import bounds, corners
from tunectl.running.slots import with_threads
from tunectl.running.trial_config import configure_trial, values_of
from tunectl.search.samplers import VISITS_ALL
from tunectl.search.space import SearchSpace

# Smallest, largest, slowest and quickest: which end of network, batch and signals each is at.
_SIGNS = ((-1, -1, -1), (1, 1, 1), (1, -1, 1), (-1, 1, -1))


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One configuration that was tried out.

    Args:
        parameters: Its values of the parameters that decide its size.
        size: What it asks of the machine.
        result: What was measured; None if it failed.
        error: Why it failed.
    """

    parameters: Mapping[str, Scalar]
    size: ModelSize
    result: Rehearsal | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Rehearsals:
    """The extreme configurations of a space, tried out on one device; some may be the same.

    Args:
        device: As PyTorch names it.
        smallest: The fewest parameters, the smallest batches, the shortest signals.
        largest: The most parameters, the largest batches, the longest signals.
        slowest: As the largest, but with the smallest batches, which make the most steps.
        quickest: As the smallest, but with the largest batches.
    """

    device: str
    smallest: Tried
    largest: Tried
    slowest: Tried
    quickest: Tried

    @property
    def everything(self) -> tuple[Tried, ...]:
        """All of them."""
        return (self.smallest, self.largest, self.slowest, self.quickest)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What the budget may take, if no trial is pruned and workers do not slow each other down.

    Args:
        n_trials: Trials that will run at most.
        min_time_s: If all were as quick as the quickest that was tried.
        max_time_s: If all were as slow as the slowest.
        min_disk_bytes: If all left as little as the smallest.
        max_disk_bytes: If all left as much as the largest.
    """

    n_trials: int
    min_time_s: float
    max_time_s: float
    min_disk_bytes: int
    max_disk_bytes: int


def rehearse(
    settings: Settings, objective: Objective, project: Path, device: str
) -> Rehearsals | None:
    """Try out the smallest and the largest configuration of a space; nothing is written.

    Args:
        settings: What the user wrote.
        objective: What a trial runs.
        project: Absolute path of the project folder.
        device: The device to run on.

    Returns:
        What was measured; None for an objective that cannot be tried out, or if no corner of the
        space fits the data.
    """
    if not isinstance(objective, Rehearsable):
        return None
    sized = _sized_corners(settings, objective, project)
    if not sized:
        return None
    tried: dict[int, Tried] = {}
    for signs in _SIGNS:
        index = _most_extreme(sized, signs)
        if index not in tried:
            tried[index] = _try(*sized[index], settings, objective, project, device)
    smallest, largest, slowest, quickest = (tried[_most_extreme(sized, signs)] for signs in _SIGNS)
    return Rehearsals(
        device=device, smallest=smallest, largest=largest, slowest=slowest, quickest=quickest
    )


def satisfies(settings: Settings, config: TrialConfig) -> bool:
    """Return whether a trial of this configuration would be run rather than refused."""
    values = values_of(config)
    constraints = map(parse_constraint, settings.search.constraints)
    return all(constraint.violation(values) <= 0 for constraint in constraints)


def estimate(settings: Settings, rehearsals: Rehearsals) -> Estimate | None:
    """Return what the budget may take; None if no configuration could be tried."""
    results = [one.result for one in rehearsals.everything if one.result is not None]
    if not results:
        return None
    study, space = settings.search.study, SearchSpace(settings.search.params_to_tune)
    fewest, most = bounds(space, "training.epochs", settings.run.epochs or 1)
    n_trials = study.n_trials
    if study.sampler.name in VISITS_ALL:
        n_trials = int(min(n_trials, space.size()))
    slowest_s = most * max(result.epoch_s for result in results)
    workers = settings.surroundings.runtime.workers
    rounds = math.ceil(n_trials / (1 if workers == "auto" else workers))
    max_time_s = rounds * slowest_s
    if study.timeout is not None:
        max_time_s = min(max_time_s, study.timeout + slowest_s)  # the running trial is finished
    quickest_s = fewest * min(result.epoch_s for result in results)
    return Estimate(
        n_trials=n_trials,
        min_time_s=min(rounds * quickest_s, max_time_s),
        max_time_s=max_time_s,
        min_disk_bytes=n_trials * min(result.disk_bytes for result in results),
        max_disk_bytes=n_trials * max(result.disk_bytes for result in results),
    )


def _sized_corners(
    settings: Settings, objective: Objective, project: Path
) -> list[tuple[TrialConfig, ModelSize]]:
    """Return the corners of the space that can be trained, and their sizes."""
    assert isinstance(objective, Rehearsable)
    sized: list[tuple[TrialConfig, ModelSize]] = []
    for corner in corners(SearchSpace(settings.search.params_to_tune), objective.size_keys):
        config = configure_trial(settings, objective, 0, corner)
        if satisfies(settings, config) and not objective.misfits(config.run, project):
            sized.append((config, objective.size(config.run, project)))
    return sized


def _most_extreme(
    sized: Sequence[tuple[TrialConfig, ModelSize]], signs: tuple[int, int, int]
) -> int:
    """Return the index of the configuration that is furthest out; the network counts first."""
    network, batch, signals = signs

    def rank(index: int) -> tuple[int, ...]:
        size = sized[index][1]
        values, samples = signals * size.sample_values, signals * size.n_samples
        return network * size.n_parameters, batch * size.batch_size, values, samples

    return max(range(len(sized)), key=rank)


def _try(
    config: TrialConfig,
    size: ModelSize,
    settings: Settings,
    objective: Rehearsable,
    project: Path,
    device: str,
) -> Tried:
    workers = settings.surroundings.runtime.workers
    settled = with_threads(settings, 1 if workers == "auto" else workers)
    try:
        result = objective.rehearse(config.run, settled.surroundings.runtime, project, device)
    except ObjectiveError as error:
        return Tried(parameters=config.parameters, size=size, error=str(error))
    return Tried(parameters=config.parameters, size=size, result=result)
