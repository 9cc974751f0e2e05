"""Studies made by Optuna alone, in memory, for what is worked out from trials."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from tunectl.config.search_schema import Direction

RATE = {"training.learning_rate": FloatDistribution(1e-4, 1e-1, log=True)}
START = dt.datetime(2026, 1, 31, 12, 0, 0)


def trial_of(
    value: float | Sequence[float] | None,
    params: Mapping[str, Any] | None = None,
    space: Mapping[str, BaseDistribution] | None = None,
    *,
    state: TrialState = TrialState.COMPLETE,
    epochs: int = 0,
    seconds: float = 10.0,
    **attrs: Any,
) -> FrozenTrial:
    """Return a trial that has ended after some epochs and seconds."""
    params = {"training.learning_rate": 3e-3} if params is None else params
    space = space or RATE
    several = isinstance(value, Sequence)
    trial = optuna.trial.create_trial(
        state=state,
        value=None if several else value,  # type: ignore[arg-type]
        values=value if several else None,  # type: ignore[arg-type]
        params=dict(params),
        distributions={name: space[name] for name in params},
        intermediate_values={epoch: 1.0 / epoch for epoch in range(1, epochs + 1)},
        user_attrs=attrs,
    )
    trial.datetime_start = START
    if state.is_finished():
        trial.datetime_complete = START + dt.timedelta(seconds=seconds)
    return trial


def study_of(
    trials: Sequence[FrozenTrial], directions: Sequence[Direction] = ("minimize",)
) -> optuna.Study:
    """Return a study in memory with these trials, numbered in this order."""
    study = optuna.create_study(directions=directions)
    study.add_trials(trials)
    return study


def searched(
    objective: Callable[[optuna.Trial], float | Sequence[float]],
    n_trials: int,
    directions: Sequence[Direction] = ("minimize",),
) -> optuna.Study:
    """Return a study in memory of random trials."""
    sampler = optuna.samplers.RandomSampler(seed=n_trials)
    study = optuna.create_study(directions=directions, sampler=sampler)
    study.optimize(objective, n_trials=n_trials)
    return study
