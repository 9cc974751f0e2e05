"""The objective `module:function`: a function of the user's own, called once per trial.

It returns its value, or its metrics by name, or nothing where its best report is to count. What it
prints ends in the trial's log. Nothing heavy is imported here; what the function needs it imports.
"""

from __future__ import annotations

import inspect
import math
import random
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tunectl.artifacts import atomic
from tunectl.config.run import Run
from tunectl.errors import ObjectiveError, Problem, TunectlError
from tunectl.objectives.base import (
    Outcome,
    TrialContext,
    TrialInterrupted,
    TrialPruned,
    TrialTimedOut,
)
from tunectl.objectives.own_code import OwnCode
from tunectl.objectives.printed import printed_to, printed_to_stderr
from tunectl.objectives.trial import Trial, refuse_taken, seed_of
from tunectl.objectives.user_code import load_function, place_of
from tunectl.objectives.user_model import config_model, misfits


class FunctionObjective(OwnCode):
    """Calls the function that `objective` names."""

    def problems(self, run: Run, project: Path) -> list[Problem]:
        """Import the function, and look at the sections that its annotation gives a type."""
        name = run.objective_name
        with printed_to_stderr():
            try:
                function = load_function(name, project)
                if not _takes_one(function):
                    raise ObjectiveError(f"{name} must take one argument, the trial")
                model = config_model(function)
            except ObjectiveError as error:
                return [Problem(key="objective", message=str(error))]
            return [] if model is None else list(misfits(model, _plain(run)))

    def run(self, context: TrialContext) -> Outcome:
        """Call the function; see `Objective.run`.

        Raises:
            ObjectiveError: it failed, or returned nothing that can be used.
        """
        name, project = context.config.run.objective_name, context.project
        with printed_to(partial(context.log.info, "%s")):
            function = load_function(name, project)
            config = _config(config_model(function), context.config.run)
        trial: Trial[Any] = Trial(context, config)
        context.check_stop()
        _seed(seed_of(context))
        try:
            with printed_to(partial(context.log.info, "%s")):
                returned = function(trial)
            trial.end_as_told()
        except (TrialPruned, TrialTimedOut, ObjectiveError):
            _leave_histories(trial, {})
            raise
        except (TrialInterrupted, TunectlError):
            raise
        except (Exception, SystemExit) as error:
            trial.end_as_told()  # an error that comes of being told to stop is none
            _leave_histories(trial, {})
            if _is_memory(error):
                raise
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise ObjectiveError(f"{what}{place_of(error, project)}") from error
        try:
            outcome = _outcome(returned, trial, context)
        except ObjectiveError:
            _leave_histories(trial, {})
            raise
        _leave_histories(trial, outcome.metrics, outcome)
        return outcome


def _takes_one(function: Any) -> bool:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    except ValueError:  # it is written in C, and does not say
        return True
    return True


def _plain(run: Run) -> dict[str, Any]:
    return run.model_dump(exclude={"objective"})


def _config(model: type[BaseModel] | None, run: Run) -> Any:
    if model is None:
        return _plain(run)
    problems = list(misfits(model, _plain(run)))
    if problems:
        raise ObjectiveError("; ".join(f"{one.key}: {one.message}" for one in problems))
    return model.model_validate(_plain(run))


def _seed(seed: int) -> None:
    """Seed Python and NumPy, and PyTorch where the user's code has imported it."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def _is_memory(error: BaseException) -> bool:
    from tunectl.objectives.exhaustion import is_out_of_memory

    return is_out_of_memory(error)


def _outcome(returned: Any, trial: Trial[Any], context: TrialContext) -> Outcome:
    """Return what a function's result comes to.

    Raises:
        ObjectiveError: it is neither a number, nor metrics, nor nothing after a report.
    """
    study = context.config.study
    best = _best_report(trial, study.metric, maximize=study.direction == "maximize")
    metrics = (
        {name: values[best] for name, values in trial.histories.items()} if trial.steps else {}
    )
    metrics |= _numbers(returned, study.metric)
    if study.metric not in metrics:
        if returned is None:
            raise ObjectiveError("it returned nothing and reported nothing")
        there = ", ".join(sorted(metrics)) or "nothing"
        raise ObjectiveError(f"it returned no {study.metric}; there is {there}")
    return Outcome(
        value=metrics[study.metric],
        best_epoch=trial.steps[best] if trial.steps else None,
        epochs=trial.steps[-1] if trial.steps else 0,
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
    )


def _best_report(trial: Trial[Any], metric: str, *, maximize: bool) -> int:
    values = trial.histories.get(metric, [])
    choose = max if maximize else min
    return values.index(choose(values)) if values else 0


def _numbers(returned: Any, metric: str) -> dict[str, float]:
    if returned is None:
        return {}
    named = returned if isinstance(returned, Mapping) else {metric: returned}
    refuse_taken(named)
    try:
        if any(isinstance(value, str | bytes) for value in named.values()):
            raise TypeError("text is no number, even where it looks like one")
        return {str(name): float(value) for name, value in named.items()}
    except (TypeError, ValueError) as error:
        raise ObjectiveError(
            f"it returned {type(returned).__name__} {returned!r:.80}; "
            "a number, or a mapping of numbers by name, is needed"
        ) from error


def _leave_histories(
    trial: Trial[Any], metrics: Mapping[str, float], outcome: Outcome | None = None
) -> None:
    """Write metrics.json: what was reached, and the reports step by step."""
    document = {
        "best_epoch": outcome.best_epoch if outcome else None,
        "epochs": outcome.epochs if outcome else (trial.steps[-1] if trial.steps else 0),
        **metrics,
        "histories": trial.histories,
        "steps": trial.steps,
    }
    atomic.write_json(trial.directory / "metrics.json", document)
