"""`summary` for people: any study is legible on 80 columns, and what it says is true."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from tunectl.cli.summary_view import (
    ASCII_SPARKS,
    SPARKS,
    bound_text,
    importance_table,
    running_text,
    sparkline,
    summary_view,
    watch_view,
)
from tunectl.config.search_schema import Direction
from tunectl.reports.bounds import NearBound
from tunectl.reports.importances import Importances
from tunectl.reports.insights import look_into
from tunectl.reports.running_now import RunningNow
from tunectl.reports.summary import summarise

LOG = FloatDistribution(1e-4, 1e-1, log=True)
NAMES = [f"model.some_block_{i:02}.a_very_long_parameter_name_{i:02}" for i in range(40)]


def one(
    value: float | Sequence[float] | None,
    number: int = 0,
    names: Sequence[str] = ("training.learning_rate",),
    state: TrialState = TrialState.COMPLETE,
    **attrs: str,
) -> FrozenTrial:
    several = isinstance(value, Sequence)
    return optuna.trial.create_trial(
        state=state,
        value=None if several else value,  # type: ignore[arg-type]
        values=value if several else None,  # type: ignore[arg-type]
        params={name: 10 ** -(1 + ((number * 7 + i) % 30) / 10) for i, name in enumerate(names)},
        distributions=dict.fromkeys(names, LOG),
        intermediate_values={1: 1.0, 2: 0.5} if state != TrialState.FAIL else {},
        user_attrs={"output_dir": f"outputs/2026-01-31/12-00-{number % 60:02}", **attrs},
    )


def conditional(number: int) -> FrozenTrial:
    kind = "wide" if number % 2 else "plain"
    params: dict[str, object] = {"model.type": kind}
    space = {"model.type": CategoricalDistribution(("wide", "plain")), "model.width": LOG}
    if kind == "wide":
        params["model.width"] = 0.01 * (1 + number % 7)
    distributions = {name: space[name] for name in params}
    return optuna.trial.create_trial(
        value=1.0 / (1 + number), params=params, distributions=distributions
    )


STUDIES: dict[str, tuple[list[FrozenTrial], Sequence[Direction]]] = {
    "none": ([], ["minimize"]),
    "one": ([one(0.5)], ["minimize"]),
    "two": ([one(0.5), one(0.4, 1)], ["maximize"]),
    "many": ([one(1 / (1 + i), i) for i in range(2000)], ["minimize"]),
    "all pruned": ([one(0.5, i, state=TrialState.PRUNED) for i in range(12)], ["minimize"]),
    "all failed": (
        [one(None, i, state=TrialState.FAIL, error="it broke " * 99) for i in range(12)],
        ["minimize"],
    ),
    "constant": ([one(1.0, i) for i in range(60)], ["minimize"]),
    "infinite": ([one(v, i) for i, v in enumerate([math.inf, -math.inf, 1.0] * 9)], ["minimize"]),
    "no parameter": ([one(float(i), i, ()) for i in range(20)], ["minimize"]),
    "conditional": ([conditional(i) for i in range(40)], ["minimize"]),
    "long names": ([one(float(i % 7), i, NAMES) for i in range(30)], ["minimize"]),
    "several metrics": (
        [one((float(i), float(-i % 11)), i) for i in range(30)],
        ["minimize", "maximize"],
    ),
}


@pytest.fixture(scope="module", params=STUDIES)
def study(request: pytest.FixtureRequest) -> optuna.Study:
    trials, directions = STUDIES[request.param]
    made = optuna.create_study(study_name=request.param, directions=directions)
    made.add_trials(trials)
    return made


def shown(study: optuna.Study, *, width: int = 80, ascii_only: bool = False) -> list[str]:
    summary = summarise(study, "sqlite:///study.db", Path("/nowhere"))
    insights = look_into(study, Path("/nowhere"), nullcontext)
    console = Console(width=width)
    with console.capture() as captured:
        for view in summary_view(summary, insights, ascii_only=ascii_only):
            console.print(view)
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [40, 80])
def test_any_study_is_shown_in_lines_that_fit(study: optuna.Study, width: int) -> None:
    lines = shown(study, width=width)

    assert all(len(line) <= width for line in lines)
    text = "\n".join(lines)
    assert study.study_name in text.replace("\n         ", " ")
    assert "nan" not in text
    states = {trial.state for trial in study.trials}
    assert ("no trial is complete yet" in text) == (TrialState.COMPLETE not in states)


def test_any_study_fills_a_screen_that_is_watched(study: optuna.Study) -> None:
    summary = summarise(study, "sqlite:///study.db", Path("/nowhere"))
    insights = look_into(study, Path("/nowhere"), nullcontext)
    for width, height in ((20, 5), (80, 24), (200, 60)):
        console = Console(width=width, height=height)
        with console.capture() as captured:
            for view in watch_view(summary, insights, ascii_only=False, height=height):
                console.print(view)
        assert all(len(line) <= width for line in captured.get().splitlines())


def test_only_the_last_trials_are_listed_with_how_many_there_are() -> None:
    made = optuna.create_study()
    made.add_trials([one(1.0 + i, i) for i in range(300)])

    lines = shown(made)

    (title,) = (i for i, line in enumerate(lines) if line.startswith("the last 10 of 300 trials"))
    listed = [line.split()[0] for line in lines[title + 2 : title + 12]]
    assert listed == [str(number) for number in range(290, 300)]


def test_lessons_are_drawn_with_plain_characters_where_there_are_no_others() -> None:
    made = optuna.create_study()
    made.add_trials([one(10.0 / (1 + i), i, ["a", "b"]) for i in range(40)])

    drawn = [line for line in shown(made, ascii_only=True) if "#" in line or "history" in line]

    assert len(drawn) >= 2
    assert all(line.isascii() for line in drawn)


def test_a_sparkline_goes_from_the_first_value_to_the_last_on_the_values_own_scale() -> None:
    assert sparkline([3.0, 2.0, 1.0], 40, ascii_only=False) == "█▅▁"
    assert sparkline([1000.0, 10.0, 0.1], 40, ascii_only=False) == "█▅▁"  # by magnitude
    assert sparkline([-1.0, 1.0], 40, ascii_only=True) == ASCII_SPARKS[0] + ASCII_SPARKS[-1]
    assert sparkline([], 40, ascii_only=False) == ""
    assert len(set(sparkline([2.0] * 7, 40, ascii_only=False))) == 1
    many = sparkline([float(2000 - i) for i in range(2000)], 30, ascii_only=False)
    assert (len(many), many[0], many[-1]) == (30, SPARKS[-1], SPARKS[0])
    huge = sparkline([-1.7e308, 1.7e308], 40, ascii_only=False)
    assert huge == SPARKS[0] + SPARKS[-1]


def test_the_parameters_that_matter_most_are_listed_and_the_others_counted() -> None:
    shares = {name: 1 / len(NAMES) for name in NAMES}
    console = Console(width=80)
    with console.capture() as captured:
        console.print(importance_table(Importances(shares=shares, n_trials=60), ascii_only=False))

    lines = captured.get().splitlines()
    assert len(lines) == 11
    assert "_name_00" in lines[0]  # the end of a long name tells more than its beginning
    assert lines[-1].split() == ["and", "30", "more", "75", "%"]


def test_a_range_that_may_be_too_narrow_is_named_with_what_to_change() -> None:
    near = NearBound(
        name="training.learning_rate", side="high", bound=0.1, log=True, best=0.09, near=4, of=10
    )
    assert bound_text(near).plain == (
        "training.learning_rate: the best value, 0.09, is near its high of 0.1, on its log scale, "
        "as are 3 of the 9 next best; raise params_to_tune.training.learning_rate.high"
    )
    low = NearBound(name="model.hidden", side="low", bound=32, log=False, best=None, near=6, of=10)
    assert bound_text(low).plain == (
        "model.hidden: 6 of the 10 best trials are near its low of 32; "
        "lower params_to_tune.model.hidden.low"
    )


def test_what_runs_now_says_where_and_how_far_it_is() -> None:
    running = RunningNow(
        number=4, host="hal", is_interrupted=False, epochs=3, planned=50, value=0.25, spent_s=185.0
    )
    assert running_text(running, "val_mse").plain == (
        "trial 4 on hal: epoch 3/50, val_mse 0.25, for 3:05"
    )
    gone = RunningNow(
        number=4, host="hal", is_interrupted=True, epochs=3, planned=50, value=0.25, spent_s=185.0
    )
    assert "interrupted in epoch 4/50; the next call takes it up" in running_text(gone, "v").plain
