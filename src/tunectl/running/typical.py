"""A typical configuration of a search space: neither its smallest nor its largest network."""

from __future__ import annotations

from pathlib import Path

from tunectl.config.schema import Settings, TrialConfig
from tunectl.objectives.base import Objective, Rehearsable
from tunectl.running.plan import sample
from tunectl.running.rehearsal import satisfies
from tunectl.running.trial_config import configure_trial
from tunectl.search.space import SearchSpace

DRAWN = 15


def typical_config(settings: Settings, objective: Objective, project: Path) -> TrialConfig | None:
    """Return the configuration of middling size among some drawn at random.

    Args:
        settings: What the user wrote.
        objective: What a trial runs.
        project: Absolute path of the project folder.

    Returns:
        None where none of them can be trained.
    """
    assert isinstance(objective, Rehearsable)
    space = SearchSpace(settings.search.params_to_tune)
    sized: list[tuple[int, int, TrialConfig]] = []
    for parameters in sample(space, settings.search.study.seed, DRAWN):
        config = configure_trial(settings, objective, 0, parameters)
        if satisfies(settings, config) and not objective.misfits(config.run, project):
            size = objective.size(config.run, project)
            work = size.n_parameters * size.batch_size * size.sample_values
            sized.append((work, len(sized), config))
    return sorted(sized)[len(sized) // 2][2] if sized else None
