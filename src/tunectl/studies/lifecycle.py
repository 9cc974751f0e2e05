"""Studies from birth to deletion, and the configuration stored with each.

It knows Optuna's studies and our `Settings`; it neither runs trials nor touches their folders.
"""

from __future__ import annotations

import datetime as dt
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import optuna
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from pydantic import ValidationError

from tunectl import __version__
from tunectl.config.schema import Settings
from tunectl.errors import SpaceMismatchError, StorageError, StudyExistsError, StudyNotFoundError
from tunectl.search.pruners import make_pruner
from tunectl.search.samplers import make_sampler
from tunectl.search.space import SearchSpace

SETTINGS_ATTR = "tunectl:settings"
ABOUT_ATTR = "tunectl:about"


@dataclass(frozen=True, kw_only=True)
class StudyOverview:
    """One line of `study list`."""

    name: str
    direction: str
    metric: str
    states: Mapping[str, int]
    n_trials: int
    best_value: float | None
    created_at: dt.datetime | None


def create_study(storage: RDBStorage, settings: Settings) -> optuna.Study:
    """Create a study with its sampler, pruner, metric and configuration snapshot.

    Args:
        storage: The database.
        settings: What the user wrote; `search.study.name` names the study.

    Raises:
        StudyExistsError: a study of that name is stored already.
        ConfigError: the sampler or pruner cannot be made.
    """
    wanted = settings.search.study
    sampler, pruner = _components(settings)
    try:
        study = optuna.create_study(
            storage=storage,
            study_name=wanted.name,
            direction=wanted.direction,
            sampler=sampler,
            pruner=pruner,
        )
    except DuplicatedStudyError as error:
        raise StudyExistsError(f"study {wanted.name!r} exists already") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names([wanted.metric])
    about = {"schema_version": 1, "created_at": _now(), "tunectl_version": __version__}
    study.set_user_attr(ABOUT_ATTR, about)
    store_settings(study, settings)
    return study


def load_study(
    storage: RDBStorage | None, name: str, settings: Settings | None = None
) -> optuna.Study:
    """Load a study; with settings, also its sampler and pruner, ready to run trials.

    Raises:
        StudyNotFoundError: there is no study of that name; the message lists those there are.
        ConfigError: the sampler or pruner cannot be made.
    """
    names = study_names(storage)
    if storage is None or name not in names:
        there_are = f"there are: {', '.join(names)}" if names else "there is none yet"
        raise StudyNotFoundError(f"no study {name!r}; {there_are}")
    if settings is None:
        return optuna.load_study(study_name=name, storage=storage)
    sampler, pruner = _components(settings)
    return optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner)


def study_names(storage: RDBStorage | None) -> list[str]:
    """Return the names of all studies, sorted; none where there is no database."""
    return sorted(optuna.get_all_study_names(storage)) if storage is not None else []


def delete_study(storage: RDBStorage, name: str) -> None:
    """Delete a study and its trials from the database; their folders stay.

    Raises:
        StudyNotFoundError: there is no study of that name.
    """
    load_study(storage, name)
    optuna.delete_study(study_name=name, storage=storage)


def store_settings(study: optuna.Study, settings: Settings) -> None:
    """Store with a study what the user wrote for it, so that it can be resumed without any file."""
    study.set_user_attr(SETTINGS_ATTR, settings.model_dump(mode="json"))


def stored_settings(study: optuna.Study) -> Settings | None:
    """Return what was stored with a study, None for one that another program made.

    Raises:
        StorageError: it was stored by a version that this one does not understand.
    """
    document = study.user_attrs.get(SETTINGS_ATTR)
    if document is None:
        return None
    try:
        return Settings.model_validate_json(json.dumps(document))
    except ValidationError as error:
        raise StorageError(
            f"the configuration stored with study {study.study_name!r} cannot be read by "
            f"tunectl {__version__}: {error.error_count()} problem(s)"
        ) from error


def created_at(study: optuna.Study) -> dt.datetime | None:
    """Return when the study was created (UTC), None for one that another program made."""
    written = study.user_attrs.get(ABOUT_ATTR, {}).get("created_at")
    return dt.datetime.fromisoformat(written) if written else None


def check_fit(study: optuna.Study, today: Settings) -> None:
    """Make sure that a stored study can go on with today's files, before anything is asked of it.

    Raises:
        SpaceMismatchError: metric, direction or search space differ; nothing was changed.
    """
    stored = stored_settings(study)
    if stored is None:
        lines = _foreign_differences(study, today)
    else:
        then, now = stored.search.study, today.search.study
        lines = [
            f"study.{key}: {getattr(then, key)} became {getattr(now, key)}"
            for key in ("metric", "direction")
            if getattr(then, key) != getattr(now, key)
        ]
        space = SearchSpace(stored.search.params_to_tune)
        lines += space.differences(SearchSpace(today.search.params_to_tune))
    if lines:
        shown = "\n".join(f"  {line}" for line in lines)
        raise SpaceMismatchError(
            f"study {study.study_name!r} was created with another search space:\n{shown}\n"
            "Nothing was changed. Ways out: put the old space back; continue with the stored one "
            f"(tunectl study resume {study.study_name}); start a new study (--study NAME); or "
            "delete the old one and begin again (--fresh)."
        )


def changed_settings(study: optuna.Study, today: Settings) -> list[str]:
    """Return the keys outside the search space whose values differ from the stored ones."""
    stored = stored_settings(study)
    if stored is None:
        return []
    then, now = _flat(stored.run.model_dump(mode="json")), _flat(today.run.model_dump(mode="json"))
    return [
        key for key in now if then.get(key) != now[key] and key not in today.search.params_to_tune
    ]


def overview(study: optuna.Study) -> StudyOverview:
    """Return one study in a line."""
    trials = study.get_trials(deepcopy=False)
    best = best_trial(study)
    return StudyOverview(
        name=study.study_name,
        direction=direction_of(study),
        metric=metric_of(study),
        states=count_states(trials),
        n_trials=len(trials),
        best_value=best.value if best else None,
        created_at=created_at(study),
    )


def metric_of(study: optuna.Study) -> str:
    """Return the name of what the study optimises, `value` where it was never named."""
    return str((study.metric_names or ["value"])[0])


def direction_of(study: optuna.Study) -> str:
    """Return `minimize` or `maximize`."""
    return "maximize" if study.direction == StudyDirection.MAXIMIZE else "minimize"


def best_trial(study: optuna.Study) -> optuna.trial.FrozenTrial | None:
    """Return the best completed trial, the earliest of equals, None while there is none.

    An infinite value, which Optuna would take for the best one, never is.
    """
    complete = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        if trial.value is not None and abs(trial.value) != float("inf")
    ]
    sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
    return min(
        complete, key=lambda trial: (sign * float(trial.value or 0.0), trial.number), default=None
    )


STATE_NAMES = {
    optuna.trial.TrialState.COMPLETE: "complete",
    optuna.trial.TrialState.PRUNED: "pruned",
    optuna.trial.TrialState.FAIL: "failed",
    optuna.trial.TrialState.RUNNING: "running",
    optuna.trial.TrialState.WAITING: "waiting",
}


def count_states(trials: list[optuna.trial.FrozenTrial]) -> dict[str, int]:
    """Return how many trials are in each state; every state is a key."""
    counts = dict.fromkeys(STATE_NAMES.values(), 0)
    for trial in trials:
        counts[STATE_NAMES[trial.state]] += 1
    return counts


def _components(
    settings: Settings,
) -> tuple[optuna.samplers.BaseSampler, optuna.pruners.BasePruner]:
    wanted, allow = settings.search.study, settings.surroundings.plugins.allow
    space = SearchSpace(settings.search.params_to_tune)
    return make_sampler(wanted.sampler, wanted.seed, space, allow), make_pruner(
        wanted.pruner, allow
    )


def _foreign_differences(study: optuna.Study, today: Settings) -> list[str]:
    """Compare with a study that another program made: its direction, and the last trial's space."""
    lines = []
    if direction_of(study) != today.search.study.direction:
        lines.append(
            f"study.direction: {direction_of(study)} became {today.search.study.direction}"
        )
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.distributions]
    if trials:
        now = SearchSpace(today.search.params_to_tune).distributions()
        for key, distribution in trials[-1].distributions.items():
            if now.get(key) != distribution:
                lines.append(f"{key}: {distribution} became {now.get(key, 'absent')}")
    return lines


def _flat(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    leaves: dict[str, object] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        leaves |= _flat(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return leaves


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
