"""What works, but is probably not meant: found in the settings before a study costs a night."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunectl.config.schema import Settings
from tunectl.config.search_schema import Choice, Component
from tunectl.config.section import Scalar
from tunectl.config.wording import findings
from tunectl.errors import Problem
from tunectl.objectives.base import Objective, Rehearsable
from tunectl.running.corners import bounds, corners
from tunectl.running.rehearsal import Rehearsals, satisfies
from tunectl.running.trial_config import configure_trial
from tunectl.search.pruners import PRUNERS
from tunectl.search.samplers import SAMPLERS, VISITS_ALL, sampler_warnings
from tunectl.search.space import SearchSpace

SPACE = "params_to_tune"
WIDE = 1000.0
"""A range whose ends differ by this factor is one of orders of magnitude."""
LARGE_RATE = 0.1
MOST_MISFITS = 10
_WARM_UPS = ("n_warmup_steps", "n_warmup_epochs")


def find_warnings(settings: Settings, objective: Objective, project: Path) -> Iterator[Problem]:
    """Yield what is probably not meant, without training anything.

    Args:
        settings: What the user wrote; they are valid.
        objective: What a trial runs.
        project: Absolute path of the project folder.
    """
    space = SearchSpace(settings.search.params_to_tune)
    yield from _wide_ranges(space)
    yield from _large_rates(space, settings)
    yield from sampler_warnings(settings.search.study.sampler, space)
    yield from _budget(space, settings)
    yield from _never_pruned(space, settings)
    if isinstance(objective, Rehearsable):
        yield from _misfits(space, settings, objective, project)


def rehearsal_warnings(rehearsals: Rehearsals) -> Iterator[Problem]:
    """Yield what went wrong when configurations were tried out."""
    seen = set[str]()
    for tried in rehearsals.everything:
        message = tried.error
        if tried.result is not None and not math.isfinite(tried.result.loss):
            message = f"the loss of the first batch is {tried.result.loss}"
        elif tried.result is not None and not tried.result.gradients_finite:
            message = "the gradients of the first batch are not finite numbers"
        if message is not None and message not in seen:
            seen.add(message)
            yield Problem(key=SPACE, message=f"{_named(tried.parameters)}: {message}")


def _wide_ranges(space: SearchSpace) -> Iterator[Problem]:
    for key, spec in space.specs.items():
        if isinstance(spec, Choice) or spec.log or spec.low <= 0 or spec.step not in (None, 1):
            continue
        if spec.high / spec.low >= WIDE:
            message = (
                f"{spec.low:g} to {spec.high:g} without log: true, so about nine of ten values "
                f"will be above {spec.high / 10:g}"
            )
            yield Problem(key=f"{SPACE}.{key}", message=message)


def _large_rates(space: SearchSpace, settings: Settings) -> Iterator[Problem]:
    key = "training.learning_rate"
    usual = settings.run.value(key)
    _, largest = bounds(space, key, usual if isinstance(usual, int | float) else 0.0)
    if largest > LARGE_RATE:
        message = f"up to {largest:g}; with more than {LARGE_RATE:g} most trainings diverge"
        yield Problem(key=_place(space, key), message=message)


def _budget(space: SearchSpace, settings: Settings) -> Iterator[Problem]:
    study = settings.search.study
    budget, sampler = study.n_trials, study.sampler
    random = _argument(sampler, "n_startup_trials", SAMPLERS)
    if random is not None and budget <= random:
        message = (
            f"{budget}, but the first {random:g} trials of {sampler.name} are random "
            "(n_startup_trials): nothing that is learnt will be used"
        )
        yield Problem(key="study.n_trials", message=message)
    points = space.size()
    if space.specs and points < budget:
        visits_all = sampler.name in VISITS_ALL
        then = "the study ends after them" if visits_all else "trials will repeat earlier ones"
        message = f"{budget}, but the space has no more than {points:g} points: {then}"
        yield Problem(key="study.n_trials", message=message)


def _never_pruned(space: SearchSpace, settings: Settings) -> Iterator[Problem]:
    study = settings.search.study
    if len(study.metric) > 1:
        return  # Optuna prunes trials with one value only
    pruner = _innermost(study.pruner)
    first = _argument(pruner, "n_startup_trials", PRUNERS)
    if first is not None and study.n_trials <= first:
        message = (
            f"{study.n_trials}, but {pruner.name} prunes nothing before {first:g} trials have "
            "finished (n_startup_trials): no trial will be pruned"
        )
        yield Problem(key="study.n_trials", message=message)
    if settings.run.epochs is None:
        return  # how many steps a trial reports is its own affair
    fewest, most = bounds(space, "training.epochs", settings.run.epochs)
    for name in _WARM_UPS:
        warm_up = _argument(pruner, name, PRUNERS)
        if warm_up is None or warm_up < fewest or fewest < 2:
            continue
        which = "no trial" if warm_up >= most else f"no trial of {fewest:g} epochs"
        message = f"{which} can be pruned: {pruner.name} waits for {warm_up:g} epochs ({name})"
        yield Problem(key="study.pruner", message=message)


def _misfits(
    space: SearchSpace, settings: Settings, objective: Objective, project: Path
) -> Iterator[Problem]:
    """Yield which extreme values do not fit the data, each reason once."""
    assert isinstance(objective, Rehearsable)
    found = dict[tuple[str | None, str], dict[str, Scalar]]()
    alone = (corner for key in space.order for corner in corners(space, [key]))
    for corner in (*alone, *corners(space, objective.size_keys)):
        reasons: list[tuple[str | None, str]]
        try:
            config = configure_trial(settings, objective, 0, corner)
        except ValidationError as error:
            reasons = [(one.key, one.message) for one in findings(error)]
        else:
            runs = satisfies(settings, config)
            problems = objective.misfits(config.run, project) if runs else []
            reasons = [(one.key, one.message) for one in problems]
        for reason in reasons:
            found.setdefault(reason, corner)
    for (key, message), corner in list(found.items())[:MOST_MISFITS]:
        text = f"trials with {_named(corner)} will fail: {key}: {message}"
        yield Problem(key=_place(space, key) if key else SPACE, message=text)


def _innermost(pruner: Component) -> Component:
    """Return the pruner that decides: the one that `PatientPruner` holds back, else itself."""
    inner = pruner.kwargs.get("wrapped_pruner")
    if isinstance(inner, dict) and isinstance(inner.get("name"), str):
        return _innermost(Component(name=inner["name"], kwargs=inner.get("kwargs") or {}))
    return pruner


def _argument(component: Component, name: str, known: dict[str, Any]) -> float | None:
    """Return a number that a sampler or pruner is made with; None if it has no such argument."""
    value = component.kwargs.get(name)
    if value is None and component.name in known:
        parameter = inspect.signature(known[component.name]).parameters.get(name)
        value = parameter.default if parameter is not None else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]


def _place(space: SearchSpace, key: str) -> str:
    return f"{SPACE}.{key}" if key in space.specs else key


def _named(parameters: Any) -> str:
    shown = ", ".join(f"{key}={str(value).lower()}" for key, value in parameters.items())
    return shown or "this configuration"
