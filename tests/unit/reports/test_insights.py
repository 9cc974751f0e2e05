"""What is worked out for people: bounds, effort, history and what runs now."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import optuna
import pytest
from made_studies import study_of, trial_of
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from tunectl.config.layout import layout_of
from tunectl.config.schema import Settings
from tunectl.config.signal_run import TrainingRun
from tunectl.reports.bounds import near_bounds, near_side
from tunectl.reports.effort import effort_of
from tunectl.reports.history import history_of
from tunectl.reports.insights import leaders_of, look_into

LOG = FloatDistribution(1e-5, 1e-1, log=True)
STEPS = IntDistribution(32, 128, step=16)
PRUNED, FAILED, RUNNING = TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING


@pytest.mark.parametrize(
    ("distribution", "value", "side"),
    [
        (LOG, 1.5e-5, "low"),  # 4 % of the logarithmic range, and 0.005 % of the plain one
        (LOG, 4e-3, None),  # 65 % of the logarithmic range, though 4 % of the plain one
        (LOG, 0.07, "high"),
        (FloatDistribution(0.0, 1.0), 0.95, "high"),
        (FloatDistribution(0.0, 1.0), 0.94, None),
        (FloatDistribution(0.0, 0.5, step=0.05), 0.45, None),
        (FloatDistribution(0.0, 0.5, step=0.05), 0.5, "high"),
        (STEPS, 112, None),
        (STEPS, 128, "high"),
        (STEPS, 32, "low"),
        (IntDistribution(1, 1000, log=True), 1, "low"),
        (IntDistribution(1, 1000, log=True), 30, None),
        (IntDistribution(1, 2), 2, None),  # each of two values is an end
        (FloatDistribution(3.0, 3.0), 3.0, None),
        (CategoricalDistribution((1, 2, 3)), 3, None),
    ],
)
def test_the_end_of_a_range_is_near_on_the_parameters_own_scale(
    distribution: BaseDistribution, value: float, side: str | None
) -> None:
    assert near_side(distribution, value) == side


def test_a_best_value_at_the_end_of_its_range_is_reported_with_those_beside_it() -> None:
    space = {"training.learning_rate": LOG, "model.hidden": STEPS}
    values = [(0.09, 64), (0.08, 64), (0.01, 128), (0.001, 64)]
    trials = [
        trial_of(float(rank), {"training.learning_rate": rate, "model.hidden": hidden}, space)
        for rank, (rate, hidden) in enumerate(values)
    ]

    (found,) = near_bounds(trials)

    assert (found.name, found.side, found.bound) == ("training.learning_rate", "high", 0.1)
    assert (found.best, found.near, found.of, found.log) == (0.09, 2, 4, True)


def test_most_of_the_best_trials_near_a_bound_are_reported_though_the_best_one_is_not() -> None:
    space = {"training.learning_rate": LOG}
    rates = [0.01, 0.09, 0.1, 0.08, 0.1, 1e-3]
    trials = [
        trial_of(float(i), {"training.learning_rate": one}, space) for i, one in enumerate(rates)
    ]

    (found,) = near_bounds(trials)

    assert (found.side, found.best, found.near, found.of) == ("high", None, 4, 6)
    assert near_bounds(trials[:4]) == ()  # too few to say


def test_a_bound_beyond_which_nothing_is_valid_is_no_reason_to_warn() -> None:
    space = {"model.dropout_rate": FloatDistribution(0.0, 0.5), "a.b": FloatDistribution(0.0, 0.5)}
    best = trial_of(1.0, {"model.dropout_rate": 0.0, "a.b": 0.0}, space)

    assert [one.name for one in near_bounds([best], layout=layout_of("flow_cnn"))] == ["a.b"]
    assert [one.name for one in near_bounds([best], widest=False)] == ["a.b", "model.dropout_rate"]


def test_a_parameter_that_the_best_trial_has_not_is_judged_by_those_that_have_it() -> None:
    space = {"training.learning_rate": LOG, "model.hidden": STEPS}
    plain = trial_of(0.0, {"training.learning_rate": 0.01}, space)
    wide = {"training.learning_rate": 0.01, "model.hidden": 128}
    trials = [plain, *(trial_of(float(i), wide, space) for i in range(1, 6))]

    (found,) = near_bounds(trials)

    assert (found.name, found.best, found.near, found.of) == ("model.hidden", None, 5, 5)


def test_no_trial_has_no_bounds() -> None:
    assert near_bounds([]) == ()


def test_pruning_saves_the_epochs_that_were_not_trained_at_the_trials_own_pace(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(run=TrainingRun.model_validate({"training": {"epochs": 50}}))
    trials = [
        trial_of(0.1, epochs=50, seconds=200.0),
        trial_of(0.9, epochs=10, seconds=30.0, state=PRUNED),
        trial_of(0.9, epochs=10, seconds=30.0, state=PRUNED, error="diverged"),
        trial_of(None, seconds=5.0, state=FAILED),
        trial_of(None, epochs=3, state=RUNNING),
        trial_of(None, state=PRUNED, seconds=1.0),
    ]

    effort = effort_of(trials, settings)

    assert (effort.used_s, effort.n_ended) == (266.0, 5)
    assert (effort.saved_s, effort.epochs_saved, effort.n_pruned) == (120.0, 40, 2)
    assert effort.saved_share == pytest.approx(120 / 386)


def test_a_searched_number_of_epochs_and_an_unknown_one_are_what_the_trials_say() -> None:
    space = {"training.epochs": IntDistribution(10, 100)}
    searched = trial_of(1.0, {"training.epochs": 40}, space, epochs=10, seconds=10.0, state=PRUNED)
    foreign = [trial_of(1.0, epochs=20), trial_of(1.0, epochs=5, seconds=5.0, state=PRUNED)]

    assert effort_of([searched]).saved_s == 30.0
    assert effort_of(foreign).saved_s == 7.5  # no slower than the completed one
    assert effort_of([]).saved_share == 0.0


def test_the_history_is_of_completed_trials_with_a_finite_value() -> None:
    values = [3.0, math.inf, 2.0, 5.0, 1.0]
    study = study_of([trial_of(value) for value in values])
    study.add_trial(trial_of(0.1, state=PRUNED))

    history = history_of(study.trials, "minimize")

    assert [(one.number, one.value, one.best) for one in history] == [
        (0, 3.0, 3.0),
        (2, 2.0, 2.0),
        (3, 5.0, 2.0),
        (4, 1.0, 1.0),
    ]
    assert [one.best for one in history_of(study.trials, "maximize")] == [3.0, 3.0, 5.0, 5.0]


def test_what_runs_now_says_how_far_it_is_and_whether_anybody_runs_it(tmp_path: Path) -> None:
    study = optuna.create_study(storage=f"sqlite:///{tmp_path / 'study.db'}")
    study.add_trial(trial_of(1.0, epochs=8))
    trial = study.ask()
    trial.report(0.5, 1)
    trial.report(0.25, 2)

    (running,) = look_into(study, tmp_path, nullcontext).running

    assert (running.number, running.epochs, running.planned, running.value) == (1, 2, 8, 0.25)
    assert (running.host, running.is_interrupted) == (None, True)  # another program's
    assert running.spent_s >= 0


ALL_PRUNED = [trial_of(0.5, epochs=3, state=PRUNED) for _ in range(12)]
ALL_FAILED = [trial_of(None, state=FAILED, error="boom") for _ in range(12)]
CONSTANT = [trial_of(1.0) for _ in range(60)]
ODD_VALUES = [trial_of(value) for value in (math.inf, -math.inf, 1.0, 2.0) * 5]


@pytest.mark.parametrize(
    "trials",
    [
        [],
        [trial_of(1.0)],
        [trial_of(1.0), trial_of(2.0)],
        ALL_PRUNED,
        ALL_FAILED,
        CONSTANT,
        ODD_VALUES,
    ],
)
def test_any_study_can_be_looked_into(trials: list[Any], tmp_path: Path) -> None:
    study = study_of(trials)

    insights = look_into(study, tmp_path, nullcontext)

    assert len(insights.histories) == len(insights.importances) == 1
    assert all(math.isfinite(point.value) for point in insights.histories[0])
    assert insights.running == []
    assert math.isfinite(insights.effort.used_s + insights.effort.saved_s)


def test_the_leaders_of_several_metrics_are_those_that_no_other_beats(tmp_path: Path) -> None:
    values = [(1.0, 5.0), (2.0, 2.0), (5.0, 1.0), (4.0, 4.0)]
    study = study_of([trial_of(one) for one in values], ["minimize", "minimize"])

    assert [one.number for one in leaders_of(study)] == [0, 1, 2]
    insights = look_into(study, tmp_path, nullcontext)
    assert [history[-1].best for history in insights.histories] == [1.0, 1.0]
