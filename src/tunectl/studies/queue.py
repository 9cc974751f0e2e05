"""Known points, queued so that the next trials run them: checked against the study's space first.

What a point leaves out is left to the sampler. This module knows the stored search space and the
study, but not how points are written in a file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import FloatDistribution, IntDistribution

from tunectl.config import fields
from tunectl.config.constraints import Constraint, parse_constraint
from tunectl.config.layout import layout_for
from tunectl.config.schema import Settings
from tunectl.config.search_schema import Choice, IntRange, ParameterSpec
from tunectl.config.section import Scalar
from tunectl.config.values import describe, number
from tunectl.errors import Problem, StudyFileError, UsageError
from tunectl.search.space import SearchSpace, distribution_of
from tunectl.search.space import describe as describe_spec
from tunectl.studies.differences import flat_values
from tunectl.studies.lifecycle import stored_settings
from tunectl.studies.points_file import Point, PointsFile

FIXED_ATTR = "fixed_params"  # where Optuna keeps the parameters of a queued trial
_GRID_TOLERANCE = 1e-8  # in steps; Optuna's own


@dataclass(frozen=True, kw_only=True)
class CheckedPoints:
    """Points that fit a study's search space.

    Args:
        points: Each as dotted key → value, of the type that the study stores.
        warnings: What works but is perhaps not meant.
    """

    points: Sequence[Mapping[str, Scalar]]
    warnings: Sequence[Problem]


def check_points(found: PointsFile, study: optuna.Study) -> CheckedPoints:
    """Check points against the search space that is stored with a study.

    Raises:
        UsageError: another program made the study, so that no search space is stored with it.
        StudyFileError: with every problem of the file at once.
    """
    settings = stored_settings(study)
    if settings is None:
        raise UsageError(
            f"study {study.study_name!r} was made by another program: no search space is stored "
            "with it that points could be checked against"
        )
    judge = _Judge(settings)
    problems = [*found.problems, *judge.judge_columns(found)]
    warnings: list[Problem] = []
    points = []
    for point in found.points:
        values, wrong, doubtful = judge.judge(point, found)
        points.append(values)
        problems += wrong
        warnings += doubtful
    if problems:
        raise StudyFileError(sorted(problems, key=lambda problem: problem.line or 0))
    return CheckedPoints(points=points, warnings=warnings)


def enqueue_points(
    study: optuna.Study, points: Sequence[Mapping[str, Scalar]], *, skip_existing: bool = False
) -> int:
    """Queue points as waiting trials, which are run before the sampler proposes anything.

    Args:
        study: The study.
        points: Checked ones.
        skip_existing: Leave out those that are queued or were tried already, whatever came of it.

    Returns:
        How many were queued.
    """
    trials = study.get_trials(deepcopy=False) if skip_existing else []
    there = {_identity(one.system_attrs.get(FIXED_ATTR, one.params)) for one in trials}
    queued = 0
    for point in points:
        identity = _identity(point)
        if skip_existing and identity in there:
            continue
        study.enqueue_trial(dict(point))
        there.add(identity)
        queued += 1
    return queued


def _identity(point: Mapping[str, Any]) -> str:
    # Twelve digits: the same point of a grid may have been worked out in another way.
    rounded = {k: f"{v:.12g}" if isinstance(v, float) else v for k, v in point.items()}
    return json.dumps(rounded, sort_keys=True)


class _Judge:
    """Says what of a point does not fit the stored search space."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._space = SearchSpace(settings.search.params_to_tune)
        self._fixed = flat_values(settings)
        self._constraints = [parse_constraint(text) for text in settings.search.constraints]

    def judge_columns(self, found: PointsFile) -> Iterator[Problem]:
        """Yield the columns of a table that are no parameters, once and not for each row."""
        for key in found.columns:
            if key and key not in self._space.specs:
                yield Problem(file=found.name, line=1, key=key, message=self._unknown(key))

    def judge(
        self, point: Point, found: PointsFile
    ) -> tuple[dict[str, Scalar], list[Problem], list[Problem]]:
        """Return a point's values as they are stored, its problems, and warnings."""
        values: dict[str, Scalar] = {}
        problems: list[Problem] = []
        warnings: list[Problem] = []

        def note(notes: list[Problem], key: str | None, message: str) -> None:
            line = point.line_of(key) if key else point.line
            text = f"{message} (point {point.number})"
            notes.append(Problem(file=found.name, line=line, key=key, message=text))

        for key, value in point.values.items():
            if key in self._space.specs:
                try:
                    values[key] = _fit(value, self._space.specs[key])
                except ValueError as error:
                    note(problems, key, str(error))
            elif key not in found.columns:
                note(problems, key, self._unknown(key))
        for key in values:
            certain, message = self._condition_flaw(key, values)
            if message:
                note(problems if certain else warnings, key, message)
        if not problems:
            for constraint in self._broken(values):
                note(problems, None, f"breaks the constraint {constraint.text}")
        return values, problems, warnings

    def _unknown(self, key: str) -> str:
        if key in layout_for(type(self._settings.run)).tunable:
            searched = ", ".join(self._space.order) or "nothing"
            return f"is not searched by this study; it searches {searched}"
        return fields.unknown(key, self._space.order)

    def _condition_flaw(self, key: str, values: Mapping[str, Scalar]) -> tuple[bool, str]:
        """Return why a parameter counts for nothing, and whether that is certain."""
        assumed = dict(values)
        pending = [key]
        while pending:
            for parent, wanted in (self._space.specs[pending.pop()].when or {}).items():
                if parent not in assumed:
                    assumed[parent] = wanted[0] if isinstance(wanted, list | tuple) else wanted
                    pending.append(parent)
        everything: dict[str, Scalar] = {**dict.fromkeys(self._space.specs), **assumed}
        condition = describe_spec(self._space.specs[key]).partition(" when ")[2]
        if key not in self._space.active(everything):
            return True, f"counts only when {condition}, which this point rules out"
        if assumed.keys() > values.keys():
            return False, f"counts only when {condition}, and this point leaves that to the sampler"
        return False, ""

    def _broken(self, values: Mapping[str, Scalar]) -> Iterator[Constraint]:
        """Yield the constraints that a point breaks whatever the sampler adds to it."""
        plain = {k: v for k, v in self._fixed.items() if isinstance(v, bool | int | float | str)}
        for constraint in self._constraints:
            given = not (constraint.names & self._space.specs.keys()) - values.keys()
            if given and constraint.violation({**plain, **values}) > 0:
                yield constraint


def _fit(value: Any, spec: ParameterSpec) -> Scalar:
    """Return a value as the study stores it.

    Raises:
        ValueError: the parameter cannot take it; the message says what it can.
    """
    valid = f"valid: {describe_spec(spec.model_copy(update={'when': None}))}"
    if isinstance(spec, Choice):
        for choice in spec.choices:
            # True == 1 in Python, but not in a file.
            if value == choice and isinstance(value, bool) == isinstance(choice, bool):
                return choice
        raise ValueError(f"{describe(value)} is none of its choices; {valid}")
    kind = "a whole number" if isinstance(spec, IntRange) else "a number"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected {kind}, not {describe(value)}; {valid}")
    if isinstance(spec, IntRange) and value != int(value):
        raise ValueError(f"expected {kind}, not {number(value)}; {valid}")
    distribution = distribution_of(spec)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return _on_grid(value, distribution, valid)


def _on_grid(
    value: float, distribution: IntDistribution | FloatDistribution, valid: str
) -> int | float:
    low, high, step = distribution.low, distribution.high, distribution.step
    tolerance = _GRID_TOLERANCE * (step or 0)
    if not low - tolerance <= value <= high + tolerance:
        raise ValueError(f"{number(value)} is out of range; {valid}")
    if step is not None:
        steps = (value - low) / step
        if abs(steps - round(steps)) > _GRID_TOLERANCE:
            below = low + math.floor(steps) * step
            near = " or ".join(number(round(one, 12)) for one in (below, below + step))
            raise ValueError(f"{number(value)} is between two steps; nearest: {near}; {valid}")
    inside = min(max(value, low), high)
    return int(inside) if isinstance(distribution, IntDistribution) else float(inside)
