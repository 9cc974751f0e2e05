"""Importances: those of Optuna without what it imports, and nothing where nothing can be said."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from collections.abc import Sequence

import optuna
import pytest
from made_studies import searched, study_of, trial_of

from tunectl.config.search_schema import Direction
from tunectl.reports.importances import ENOUGH, FEWEST, importances_of, left_out_text


def rugged(trial: optuna.Trial) -> float:
    rate = trial.suggest_float("rate", 1e-5, 1.0, log=True)
    width = trial.suggest_int("width", 1, 200)
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    layers = trial.suggest_int("layers", 2, 64, log=True)
    drop = trial.suggest_float("drop", 0.0, 0.5, step=0.05)
    trial.suggest_float("fixed", 3.0, 3.0)
    value = rate + abs(width - 50) / 100 + layers / 100 + 0.1 * drop
    return value + (0.3 if kind == "a" else 0.0)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("n_trials", [FEWEST, 37, 200])
def test_importances_are_those_that_optuna_finds(direction: Direction, n_trials: int) -> None:
    study = searched(rugged, n_trials, [direction])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of too few trials for a good answer
        expected = optuna.importance.get_param_importances(study)

    found = importances_of(study.trials, direction)

    assert found is not None
    assert found.shares == pytest.approx(expected, abs=1e-9)
    assert list(found.shares.values()) == sorted(found.shares.values(), reverse=True)
    assert math.isclose(sum(found.shares.values()), 1.0)
    assert (found.n_trials, found.is_rough) == (n_trials, n_trials < ENOUGH)


def test_only_parameters_that_most_trials_have_are_ranked() -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        rare = trial.suggest_float("rare", 0.0, 1.0) if trial.number % 10 < 7 else 1.0
        usual = trial.suggest_float("usual", 0.0, 1.0) if trial.number % 10 < 8 else 1.0
        return rare + 0.1 * usual + 0.01 * x

    found = importances_of(searched(objective, 60).trials, "minimize")

    assert found is not None
    assert set(found.shares) == {"x", "usual"}
    assert math.isclose(sum(found.shares.values()), 1.0)
    assert found.note == "not ranked, since only some trials have it: rare"


def test_of_many_parameters_that_are_not_ranked_a_few_are_named() -> None:
    text = left_out_text([f"p{number}" for number in range(11)])
    assert text == (
        "not ranked, since only some trials have them: p0, p1, p2, p3, p4, p5, p6, p7 and 3 more"
    )
    assert not left_out_text([])


def test_each_metric_has_importances_of_its_own() -> None:
    def objective(trial: optuna.Trial) -> Sequence[float]:
        return trial.suggest_float("x", 0.0, 1.0), trial.suggest_float("y", 0.0, 1.0)

    trials = searched(objective, 100, ["minimize", "maximize"]).trials

    first, second = importances_of(trials, "minimize", 0), importances_of(trials, "maximize", 1)

    assert first is not None and next(iter(first.shares)) == "x"
    assert second is not None and next(iter(second.shares)) == "y"


def test_nothing_is_said_where_nothing_can_be_known() -> None:
    one_value = [trial_of(1.0, {"training.learning_rate": 10 ** -(1 + i / 9)}) for i in range(20)]
    infinite = [trial_of(math.inf) for _ in range(20)]
    no_parameter = [trial_of(float(i), {}) for i in range(20)]
    same_point = [trial_of(float(i)) for i in range(FEWEST - 1)]
    for trials in ([], one_value, infinite, no_parameter, same_point):
        assert importances_of(study_of(trials).trials, "minimize") is None


def test_importances_need_no_scikit_learn() -> None:
    program = (
        "import sys; import tunectl.reports.insights; "
        "print([m for m in ('sklearn', 'pandas', 'torch', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
