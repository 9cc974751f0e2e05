from __future__ import annotations

import warnings
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunectl.config.search_schema import Search
from tunectl.search.space import SearchSpace, describe, distribution_of, grid_of


def space_of(**specs: dict[str, Any]) -> SearchSpace:
    return SearchSpace(Search.model_validate({"params_to_tune": specs}).params_to_tune)


def test_each_kind_becomes_optunas_distribution() -> None:
    space = space_of(
        i={"type": "int", "low": 32, "high": 128, "step": 16},
        f={"type": "float", "low": 1e-5, "high": 1e-2, "log": True},
        c={"type": "categorical", "choices": [True, 2, "x", None]},
    )

    assert space.distributions() == {
        "c": optuna.distributions.CategoricalDistribution((True, 2, "x", None)),
        "f": optuna.distributions.FloatDistribution(1e-5, 1e-2, log=True),
        "i": optuna.distributions.IntDistribution(32, 128, step=16),
    }


@given(
    low=st.integers(-50, 50),
    width=st.integers(0, 100),
    step=st.sampled_from([0.05, 0.1, 0.25, 0.3, 1.0]),
)
def test_a_step_that_does_not_reach_the_bound_ends_below_it_without_a_warning(
    low: int, width: int, step: float
) -> None:
    spec = space_of(
        x={"type": "float", "low": low / 10, "high": (low + width) / 10, "step": step}
    ).specs["x"]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distribution = distribution_of(spec)

    assert isinstance(distribution, optuna.distributions.FloatDistribution)
    assert distribution.high <= (low + width) / 10 + 1e-9
    assert distribution.high + step > (low + width) / 10 - 1e-9


def test_a_parameter_whose_condition_is_false_is_not_suggested() -> None:
    space = space_of(
        a_weight={"type": "float", "low": 1.0, "high": 2.0, "when": {"use": True}},
        use={"type": "categorical", "choices": [True, False]},
    )

    with_use = space.suggest(optuna.trial.FixedTrial({"use": True, "a_weight": 1.5}))
    without = space.suggest(optuna.trial.FixedTrial({"use": False}))

    assert with_use == {"use": True, "a_weight": 1.5}
    assert without == {"use": False}


def test_a_condition_tells_true_from_one_and_takes_a_list_of_values() -> None:
    space = space_of(
        depth={"type": "int", "low": 0, "high": 3},
        width={"type": "int", "low": 1, "high": 9, "when": {"depth": [1, 2]}},
        odd={"type": "int", "low": 1, "high": 9, "when": {"depth": True}},
    )

    assert space.suggest(optuna.trial.FixedTrial({"depth": 1, "width": 4})) == {
        "depth": 1,
        "width": 4,
    }


def test_the_order_of_the_file_does_not_change_what_is_proposed() -> None:
    specs: dict[str, dict[str, Any]] = {
        "b": {"type": "float", "low": 0.0, "high": 1.0},
        "a": {"type": "float", "low": 0.0, "high": 1.0, "when": {"c": 1}},
        "c": {"type": "categorical", "choices": [1]},
    }

    backwards = dict(reversed(specs.items()))

    assert space_of(**specs).order == space_of(**backwards).order == ("b", "c", "a")


def test_the_fingerprint_tells_spaces_apart_whatever_their_order() -> None:
    a: dict[str, Any] = {"type": "int", "low": 1, "high": 4}
    b: dict[str, Any] = {"type": "categorical", "choices": ["x", "y"]}
    wider = {**a, "high": 8}

    assert space_of(a=a, b=b).fingerprint() == space_of(b=b, a=a).fingerprint()
    assert space_of(a=a, b=b).fingerprint() != space_of(a=wider, b=b).fingerprint()


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"type": "float", "low": 1e-5, "high": 0.01, "log": True}, "float 1e-05..0.01 log"),
        ({"type": "int", "low": 32, "high": 128, "step": 16}, "int 32..128 step 16"),
        (
            {"type": "int", "low": 1, "high": 2, "when": {"p": [1, 2]}},
            "int 1..2 when p = 1 or 2",
        ),
    ],
)
def test_a_spec_is_described_in_one_line(spec: dict[str, Any], text: str) -> None:
    assert describe(space_of(x=spec).specs["x"]) == text


def test_size_and_grid_count_the_points_of_a_finite_space() -> None:
    space = space_of(
        a={"type": "float", "low": 0.0, "high": 0.5, "step": 0.05},
        b={"type": "int", "low": 1, "high": 10, "step": 4},
        c={"type": "categorical", "choices": [True, False]},
    )

    assert space.size() == 11 * 3 * 2
    assert grid_of(space.specs["a"]) == [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5]
    assert space_of(d={"type": "float", "low": 0.0, "high": 1.0}).size() == float("inf")
