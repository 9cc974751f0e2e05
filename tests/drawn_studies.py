"""Studies of all sorts, made in memory and without an objective, for figures to be drawn of."""

from __future__ import annotations

import datetime as dt
import math
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

START = dt.datetime(2026, 1, 31, 12, 0, 0)
SPACE: Mapping[str, BaseDistribution] = {
    "training.learning_rate": FloatDistribution(1e-5, 1e-2, log=True),
    "model.hidden": IntDistribution(32, 128, step=16),
    "training.batch_size": CategoricalDistribution((2, 4, 8)),
    "model.use_residual": CategoricalDistribution((True, False)),
}
WEIGHT, IS_WEIGHTED = "training.weight_target_0", "training.use_weighted_loss"


Direction = Literal["minimize", "maximize"]


def draw(distribution: BaseDistribution, chance: random.Random) -> Any:
    """Return a value of a distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return chance.choice(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.log:
        value = math.exp(chance.uniform(math.log(distribution.low), math.log(distribution.high)))
    else:
        value = chance.uniform(distribution.low, distribution.high)
    if isinstance(distribution, IntDistribution):
        step = distribution.step
        return distribution.low + round((value - distribution.low) / step) * step
    return value


def make_trial(
    number: int,
    *,
    state: TrialState = TrialState.COMPLETE,
    values: Sequence[float] | None = None,
    curve: Sequence[float] = (),
    space: Mapping[str, BaseDistribution] = SPACE,
    conditional: bool = False,
    pid: int | None = None,
) -> FrozenTrial:
    """Return a trial as a study would hold it."""
    chance = random.Random(number)
    chosen = dict(space)
    params = {name: draw(distribution, chance) for name, distribution in chosen.items()}
    if conditional:
        chosen[IS_WEIGHTED] = CategoricalDistribution((True, False))
        params[IS_WEIGHTED] = number % 3 == 0
        if params[IS_WEIGHTED]:
            chosen[WEIGHT] = FloatDistribution(0.1, 10.0)
            params[WEIGHT] = chance.uniform(0.1, 10.0)
    claimed = {"claimed_by": {"study": "s", "project": "/p", "host": "node", "pid": pid}}
    trial = create_trial(
        state=state,
        values=values,
        params=params,
        distributions=chosen,
        intermediate_values=dict(enumerate(curve, start=1)),
        user_attrs=claimed if pid is not None else {},
    )
    trial.datetime_start = START + dt.timedelta(seconds=10 * number)
    if state.is_finished():
        trial.datetime_complete = trial.datetime_start + dt.timedelta(seconds=9)
    if state is TrialState.WAITING:
        trial.datetime_start = None
    return trial


def make_study(
    trials: Sequence[FrozenTrial],
    *,
    directions: Sequence[Direction] = ("minimize",),
    metrics: Sequence[str] = ("val_mse",),
    name: str = "drawn",
) -> optuna.Study:
    """Return a study of these trials."""
    study = optuna.create_study(study_name=name, directions=list(directions))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the function is new to Optuna
        study.set_metric_names(list(metrics))
    study.add_trials(trials)
    return study


def ordinary(count: int, **more: Any) -> list[FrozenTrial]:
    """Return trials that get better and worse, the fifth and every seventh after it pruned."""
    trials = []
    for number in range(count):
        value = 0.3 + 0.2 * math.sin(number) + (30.0 if number % 50 == 9 else 0.0)
        curve = [value + math.exp(-epoch / 4) for epoch in range(12)]
        if number % 7 == 5:
            pruned = {"state": TrialState.PRUNED, "values": [curve[5]], "curve": curve[:6]}
            trials.append(make_trial(number, pid=100 + number % 2, **pruned, **more))  # type: ignore[arg-type]
        else:
            done = {"values": [value], "curve": curve}
            trials.append(make_trial(number, pid=100 + number % 2, **done, **more))  # type: ignore[arg-type]
    return trials


_BOTH_WAYS: tuple[Direction, ...] = ("minimize", "maximize")


def _failed(count: int) -> list[FrozenTrial]:
    return [make_trial(n, state=TrialState.FAIL, curve=[1.0, math.nan]) for n in range(count)]


def _pruned(count: int) -> list[FrozenTrial]:
    return [
        make_trial(n, state=TrialState.PRUNED, values=[1.0 + n], curve=[2.0 + n, 1.0 + n])
        for n in range(count)
    ]


def _odd_values() -> list[FrozenTrial]:
    values = [math.inf, -math.inf, 1.0, 0.5, 1e300, 1e-300]
    trials = [
        make_trial(n, values=[value], curve=[math.nan, value, math.inf, 2.0])
        for n, value in enumerate(values)
    ]
    nothing = make_trial(len(values), state=TrialState.PRUNED, values=None, curve=[math.nan])
    return [*trials, nothing, make_trial(len(values) + 1, values=[0.7])]


def _several(count: int, metrics: int) -> list[FrozenTrial]:
    return [
        make_trial(n, values=[math.sin(n + one) + 2 * one for one in range(metrics)])
        for n in range(count)
    ]


def _changed_space() -> list[FrozenTrial]:
    before = {"x": FloatDistribution(0.0, 1.0), "c": CategoricalDistribution(("a", None))}
    after = {"x": FloatDistribution(0.5, 9.0), "c": CategoricalDistribution(("a", None, 3, True))}
    spaces = [before] * 6 + [after] * 6
    return [make_trial(n, values=[float(n % 4)], space=space) for n, space in enumerate(spaces)]


_LONG = {
    f"model.some_rather_long_section.layer_{n:02d}.regularisation_strength": FloatDistribution(0, 1)
    for n in range(40)
}
_ODD_NAMES = {
    "$x$": FloatDistribution(0, 1),
    "<b>y</b>": FloatDistribution(0, 1),
    "重み": FloatDistribution(0, 1),
}


def studies() -> dict[str, optuna.Study]:
    """Return one study of each sort by what it is."""
    single = {
        "no trial": [],
        "one trial": ordinary(1),
        "two trials": ordinary(2),
        "twenty trials": ordinary(20),
        "all pruned": _pruned(6),
        "all failed": _failed(4),
        "none ended": [
            make_trial(0, state=TrialState.RUNNING, curve=[1.0, 0.5]),
            make_trial(1, state=TrialState.WAITING),
        ],
        "one value": [make_trial(n, values=[0.5], curve=[0.5, 0.5]) for n in range(8)],
        "zeros": [make_trial(n, values=[0.0], curve=[0.0, 0.0]) for n in range(8)],
        "values that are not finite": _odd_values(),
        "one parameter": ordinary(9, space={"x": FloatDistribution(0, 1)}),
        "no parameter": ordinary(9, space={}),
        "a parameter that never changes": ordinary(9, space={"x": IntDistribution(3, 3)}),
        "conditional parameters": ordinary(20, conditional=True),
        "40 parameters with long names": ordinary(30, space=_LONG),
        "names with odd characters": ordinary(12, space=_ODD_NAMES),
        "a changed space": _changed_space(),
        "many choices": ordinary(
            20, space={"c": CategoricalDistribution([f"choice number {n}" for n in range(40)])}
        ),
    }
    found = {what: make_study(trials) for what, trials in single.items()}
    found["R² to maximise"] = make_study(
        [make_trial(n, values=[0.9 - n * n]) for n in range(9)],
        directions=("maximize",),
        metrics=("val_r2",),
    )
    for count in (2, 4):
        found[f"{count} metrics"] = make_study(
            _several(15, count),
            directions=_BOTH_WAYS * (count // 2),
            metrics=[f"metric {one}" for one in range(count)],
        )
    return found
