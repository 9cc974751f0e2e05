from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import TypeAdapter

from tunectl.config.overrides import Override, parse
from tunectl.config.search_schema import ParameterSpec
from tunectl.search.space import distribution_of


def _one(text: str) -> Override:
    overrides, problems = parse([text])
    assert problems == []
    return overrides[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b=5", 5),
        ("+a.b=5", 5),
        ("++a.b=5", 5),
        ("a.b=1e-5", 1e-5),
        ("a.b=true", True),
        ("a.b=null", None),
        ("a.b=some text", "some text"),
        ("a.b='1,2'", "1,2"),
        ("a.b=[1,x]", [1, "x"]),
        ("a.b={c: 1}", {"c": 1}),
        ("a.b=${c.d}", "${c.d}"),
    ],
)
def test_a_value_of_any_type_is_set(text: str, value: object) -> None:
    override = _one(text)

    assert (override.kind, override.key, override.value) == ("set", "a.b", value)


def test_a_key_is_deleted() -> None:
    assert (_one("~a.b").kind, _one("~a.b").key) == ("delete", "a.b")


@pytest.mark.parametrize(
    ("sweep", "spec"),
    [
        ("interval(0,1)", {"type": "float", "low": 0.0, "high": 1.0}),
        ("int(interval(1,8))", {"type": "int", "low": 1, "high": 8}),
        (
            "tag(log, interval(1e-5,1e-2))",
            {"type": "float", "low": 1e-5, "high": 1e-2, "log": True},
        ),
        (
            "tag(log,int(interval(1,64)))",
            {"type": "int", "low": 1, "high": 64, "log": True},
        ),
        ("choice(2,4,8)", {"type": "categorical", "choices": [2, 4, 8]}),
        ("choice(true,false)", {"type": "categorical", "choices": [True, False]}),
        ("adam,'sgd'", {"type": "categorical", "choices": ["adam", "sgd"]}),
        ("range(32,129,16)", {"type": "int", "low": 32, "high": 128, "step": 16}),
        ("range(32,128,16)", {"type": "int", "low": 32, "high": 112, "step": 16}),
        ("range(4)", {"type": "int", "low": 0, "high": 3, "step": 1}),
        ("range(9,0,-3)", {"type": "int", "low": 3, "high": 9, "step": 3}),
        ("range(0.1,0.4,0.1)", {"type": "float", "low": 0.1, "high": 0.3, "step": 0.1}),
    ],
)
def test_a_sweep_becomes_a_parameter(sweep: str, spec: dict[str, object]) -> None:
    override = _one(f"a.b={sweep}")

    assert override.kind == "sweep"
    assert override.value == spec
    assert type(override.value.get("low")) is type(spec.get("low"))


@pytest.mark.parametrize(
    ("sweep", "distribution"),
    [
        ("range(-5.5,5.5,step=0.5)", FloatDistribution(-5.5, 5.0, step=0.5)),
        ("choice(-5,0,5)", CategoricalDistribution((-5, 0, 5))),
        ("interval(-5.0, 5.0)", FloatDistribution(-5.0, 5.0)),
        ("interval(0, 10)", FloatDistribution(0.0, 10.0)),
        ("int(interval(-5.0, 5.0))", IntDistribution(-5, 5)),
        ("tag(log, interval(1, 10))", FloatDistribution(1.0, 10.0, log=True)),
        ("range(-5.0, 5.0)", FloatDistribution(-5.0, 4.0, step=1.0)),
        ("shuffle(range(-5, 5))", CategoricalDistribution(tuple(range(-5, 5)))),
        ("choice(-5.0, 0.0, 5.0)", CategoricalDistribution((-5.0, 0.0, 5.0))),
        ("choice(0, 1, 2, 3, 4, 5)", CategoricalDistribution((0, 1, 2, 3, 4, 5))),
        ("range(1,4)", IntDistribution(1, 3)),
        ("range(0, 5, step=0.5)", FloatDistribution(0.0, 4.5, step=0.5)),
        ("range(0, 3, step=0.5)", FloatDistribution(0.0, 2.5, step=0.5)),
    ],
)
def test_the_examples_of_hydras_own_sweeper_mean_what_it_documents(
    sweep: str, distribution: BaseDistribution
) -> None:
    spec = TypeAdapter(ParameterSpec).validate_python(_one(f"a.b={sweep}").value)

    assert distribution_of(spec) == distribution


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-9, 9).filter(bool))
def test_a_range_has_the_bounds_of_pythons(start: int, stop: int, step: int) -> None:
    overrides, problems = parse([f"a=range({start},{stop},{step})"])
    values = range(start, stop, step)

    if not values:
        assert "has no values" in problems[0].message
        return
    spec = overrides[0].value
    assert (spec["low"], spec["high"], spec["step"]) == (min(values), max(values), abs(step))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training.epochs", "key=value"),
        ("=5", "key is missing"),
        ("a/b=5", "config groups"),
        ("a@b=5", "config groups"),
        ("~a=5", "without a value"),
        ("a=tag(linear,interval(0,1))", "unknown tag 'linear'; valid: log"),
        ("a=tag(log,choice(1,2))", "not for choices"),
        ("a=glob(*)", "only choice, range, interval"),
        ("a=range(3,1)", "has no values"),
        ("a=range(1,3,0)", "step"),
        ("a=range(0,inf)", "finite"),
        ("a=range(0,nan)", "finite"),
        (f"a=range(0,{'9' * 400})", "64 bits"),
        (f"a={'9' * 5000}", "cannot be read"),
        ("a=" + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("a=" + "[" * 40 + "]" * 40, "nested too deeply"),
        (".".join("a" * 40) + "=[1]", "nested too deeply"),
        ("a=\udcff", "cannot be stored"),
    ],
)
def test_an_override_that_cannot_be_used_is_a_problem_that_shows_it(text: str, words: str) -> None:
    overrides, (problem,) = parse([text])

    assert overrides == []
    assert words in problem.message
    assert "(in the override '" in problem.message


def test_a_syntax_error_is_pointed_at() -> None:
    _, (problem,) = parse(["a=b=c"])

    assert problem.message.splitlines()[1:] == ["    a=b=c", "       ^"]


def test_all_bad_overrides_are_reported_and_the_good_ones_kept() -> None:
    overrides, problems = parse(["a=(", "b=1", "c"])

    assert [override.key for override in overrides] == ["b"]
    assert len(problems) == 2


@given(st.text(max_size=40))
def test_no_text_makes_the_parser_fall_over(text: str) -> None:
    overrides, problems = parse([text])

    assert len(overrides) + len(problems) == 1


def test_hydra_is_not_imported_without_overrides() -> None:
    code = "import sys, tunectl.config.load; sys.exit('hydra' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_float_bounds_are_not_lost_to_rounding() -> None:
    spec = _one("a=range(0,1,0.1)").value

    assert math.isclose(spec["high"], 0.9)
