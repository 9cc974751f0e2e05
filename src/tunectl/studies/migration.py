"""A new study with today's search space and every old trial that fits it.

A trial fits if its values lie in today's space and what is no longer searched has the value that
it is fixed at today. A parameter that is new has, for an old trial, the value that was fixed then.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from tunectl.config.constraints import parse_constraint
from tunectl.config.schema import Settings
from tunectl.config.section import Scalar
from tunectl.errors import SpaceMismatchError
from tunectl.search.space import SearchSpace
from tunectl.studies.differences import Grade, compare, flat_values
from tunectl.studies.lifecycle import create_study, stored_settings
from tunectl.studies.ranking import directions_of, metrics_of

log = logging.getLogger(__name__)

UNDER_WAY_ATTR = "tunectl:migrating"


@dataclass(frozen=True, kw_only=True)
class Migration:
    """What became of the old trials.

    Args:
        study: The new study.
        taken: How many were taken over.
        left: Reason → how many were left behind for it.
    """

    study: optuna.Study
    taken: int
    left: Mapping[str, int]


def migrate_study(storage: RDBStorage, old: optuna.Study, today: Settings) -> Migration:
    """Make a new study, named by `today`, of the old trials that fit; the old one stays as it is.

    Raises:
        StudyExistsError: a study of the new name is stored already.
        SpaceMismatchError: the old study has another metric or direction.
    """
    wanted = today.search.study
    if directions_of(old) != wanted.directions or metrics_of(old) != wanted.metric:
        raise SpaceMismatchError(
            f"study {old.study_name!r} optimises {', '.join(metrics_of(old))}, today's files "
            f"{', '.join(wanted.metric)}; no trial can be taken over"
        )
    stored = stored_settings(old)
    fitting = _Fitting(flat_values(stored) if stored else {}, today)
    taken: list[FrozenTrial] = []
    left: Counter[str] = Counter()
    for trial in old.get_trials(deepcopy=False):
        try:
            taken.append(fitting.fit(trial))
        except _Misfit as reason:
            left[str(reason)] += 1
    if stored is not None:
        _warn_of_changes(old, stored, today)
    new = create_study(storage, today)
    new.set_user_attr(UNDER_WAY_ATTR, True)
    new.add_trials(taken)
    new.set_user_attr(UNDER_WAY_ATTR, False)
    return Migration(study=new, taken=len(taken), left=dict(left))


def is_whole(study: optuna.Study) -> bool:
    """Whether a study is not the rest of a migration that was cut off."""
    return not study.user_attrs.get(UNDER_WAY_ATTR, False)


def _warn_of_changes(old: optuna.Study, stored: Settings, today: Settings) -> None:
    doubtful = [
        one.key
        for one in compare(old, stored, today)
        if not one.of_space and one.grade is Grade.DEGRADES
    ]
    if doubtful:
        log.warning(
            "the trials of study %s ran with other values of %s, so they may not be comparable",
            old.study_name,
            ", ".join(doubtful),
        )


class _Misfit(Exception):  # noqa: N818 - a reason, not an error
    """Why a trial does not fit."""


class _Fitting:
    """Fits old trials into today's space."""

    def __init__(self, fixed_then: Mapping[str, object], today: Settings) -> None:
        self._then = fixed_then
        self._now = flat_values(today)
        self._space = SearchSpace(today.search.params_to_tune)
        self._distributions = self._space.distributions()
        self._constraints = [parse_constraint(text) for text in today.search.constraints]

    def fit(self, trial: FrozenTrial) -> FrozenTrial:
        """Return a trial as it would be in today's space.

        Raises:
            _Misfit: it would not be one.
        """
        if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
            raise _Misfit("it was never finished")
        self._check_fixed(trial)
        values = {key: self._value(trial, key) for key in self._space.order}
        active = self._space.active(values)
        params = {key: values[key] for key in active}
        for key in params:
            self._check_inside(key, params[key])
        if extra := trial.params.keys() & self._space.specs.keys() - params.keys():
            raise _Misfit(f"{min(extra)} is not searched under its condition")
        known = {**self._now, **trial.params, **params}
        numbers = {k: v for k, v in known.items() if isinstance(v, bool | int | float | str)}
        violations = {one.text: one.violation(numbers) for one in self._constraints}
        if any(excess > 0 for excess in violations.values()):
            raise _Misfit("it breaks a constraint")
        fitted = create_trial(
            state=trial.state,
            values=trial.values,
            params=params,
            distributions={key: self._distributions[key] for key in params},
            user_attrs={**trial.user_attrs},
            intermediate_values={**trial.intermediate_values},
            constraints=violations,
        )
        fitted.datetime_start, fitted.datetime_complete = (
            trial.datetime_start,
            trial.datetime_complete,
        )
        return fitted

    def _check_fixed(self, trial: FrozenTrial) -> None:
        """Make sure that what was searched, and is not any more, has today's fixed value."""
        for key in trial.params.keys() - self._space.specs.keys():
            if trial.params[key] != self._now.get(key):
                raise _Misfit(f"{key} is fixed at {self._now.get(key)} now")

    def _value(self, trial: FrozenTrial, key: str) -> Scalar:
        value = trial.params.get(key, self._then.get(key))
        return value if isinstance(value, bool | int | float | str) or value is None else None

    def _check_inside(self, key: str, value: Scalar) -> None:
        distribution: BaseDistribution = self._distributions[key]
        try:
            inside = distribution._contains(distribution.to_internal_repr(value))
        except (ValueError, TypeError):
            inside = False
        if not inside:
            raise _Misfit(f"its {key} lies outside today's range")
