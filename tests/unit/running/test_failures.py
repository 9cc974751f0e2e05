"""What becomes of a trial, by what it raised: the policy alone, without a study."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.trial import TrialState

from tunectl.config.schema import TrialConfig
from tunectl.errors import (
    DataError,
    DivergedError,
    MemoryExhaustedError,
    ObjectiveError,
    Problem,
)
from tunectl.objectives.base import TrialPruned, TrialTimedOut
from tunectl.running.failures import ConstraintViolated, can_run_halved, halved, judge


def config(*, batch_size: int = 4, batch_parts: int = 1, **failures: Any) -> TrialConfig:
    return TrialConfig.model_validate(
        {
            "study": {
                "name": "s",
                "metric": "val_mse",
                "direction": "minimize",
                "values": ["val_mse"],
            },
            "number": 0,
            "parameters": {},
            "training": {"batch_size": batch_size},
            "batch_parts": batch_parts,
            "failures": failures,
        }
    )


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


DIVERGED = DivergedError("val_mse is nan in epoch 3")
TIMED_OUT = TrialTimedOut("over its time of 60 s after epoch 7")


@pytest.mark.parametrize(
    ("error", "policy", "state"),
    [
        (DIVERGED, {}, TrialState.PRUNED),
        (DIVERGED, {"diverged": "fail"}, TrialState.FAIL),
        (TIMED_OUT, {}, TrialState.PRUNED),
        (TIMED_OUT, {"timed_out": "fail"}, TrialState.FAIL),
        (ObjectiveError("no metric 'x'"), {}, TrialState.FAIL),
        (ConstraintViolated("not trained"), {}, TrialState.PRUNED),
    ],
)
def test_the_class_and_the_policy_decide_and_the_text_is_stored(
    error: Exception, policy: dict[str, Any], state: TrialState
) -> None:
    ending = judge(error, config(**policy))

    assert ending.state == state
    assert ending.attrs == {"error": str(error)}
    assert not ending.stops_study


def test_what_the_pruner_gives_up_has_no_error() -> None:
    assert judge(TrialPruned("by the pruner"), config()).attrs == {}


@pytest.mark.parametrize(
    "error", [ValueError("a bad day"), SystemExit(3), GeneratorExit("a bad day"), KeyError()]
)
def test_an_exception_has_its_class_its_message_and_its_place_in_one_line(
    error: BaseException,
) -> None:
    text = judge(raised(error), config()).text

    message = f": {error}" if str(error) else ""
    assert text.startswith(f"{type(error).__name__}{message} (running/test_failures.py:")
    assert "\n" not in text


def test_an_error_of_ours_needs_no_place() -> None:
    problem = Problem(key="training.batch_size", message="30 is more than 28")
    text = judge(raised(DataError([problem])), config()).text
    assert text == "DataError: training.batch_size: 30 is more than 28"


class _UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_a_message_that_is_broken_long_or_not_text_cannot_spoil_the_trial() -> None:
    assert (
        "_UnspeakableError: its message cannot be read" in judge(_UnspeakableError(), config()).text
    )
    assert len(judge(ValueError("x" * 10**6), config()).text) < 1100
    text = judge(ValueError("one\ntwo \udc80"), config()).text
    assert text.encode("utf-8") == rb"ValueError: one two \udc80"


@pytest.mark.parametrize("exception", ["fail", "stop"])
def test_only_an_exception_stops_the_study_and_only_if_it_is_to(exception: str) -> None:
    policy = config(exception=exception)
    assert judge(ValueError(), policy).stops_study is (exception == "stop")
    for error in (DIVERGED, TIMED_OUT, MemoryError(), TrialPruned()):
        assert not judge(error, policy).stops_study


EXHAUSTED = MemoryExhaustedError("out of memory on cpu: a smaller model needs less")


@pytest.mark.parametrize("error", [EXHAUSTED, MemoryError(), RuntimeError("CUDA out of memory")])
def test_memory_that_runs_out_has_the_trial_run_once_more_with_half_of_it(error: Exception) -> None:
    first = config(out_of_memory="half_batch")
    assert can_run_halved(error, first)
    second = halved(first)
    assert second.batch_parts == 2
    assert not can_run_halved(error, second)
    ending = judge(error, second)
    assert ending.state == TrialState.FAIL
    assert ending.text.startswith("out of memory")
    assert "it also ran out with each batch in 2 parts" in ending.text


def test_it_does_not_run_again_where_that_is_not_wanted_or_nothing_can_be_halved() -> None:
    assert not can_run_halved(EXHAUSTED, config())
    assert judge(EXHAUSTED, config()).text == str(EXHAUSTED)
    single = config(out_of_memory="half_batch", batch_size=1)
    assert not can_run_halved(EXHAUSTED, single)
    assert "a batch of a single sample has no half" in judge(EXHAUSTED, single).text
    assert not can_run_halved(ValueError(), config(out_of_memory="half_batch"))
