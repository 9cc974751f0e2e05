"""What a study has taught so far: everything that is worked out for people, not for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from tunectl.config.schema import Settings
from tunectl.errors import StorageError
from tunectl.reports.bounds import LEADERS, NearBound, layout_in, near_bounds
from tunectl.reports.effort import Effort, effort_of
from tunectl.reports.history import HistoryPoint, history_of
from tunectl.reports.importances import Importances, importances_of
from tunectl.reports.running_now import RunningNow, running_now
from tunectl.studies.claim_lock import Lock
from tunectl.studies.lifecycle import stored_settings
from tunectl.studies.ranking import best_trials, directions_of, is_sound


@dataclass(frozen=True, kw_only=True)
class Insights:
    """What a study has taught so far.

    Args:
        histories: The best value so far by trial, for each metric.
        importances: How much each parameter matters for each metric, None where nothing can be
            said.
        near_bounds: Parameters whose best values press against the end of their range.
        effort: What the study has cost, and what its pruner has saved.
        running: The trials that run now.
        budget: Finished trials that the study is to have, None where that is not known.
    """

    histories: Sequence[Sequence[HistoryPoint]]
    importances: Sequence[Importances | None]
    near_bounds: Sequence[NearBound]
    effort: Effort
    running: Sequence[RunningNow]
    budget: int | None

    def aged(self, seconds: float) -> Insights:
        """Return the same so many seconds later, as far as nothing has happened but time."""
        running = [replace(one, spent_s=one.spent_s + seconds) for one in self.running]
        return replace(self, running=running)


def look_into(study: optuna.Study, project: Path, claims: Lock) -> Insights:
    """Return what a study has taught so far.

    Args:
        study: The study.
        project: Absolute path of the project folder.
        claims: The lock of the study's claims, which does not wait for ever; it is held for an
            instant where trials are running.
    """
    settings = _settings_of(study)
    running = running_now(study, project, claims, settings)
    trials = study.get_trials(deepcopy=False)
    directions = directions_of(study)
    return Insights(
        histories=[history_of(trials, way, metric) for metric, way in enumerate(directions)],
        importances=[importances_of(trials, way, metric) for metric, way in enumerate(directions)],
        near_bounds=near_bounds(
            leaders_of(study), has_best=len(directions) == 1, layout=layout_in(settings)
        ),
        effort=effort_of(trials, settings),
        running=running,
        budget=settings.search.study.n_trials if settings is not None else None,
    )


def leaders_of(study: optuna.Study) -> list[FrozenTrial]:
    """Return the ten best trials, best first; with several metrics those that no other beats."""
    directions = directions_of(study)
    if len(directions) > 1:
        return best_trials(study)
    sign = -1.0 if directions[0] == "maximize" else 1.0
    sound = [trial for trial in study.get_trials(deepcopy=False) if is_sound(trial)]
    return sorted(sound, key=lambda one: (sign * one.values[0], one.number))[:LEADERS]


def _settings_of(study: optuna.Study) -> Settings | None:
    """Return what was stored with a study, None also where this version cannot read it."""
    try:
        return stored_settings(study)
    except StorageError:
        return None
