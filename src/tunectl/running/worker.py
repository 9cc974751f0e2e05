"""One worker: from a claimed trial to a finished one, whatever happens on the way.

The order of writing is what makes a trial safe: its configuration before it starts, its
attributes before its end, its end in the database, and only then its `trial_info.yaml`.
"""

from __future__ import annotations

import datetime as dt
import errno
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.constraints import parse_constraint
from tunectl.config.schema import Settings, TrialConfig
from tunectl.errors import ObjectiveError, StorageError
from tunectl.objectives.base import Objective, Outcome, TrialInterrupted, TrialPruned
from tunectl.running.context import RunningTrial
from tunectl.running.events import EpochEnded, Event, Observer, TrialEnded, TrialStarted
from tunectl.running.trial_config import configure_trial, values_of
from tunectl.running.trial_info import describe_end, describe_trial
from tunectl.search.space import SearchSpace
from tunectl.studies import attributes
from tunectl.studies.budget import Claim
from tunectl.studies.recovery import own_directory
from tunectl.studies.storage import storage_errors

log = logging.getLogger(__name__)

# The machine is at fault, not the trial: stop, so that it can be taken up again.
RECENT = 20
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class ConstraintViolated(Exception):  # noqa: N818 - no error: the sampler learns from it
    """The proposed parameters break a constraint."""


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """All that a worker needs to run trials of one study.

    Args:
        study: The study, with its sampler and pruner.
        settings: What the trials run with.
        tree: Where things are written.
        objective: What a trial runs.
        device: The device that trials run on.
        storage_url: The database's URL, for messages.
        observers: Told of everything that happens.
        should_stop: Whether the program has been told to stop.
    """

    study: optuna.Study
    settings: Settings
    tree: ProjectTree
    objective: Objective
    device: str
    storage_url: str
    observers: Sequence[Observer] = ()
    should_stop: Callable[[], bool] = lambda: False

    def tell(self, event: Event) -> None:
        """Tell every observer; one that fails is logged, since it must not cost a trial."""
        for observer in self.observers:
            try:
                observer(event)
            except Exception as error:
                log.warning("%s: %s", type(observer).__name__, error)
                log.debug("observer failed", exc_info=True)


def run_trial(place: Workplace, claim: Claim) -> TrialEnded:
    """Run a claimed trial to its end and store it.

    Args:
        place: The study and its surroundings.
        claim: The trial, its directory locked.

    Returns:
        How it ended, as told to the observers.

    Raises:
        StorageError: the database or the disk failed; the trial stays running and can be taken up.
        TrialInterrupted: the program has been told to stop; likewise.
    """
    trial, directory = claim.trial, claim.directory
    with _trial_log(directory) as trial_log:
        config = _configure(place, claim, trial_log)
        if config is not None:
            _announce(place, claim, config)
            _run_and_store(place, claim, config, trial_log)
    ended = describe_end(place.study, _frozen(place, trial.number), directory)
    place.tell(ended)
    return ended


def fail_trial(place: Workplace, claim: Claim, reason: str) -> TrialEnded:
    """Store a claimed trial as failed, without running it.

    Args:
        place: The study and its surroundings.
        claim: The trial, its directory locked.
        reason: Why, one sentence without a full stop.

    Raises:
        StorageError: the database or the disk failed; the trial stays running.
    """
    trial, directory = claim.trial, claim.directory
    with _trial_log(directory) as trial_log:
        trial_log.error("failed: %s", reason)
        _store(place, trial, directory, TrialState.FAIL, attrs={attributes.ERROR: reason})
    ended = describe_end(place.study, _frozen(place, trial.number), directory)
    place.tell(ended)
    return ended


def rewrite_stale_infos(place: Workplace) -> None:
    """Make the last trials' `trial_info.yaml` true again where a worker died before writing it."""
    finished = [one for one in place.study.get_trials(deepcopy=False) if one.state.is_finished()]
    latest = sorted(finished, key=lambda one: one.datetime_complete or dt.datetime.min)
    for trial in latest[-RECENT:]:
        directory = own_directory(place.study.study_name, trial, place.tree.project)
        if directory is not None and directory.read_info().get("state") in (None, "running"):
            _write_info(place, trial.number, directory)
            directory.tidy()


def _configure(place: Workplace, claim: Claim, trial_log: logging.Logger) -> TrialConfig | None:
    """Return what a trial runs with: its own configuration if it was interrupted, else a new one.

    Returns:
        None if it cannot be configured; the trial is then stored as failed.
    """
    trial, directory = claim.trial, claim.directory
    if claim.adopted:
        own = directory.read_config()
        if own is not None and own.number == trial.number:
            return own
        directory.forget_checkpoints()  # whatever they belong to, it is not what is about to run
    try:
        with storage_errors(place.storage_url):
            parameters = SearchSpace(place.settings.search.params_to_tune).suggest(trial)
        config = configure_trial(place.settings, place.objective, trial.number, parameters)
    except StorageError:
        raise
    except Exception as error:
        _fail(place, claim, error, trial_log)
        return None
    with _disk_errors():
        directory.write_config(config.model_dump(mode="json"))
    return config


def _announce(place: Workplace, claim: Claim, config: TrialConfig) -> None:
    _write_info(place, claim.trial.number, claim.directory)
    place.tell(
        TrialStarted(
            number=claim.trial.number,
            parameters=config.parameters,
            epochs=config.training.epochs,
            adopted=claim.adopted,
            directory=claim.directory.path,
        )
    )


def _fail(place: Workplace, claim: Claim, error: Exception, trial_log: logging.Logger) -> None:
    trial_log.error("failed: %s", _describe(error), exc_info=True)
    attrs = {attributes.ERROR: _describe(error)}
    _store(place, claim.trial, claim.directory, TrialState.FAIL, attrs=attrs)


def _run_and_store(
    place: Workplace, claim: Claim, config: TrialConfig, trial_log: logging.Logger
) -> None:
    """Run the objective and tell the database how it ended."""
    trial, directory = claim.trial, claim.directory

    def on_epoch(epoch: int, value: float) -> None:
        place.tell(EpochEnded(number=trial.number, epoch=epoch, value=value))

    context = RunningTrial(
        trial=trial,
        config=config,
        project=place.tree.project,
        directory=directory,
        device=place.device,
        log=trial_log,
        storage_url=place.storage_url,
        on_epoch=on_epoch,
        should_stop=place.should_stop,
    )
    trial_log.info(
        "trial %d of study %s: %s", trial.number, config.study.name, dict(config.parameters)
    )
    try:
        _refuse_violations(place, trial, config)
        with _disk_errors():
            outcome = place.objective.run(context)
        values = _values(outcome, config)
    except ConstraintViolated as reason:
        trial_log.info("%s", reason)
        _store(place, trial, directory, TrialState.PRUNED, attrs={attributes.ERROR: str(reason)})
    except TrialPruned as reason:
        trial_log.info("%s", reason)
        _store(place, trial, directory, TrialState.PRUNED)
    except (StorageError, TrialInterrupted):
        raise
    except Exception as error:
        _fail(place, claim, error, trial_log)
    else:
        attrs: dict[str, Any] = {
            attributes.METRICS: dict(outcome.metrics),
            attributes.BEST_EPOCH: outcome.best_epoch,
            attributes.EPOCHS: outcome.epochs,
            **outcome.attributes,
        }
        named = zip(config.study.values, values, strict=True)
        trial_log.info("complete: %s", ", ".join(f"{name} = {value:.6g}" for name, value in named))
        _store(place, trial, directory, TrialState.COMPLETE, values, attrs)


def _store(
    place: Workplace,
    trial: optuna.Trial,
    directory: TrialDir,
    state: TrialState,
    values: Sequence[float] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> None:
    """Store a trial's end: attributes first, then the end itself, then its projection."""
    with storage_errors(place.storage_url):
        for key, value in (attrs or {}).items():
            trial.set_user_attr(key, value)
        place.study.tell(trial, values, state=state)
    _write_info(place, trial.number, directory)
    directory.tidy()


def _refuse_violations(place: Workplace, trial: optuna.Trial, config: TrialConfig) -> None:
    """Tell the sampler of each constraint how well it holds; do not train what breaks one.

    Raises:
        ConstraintViolated: at least one is broken.
    """
    broken = []
    for constraint in map(parse_constraint, place.settings.search.constraints):
        excess = constraint.violation(values_of(config))
        with storage_errors(place.storage_url):
            if constraint.text not in trial.constraints:
                trial.set_constraint(constraint.text, excess)
        if excess > 0:
            broken.append(constraint.text)
    if broken:
        raise ConstraintViolated(f"not trained, since it breaks {' and '.join(broken)}")


def _values(outcome: Outcome, config: TrialConfig) -> list[float]:
    """Return the trial's values, in the order of the study's metrics.

    Raises:
        ObjectiveError: one is missing or no finite number, which Optuna would store as complete and
            might call the best.
    """
    known = {**outcome.metrics, config.study.metric: outcome.value}
    values = [known.get(name, math.nan) for name in config.study.values]
    for name, value in zip(config.study.values, values, strict=True):
        if not math.isfinite(value):
            raise ObjectiveError(f"{name} is {value}")
    return values


def _write_info(place: Workplace, number: int, directory: TrialDir) -> None:
    info = describe_trial(_frozen(place, number), place.settings, place.device)
    with _disk_errors():
        directory.write_info(info)


def _frozen(place: Workplace, number: int) -> FrozenTrial:
    with storage_errors(place.storage_url):
        return place.study.get_trials(deepcopy=False)[number]


def _describe(error: Exception) -> str:
    """Return an error in one line: what went wrong, and of what kind if it is not one of ours."""
    text = " ".join(str(error).split())
    if isinstance(error, ObjectiveError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Let a full or read-only disk stop the study instead of failing trial after trial."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise StorageError(f"{error.filename or 'the disk'}: {error.strerror}") from error


@contextmanager
def _trial_log(directory: TrialDir) -> Iterator[logging.Logger]:
    """Give a logger whose lines end in the trial's own log file."""
    trial_log = logging.getLogger("tunectl.trial")
    trial_log.setLevel(logging.DEBUG)
    trial_log.propagate = False  # the terminal hears of a trial's end from the observers
    handler = logging.FileHandler(directory.log_file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    trial_log.addHandler(handler)
    try:
        yield trial_log
    finally:
        trial_log.removeHandler(handler)
        handler.close()
