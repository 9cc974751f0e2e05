"""Trials that a script drives: handed out, reported on, and told of, one call each.

Between two calls no process holds a trial's lock; a user attribute says that a script has it, so
that no worker takes it up. To hand out and to be told are the beginning and the end of an ordinary
trial, whose objective does nothing in between.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from optuna.trial import FrozenTrial, TrialState

from tunectl.artifacts import atomic
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.run import Run
from tunectl.config.search_schema import Direction
from tunectl.config.section import Scalar
from tunectl.errors import ObjectiveError, Problem, StudyStoppedError, UsageError
from tunectl.objectives.base import (
    Objective,
    Outcome,
    TrialContext,
    TrialInterrupted,
    TrialPruned,
)
from tunectl.objectives.command.environment import told_of
from tunectl.objectives.command.metric import as_number
from tunectl.objectives.command.protocol import Report
from tunectl.objectives.command.reports import Reports
from tunectl.objectives.trial import seed_of
from tunectl.running.events import TrialEnded
from tunectl.running.trial_config import epoch_metric
from tunectl.running.trial_end import describe_end
from tunectl.running.worker import Workplace, run_trial
from tunectl.studies import attributes
from tunectl.studies.budget import Claims, Nothing
from tunectl.studies.claimant import claimed_since_s
from tunectl.studies.directories import own_directory
from tunectl.studies.ranking import STATE_NAMES
from tunectl.studies.recovery import Standing, running_trials
from tunectl.studies.storage import storage_errors

EndWord = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True, kw_only=True)
class HandedOut:
    """A trial that a script has from now on.

    Args:
        number: Its number.
        parameters: What the sampler proposes, by dotted key.
        directory: Its folder.
        variables: What tells of it, as environment variables.
        resumed: Whether somebody had it before and was interrupted.
        last_step: The last step that was reported then, None for none.
    """

    number: int
    parameters: Mapping[str, Scalar]
    directory: TrialDir
    variables: Mapping[str, str]
    resumed: bool
    last_step: int | None


def ask(place: Workplace, claims: Claims) -> HandedOut | Nothing:
    """Claim the next trial for a script, interrupted ones first.

    Args:
        place: The study and its surroundings.
        claims: What may be claimed.

    Returns:
        The trial, or why there is none. One whose parameters break a constraint is stored as
        pruned, and the next one is asked for.

    Raises:
        ObjectiveError: a trial cannot be configured; it is stored as failed.
        StorageError: the database or the disk failed.
    """
    while True:
        with storage_errors(place.storage_url), claims.next() as claim:
            if isinstance(claim, Nothing):
                return claim
            counter = _Handing(place.objective, resumed=claim.adopted)
            try:
                ended = run_trial(replace(place, objective=counter), claim)
            except TrialInterrupted:
                claim.trial.set_user_attr(attributes.OUTSIDE, True)
                assert counter.handed is not None
                reported = place.stored(claim.trial.number).last_step
                return replace(counter.handed, last_step=reported)
        if ended.state == "failed":
            raise ObjectiveError(f"trial {ended.number}: {ended.error}")


def report(place: Workplace, number: int, step: int, metrics: Mapping[str, float]) -> float:
    """Store what a step of a trial has reached; one that was reported keeps its value.

    Args:
        place: The study and its surroundings.
        number: The trial's number.
        step: The step, 0 or more.
        metrics: By name; an empty name stands for the study's metric.

    Returns:
        The value of the study's metric at that step.

    Raises:
        UsageError: no script has the trial, the metric is missing or not finite, or the step is
            smaller than the last.
    """
    frozen = _driven(place, number)
    metric, direction = epoch_metric(place.settings, place.objective)
    named = {name or metric: value for name, value in metrics.items()}
    directory = own_directory(place.study.study_name, frozen, place.tree.project)
    reports = None
    if directory is not None:
        reports = Reports(directory.reports_file, metric, maximize=direction == "maximize")
        reports.recall()
    is_single = len(place.settings.search.study.metric) == 1
    known: dict[int, float | None] = dict(frozen.intermediate_values)
    if not is_single and reports is not None:  # of several metrics the database has no steps
        known = {one: reports.at(one).get(metric) for one in reports.steps}
    _check_report(number, known, metric, step, named)
    stored = known.get(step)
    if stored is not None:  # the file may still lack it, if this was cut short the last time
        named = {**named, metric: stored}
    elif is_single:
        with storage_errors(place.storage_url):
            # Not by Optuna's `Trial`, whose making asks the sampler once more.
            storage = place.study._storage
            storage.set_trial_intermediate_value(frozen._trial_id, step, named[metric])
    if reports is not None:
        reports.add(Report(step=step, metrics=named))
    return named[metric]


def should_prune(place: Workplace, number: int) -> bool:
    """Whether the pruner gives a trial up, or it is over its time.

    Raises:
        UsageError: no script has the trial.
    """
    frozen = _driven(place, number)
    limit_s, since_s = place.settings.search.failures.trial_timeout, claimed_since_s(frozen)
    if limit_s is not None and since_s is not None and time.time() - since_s > limit_s:
        return True
    if len(place.settings.search.study.metric) > 1 or not frozen.intermediate_values:
        return False
    with storage_errors(place.storage_url):
        return bool(place.study.pruner.prune(place.study, copy.deepcopy(frozen)))


def tell(
    place: Workplace,
    claims: Claims,
    number: int,
    metrics: Mapping[str, float],
    state: EndWord = "complete",
    reason: str | None = None,
) -> TrialEnded:
    """End a trial as its script says.

    Args:
        place: The study and its surroundings.
        claims: The claims of this process.
        number: The trial's number.
        metrics: By name, all of the study's among them, or none: then its best report counts. An
            empty name stands for the study's first metric.
        state: How it ended.
        reason: Why, where it is not complete.

    Raises:
        UsageError: no script has the trial, or a metric is missing.
        StorageError: the database or the disk failed; it can be told again.
    """
    frozen = _driven(place, number)
    names = place.settings.search.study.metric
    named = {name or names[0]: value for name, value in metrics.items()}
    if state == "complete":
        _check_metrics(frozen, names, named)
        named = named or {names[0]: _best_report(place, frozen)}
    told = _Told(place.objective, named, state, reason or f"its script says {state}")
    with storage_errors(place.storage_url), claims.outside(number) as claim:
        if claim is None:
            raise UsageError(f"trial {number} is told of by another process")
        try:
            return run_trial(replace(place, objective=told), claim)
        except StudyStoppedError:  # there is no worker to stop
            return describe_end(place.study, place.stored(number), claim.directory)


def _driven(place: Workplace, number: int) -> FrozenTrial:
    """Return a trial that a script has.

    Raises:
        UsageError: it has not.
    """
    frozen = place.stored(number)
    if frozen.state is not TrialState.RUNNING:
        raise UsageError(f"trial {number} is {STATE_NAMES[frozen.state]} already")
    if frozen.user_attrs.get(attributes.OUTSIDE) is not True:
        raise UsageError(f"trial {number} was not handed out by tunectl trial ask: a worker has it")
    standing = next(
        (
            one.standing
            for one in running_trials(place.study, place.tree.project)
            if one.trial.number == number
        ),
        None,
    )
    if standing is not None and standing.is_interrupted:
        raise UsageError(
            f"trial {number} was given back (tunectl trial release), and is no script's until "
            "tunectl trial ask hands it out again"
        )
    if standing is not Standing.OUTSIDE:
        raise UsageError(f"trial {number} is in the hands of another process just now")
    return frozen


def _check_report(
    number: int,
    known: Mapping[int, float | None],
    metric: str,
    step: int,
    metrics: Mapping[str, float],
) -> None:
    if metric not in metrics:
        raise UsageError(f"{metric} is not among the values: {', '.join(metrics)}")
    if not math.isfinite(metrics[metric]):
        raise UsageError(
            f"{metric} is {metrics[metric]}, which no pruner can compare; if the trial has "
            f"diverged: tunectl trial tell {number} {metrics[metric]}"
        )
    last = max(known, default=None)
    if last is not None and step < last and step not in known:
        raise UsageError(f"step {step} came after step {last}; steps ascend")


def _check_metrics(frozen: FrozenTrial, names: Sequence[str], metrics: Mapping[str, float]) -> None:
    if not metrics and (len(names) > 1 or not frozen.intermediate_values):
        raise UsageError(
            f"trial {frozen.number} has reported nothing, so say what it reached: "
            f"{' '.join(f'{name}=VALUE' for name in names)}"
        )
    missing = [name for name in names if name not in metrics] if metrics else []
    if missing:
        raise UsageError(f"{missing[0]} is missing; there is: {', '.join(metrics)}")


def _best_report(place: Workplace, frozen: FrozenTrial) -> float:
    choose = max if place.settings.search.study.directions[0] == "maximize" else min
    return choose(frozen.intermediate_values.values())


class _Standin:
    """An objective that is asked the same as another one, and runs something else.

    Args:
        objective: That of the study.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    @property
    def metrics(self) -> Mapping[str, Direction] | None:
        return self._objective.metrics

    @property
    def epoch_metrics(self) -> Sequence[str]:
        return self._objective.epoch_metrics

    @property
    def needs_device(self) -> bool:
        return False

    @property
    def leaves_network(self) -> bool:
        return False

    def problems(self, run: Run, project: Path) -> list[Problem]:
        return self._objective.problems(run, project)


class _Handing(_Standin):
    """Writes what the script needs to know of a trial, and leaves it running.

    Args:
        objective: That of the study.
        resumed: Whether somebody had the trial before.
    """

    def __init__(self, objective: Objective, *, resumed: bool) -> None:
        super().__init__(objective)
        self._resumed = resumed
        self.handed: HandedOut | None = None

    def run(self, context: TrialContext) -> Outcome:
        config, directory = context.config, context.directory
        plain = config.run.model_dump(mode="json", exclude={"objective"})
        atomic.write_yaml(directory.params_file, plain)
        own: dict[str, Scalar] = {
            "project": str(context.project),
            "study": config.study.name,
            "number": config.number,
            "seed": seed_of(context),
            "trial_dir": str(directory.path),
            "checkpoint_dir": str(directory.checkpoints_dir),
            "params_file": str(directory.params_file),
        }
        self.handed = HandedOut(
            number=config.number,
            parameters=config.parameters,
            directory=directory,
            variables=told_of(own, config.run.values(), resumed=self._resumed),
            resumed=self._resumed,
            last_step=None,
        )
        context.log.info("handed out to a script")
        raise TrialInterrupted("it is the script's from now on")


class _Told(_Standin):
    """Ends a trial as its script says.

    Args:
        objective: That of the study.
        metrics: What it reached, by name; empty where its best report counts.
        state: How it ended.
        reason: Why, where it is not complete.
    """

    def __init__(
        self, objective: Objective, metrics: Mapping[str, float], state: EndWord, reason: str
    ) -> None:
        super().__init__(objective)
        self._metrics = metrics
        self._state = state
        self._reason = reason

    def run(self, context: TrialContext) -> Outcome:
        study, directory = context.config.study, context.directory
        reports = Reports(
            directory.reports_file, study.metric, maximize=study.direction == "maximize"
        )
        reports.recall()
        is_whole = self._state == "complete"
        metrics = {**reports.best, **self._metrics} if is_whole else {}
        atomic.write_json(directory.metrics_file, reports.document(metrics))
        if self._state == "pruned":
            raise TrialPruned(self._reason)
        if self._state == "failed":
            raise ObjectiveError(self._reason)
        numbers = {name: as_number(name, value) for name, value in metrics.items()}
        return Outcome(
            value=numbers[study.metric],
            best_epoch=reports.best_step,
            epochs=len(reports.steps),
            metrics=numbers,
        )
