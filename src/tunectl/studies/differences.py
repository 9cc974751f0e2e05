"""How today's files differ from a stored study, and what each difference does to it.

A difference is safe, degrades the sampler, or is impossible by Optuna's own rules, which are asked
before any trial is: a refusal after the fact would leave a failed trial behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    check_distribution_compatibility,
)
from optuna.trial import FrozenTrial

from tunectl.config.schema import Settings
from tunectl.config.search_schema import ParameterSpec
from tunectl.search.space import describe, distribution_of
from tunectl.studies.ranking import directions_of, metrics_of

# Values of a training run that say nothing about its result.
NEUTRAL = ("training.run_name", "training.num_workers")
NOT_OF_THE_RUN = ("study", "failures", "runtime")
RESULT_RUNTIME = ("precision",)
_ROUNDS = "it changes the last digits of a result at most"
WHY_SAFE: Mapping[str, str] = {
    "runtime.device": "another kind of device rounds, and draws dropout, in its own way",
    "runtime.workers": _ROUNDS,  # they share the cores, so each has other threads
    "runtime.threads_per_worker": _ROUNDS,
    "runtime.max_threads": _ROUNDS,
    "runtime.deterministic": _ROUNDS,
}


class Grade(StrEnum):
    """What a difference does to a study that goes on."""

    SAFE = "safe"
    DEGRADES = "degrades the sampler"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that is not as it was.

    Args:
        key: Dotted key.
        then: What the study was made with, None if it was not there.
        now: What the files say today, None if it is not there.
        grade: What it does to the study.
        why: The reason, one sentence without a full stop.
        of_space: Whether it concerns the search itself rather than what surrounds it.
    """

    key: str
    then: str | None
    now: str | None
    grade: Grade
    why: str
    of_space: bool = True

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "key": self.key,
            "then": self.then,
            "now": self.now,
            "class": self.grade.value,
            "why": self.why,
        }

    def __str__(self) -> str:
        then, now = self.then or "absent", self.now or "absent"
        return f"{self.key}: {then} became {now}: {self.grade.value}, {self.why}"


def compare(
    study: optuna.Study, stored: Settings | None, today: Settings
) -> tuple[Difference, ...]:
    """Compare a stored study with today's files.

    Args:
        study: The study; nothing of it is changed.
        stored: The configuration stored with it, None for one that another program made.
        today: What the files say.

    Returns:
        The differences: those of the search first, the worst first.
    """
    trials = [t for t in study.get_trials(deepcopy=False) if t.params or t.state.is_finished()]
    found = [*_goal(study, today), *_space(stored, today, trials)]
    if stored is not None:
        found += [*_constraints(stored, today, trials), *_surroundings(stored, today, trials)]
    order = list(reversed(Grade))
    return tuple(sorted(found, key=lambda one: (not one.of_space, order.index(one.grade), one.key)))


def misfits(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences for which a study does not go on unless the user says so."""
    return [one for one in differences if one.of_space and one.grade is not Grade.SAFE]


def _goal(study: optuna.Study, today: Settings) -> Iterator[Difference]:
    wanted = today.search.study
    then, now = metrics_of(study), wanted.metric
    if study.metric_names is not None and then != now:
        why = "values of two metrics cannot be compared"
        yield _impossible("study.metric", ", ".join(then), ", ".join(now), why)
    if directions_of(study) != wanted.directions:
        then_way, now_way = ", ".join(directions_of(study)), ", ".join(wanted.directions)
        yield _impossible("study.direction", then_way, now_way, "Optuna keeps the stored one")


def _impossible(key: str, then: str, now: str, why: str) -> Difference:
    return Difference(key=key, then=then, now=now, grade=Grade.IMPOSSIBLE, why=why)


def _space(
    stored: Settings | None, today: Settings, trials: Sequence[FrozenTrial]
) -> Iterator[Difference]:
    now_specs = today.search.params_to_tune
    seen = _distributions(trials)
    if stored is None:
        yield from _foreign_space(seen, now_specs)
        return
    then_specs = stored.search.params_to_tune
    for key in sorted({*then_specs, *now_specs}):
        then, now = then_specs.get(key), now_specs.get(key)
        was = describe(then) if then is not None else None
        becomes = describe(now) if now is not None else None
        if not _is_same(then, now):
            grade, why = _grade(key, then, now, seen.get(key), trials)
            yield Difference(key=key, then=was, now=becomes, grade=grade, why=why)


def _is_same(then: ParameterSpec | None, now: ParameterSpec | None) -> bool:
    """Whether two specs are the same to the last digit, and 1, 1.0, true and "1" are not."""
    if then is None or now is None:
        return then is now
    return then.model_dump_json() == now.model_dump_json()


def _grade(
    key: str,
    then: ParameterSpec | None,
    now: ParameterSpec | None,
    seen: BaseDistribution | None,
    trials: Sequence[FrozenTrial],
) -> tuple[Grade, str]:
    if not trials or (seen is None and then is not None):
        return Grade.SAFE, "no trial has a value of it yet"
    if seen is None:
        count = f"the {len(trials)} trials so far have no value of it"
        return Grade.DEGRADES, f"{count}, so it is modelled apart from the others"
    if now is None:
        return Grade.DEGRADES, "earlier results differ by it, which the sampler no longer sees"
    return _grade_change(key, seen, distribution_of(now), then, now, trials)


def _grade_change(
    key: str,
    seen: BaseDistribution,
    wanted: BaseDistribution,
    then: ParameterSpec | None,
    now: ParameterSpec,
    trials: Sequence[FrozenTrial],
) -> tuple[Grade, str]:
    try:
        check_distribution_compatibility(seen, wanted)
    except ValueError:
        if isinstance(seen, CategoricalDistribution) and isinstance(
            wanted, CategoricalDistribution
        ):
            return Grade.IMPOSSIBLE, "Optuna stores a choice by its place in the list"
        return Grade.IMPOSSIBLE, "Optuna keeps type and log scale of a parameter for good"
    if seen == wanted and then is not None and then.when != now.when:
        return Grade.DEGRADES, "earlier trials had it under another condition"
    outside = sum(
        not wanted._contains(wanted.to_internal_repr(trial.params[key]))
        for trial in trials
        if key in trial.params
    )
    lost = f"; {outside} earlier trials lie outside" if outside else ""
    return Grade.DEGRADES, f"its range differs, so the joint model leaves it out{lost}"


def _foreign_space(
    seen: Mapping[str, BaseDistribution], now_specs: Mapping[str, ParameterSpec]
) -> Iterator[Difference]:
    """Compare with what the trials of another program's study have."""
    for key in sorted({*seen, *now_specs}):
        then = seen.get(key)
        now = distribution_of(now_specs[key]) if key in now_specs else None
        if then == now or not seen:
            continue
        grade, why = Grade.DEGRADES, "earlier trials have other values of it, or none"
        if then is not None and now is not None:
            try:
                check_distribution_compatibility(then, now)
            except ValueError as error:
                grade, why = Grade.IMPOSSIBLE, str(error).rstrip(".")
        yield Difference(
            key=key,
            then=str(then) if then is not None else None,
            now=str(now) if now is not None else None,
            grade=grade,
            why=why,
        )


def _constraints(
    stored: Settings, today: Settings, trials: Sequence[FrozenTrial]
) -> Iterator[Difference]:
    then, now = stored.search.constraints, today.search.constraints
    for text in sorted({*then, *now} - ({*then} & {*now})):
        grade, why = Grade.DEGRADES, "earlier trials were not judged by the same constraints"
        if not trials:
            grade, why = Grade.SAFE, "no trial has run yet"
        yield Difference(
            key="constraints",
            then=text if text in then else None,
            now=text if text in now else None,
            grade=grade,
            why=why,
        )


def _surroundings(
    stored: Settings, today: Settings, trials: Sequence[FrozenTrial]
) -> Iterator[Difference]:
    """Compare what is not searched: the training run, the study's settings, the runtime."""
    tuned = {*stored.search.params_to_tune, *today.search.params_to_tune}
    then, now = flat_values(stored), flat_values(today)
    for key in sorted({*then, *now} - tuned):
        if then.get(key) == now.get(key):
            continue
        is_run = key.partition(".")[0] not in NOT_OF_THE_RUN and key not in NEUTRAL
        matters = trials and (is_run or key.removeprefix("runtime.") in RESULT_RUNTIME)
        grade, why = Grade.SAFE, WHY_SAFE.get(key, "it changes no result")
        if matters:
            grade, why = Grade.DEGRADES, "earlier results may not be comparable"
        if matters and key == "objective":
            grade, why = Grade.IMPOSSIBLE, "earlier trials ran something else"
        yield Difference(
            key=key,
            then=str(then.get(key)),
            now=str(now.get(key)),
            grade=grade,
            why=why,
            of_space=grade is Grade.IMPOSSIBLE,  # no more to be mended than another space
        )


def flat_values(settings: Settings) -> dict[str, object]:
    """Return what is not searched by dotted key: training run, study and runtime."""
    study = settings.search.study.model_dump(
        mode="json", exclude={"metric", "direction", "name", "sampler", "pruner"}
    )
    study |= {
        "sampler": str(settings.search.study.sampler.model_dump(mode="json")),
        "pruner": str(settings.search.study.pruner.model_dump(mode="json")),
    }
    tree = {
        **settings.run.model_dump(mode="json"),
        "study": study,
        "failures": settings.search.failures.model_dump(mode="json"),
        "runtime": settings.surroundings.runtime.model_dump(mode="json"),
    }
    return _flat(tree)


def _distributions(trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Return the distribution that each parameter had last."""
    return {key: found for trial in trials for key, found in trial.distributions.items()}


def _flat(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    leaves: dict[str, object] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        leaves |= _flat(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return leaves
