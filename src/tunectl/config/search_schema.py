"""`optuna_params.yaml` as frozen pydantic models: the study, its search space, its failures.

As in `schema.py`, a field's description is what `init` writes as its comment.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tunectl.config.constraints import parse_constraint
from tunectl.config.section import Scalar, Section

STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Component(Section):
    """A sampler or a pruner: its Optuna class name and the arguments of its constructor."""

    name: str = Field(min_length=1, description="Optuna's class name, or an allowed dotted path")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="arguments of that class")


def _in_a_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


OneOrMany = BeforeValidator(_in_a_list)
Direction = Literal["minimize", "maximize"]


class Study(Section):
    """The search."""

    name: str = Field("flow_cnn", description="name in the database and of a folder")
    direction: Annotated[
        tuple[Direction, ...],
        OneOrMany,
        Field(strict=False, min_length=1, description="of the metric, or a list: one of each"),
    ] = ("minimize",)
    metric: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        OneOrMany,
        Field(strict=False, min_length=1, description="what is optimised, or a list of several"),
    ] = ("val_mse",)
    n_trials: int = Field(20, ge=1, description="finished trials that the study is to have")
    timeout: float | None = Field(None, gt=0, description="seconds after which a call stops")
    max_retries: int = Field(3, ge=0, description="deaths of a worker at one place of a trial")
    seed: int = Field(42, ge=0, lt=2**32, description="of the sampler")
    sampler: Component = Field(
        Component(name="TPESampler"), description="proposes the next trial's parameters"
    )
    pruner: Component = Field(
        Component(name="MedianPruner", kwargs={"n_startup_trials": 5, "n_warmup_steps": 10}),
        description="stops hopeless trials early",
    )

    @field_validator("name")
    @classmethod
    def _safe_name(cls, name: str) -> str:
        return checked_study_name(name)

    @model_validator(mode="after")
    def _one_direction_per_metric(self) -> Self:
        if len(self.direction) not in (1, len(self.metric)):
            raise ValueError(
                f"{len(self.metric)} metrics need as many directions, not {len(self.direction)}"
            )
        if len(set(self.metric)) < len(self.metric):
            raise ValueError("metrics must be distinct")
        return self

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The direction of each metric; a single one counts for all."""
        if len(self.direction) == len(self.metric):
            return self.direction
        return self.direction * len(self.metric)


class Failures(Section):
    """What becomes of a trial that goes wrong, and when so many do that the study is hopeless."""

    diverged: Literal["prune", "fail"] = Field(
        "prune", description="a loss that is no number or explodes: prune or fail the trial"
    )
    explosion: float = Field(
        1e6, gt=1, description="a loss explodes when it is so many times that of a constant guess"
    )
    out_of_memory: Literal["fail", "half_batch"] = Field(
        "fail", description="fail, or half_batch: once more, each batch in two parts"
    )
    exception: Literal["fail", "stop"] = Field(
        "fail", description="an error of the objective: fail the trial, or stop the study too"
    )
    trial_timeout: float | None = Field(
        None, gt=0, description="seconds that a trial may train for; null means any time"
    )
    timed_out: Literal["prune", "fail"] = Field(
        "prune", description="a trial over its time: prune or fail it"
    )
    max_consecutive_failures: int | None = Field(
        5, ge=1, description="failed trials in a row that stop the study; null means never"
    )


class IntRange(Section):
    """A whole number between two bounds, both included."""

    type: Literal["int"] = "int"
    low: int
    high: int
    step: int = Field(1, ge=1)
    log: bool = False
    when: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _bounds_make_sense(self) -> Self:
        _check_range(self.low, self.high, log=self.log)
        if self.log and self.step != 1:
            raise ValueError("log and step exclude each other")
        return self


class FloatRange(Section):
    """A real number between two bounds, both included."""

    type: Literal["float"] = "float"
    low: float
    high: float
    step: float | None = Field(None, gt=0)
    log: bool = False
    when: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _bounds_make_sense(self) -> Self:
        _check_range(self.low, self.high, log=self.log)
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other")
        return self


class Choice(Section):
    """One of a list."""

    type: Literal["categorical"] = "categorical"
    choices: Annotated[tuple[Scalar, ...], Field(strict=False, min_length=1)]
    when: dict[str, Any] | None = None

    @field_validator("choices")
    @classmethod
    def _distinct_choices(cls, choices: tuple[Scalar, ...]) -> tuple[Scalar, ...]:
        # Optuna finds a choice by ==, so it cannot tell 1 from 1.0 or true.
        if len(set(choices)) < len(choices):
            raise ValueError("choices must be distinct, and 1, 1.0 and true are the same to Optuna")
        return choices


ParameterSpec = Annotated[IntRange | FloatRange | Choice, Field(discriminator="type")]


def _check_range(low: float, high: float, *, log: bool) -> None:
    if low > high:
        raise ValueError(f"low ({low}) is greater than high ({high})")
    if log and low <= 0:
        raise ValueError(f"log needs low > 0, not {low}")


class Search(Section):
    """`optuna_params.yaml` without its `base_params`, which are merged into the training run."""

    study: Study = Study()
    failures: Failures = Failures()
    params_to_tune: dict[str, ParameterSpec] = Field(default_factory=dict)
    constraints: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (), description='what every trial must satisfy, for example ["model.hidden * 2 <= 256"]'
    )

    @field_validator("constraints")
    @classmethod
    def _parsable(cls, constraints: tuple[str, ...]) -> tuple[str, ...]:
        for text in constraints:
            parse_constraint(text)
        return constraints


def checked_study_name(name: str) -> str:
    """Return `name` if it can be a study's and a folder's name.

    Raises:
        ValueError: it is empty, too long or has characters that do not belong into a path.
    """
    if not STUDY_NAME.fullmatch(name):
        shown = name if len(name) <= 40 else f"{name[:37]}..."
        raise ValueError(
            f"{shown!r} cannot be a study's name: it becomes a folder, so use 1 to 100 letters, "
            "digits, '.', '_' and '-', the first a letter or digit"
        )
    return name
