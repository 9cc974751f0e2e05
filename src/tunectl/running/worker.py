"""One worker: from a claimed trial to a finished one, whatever happens on the way.

The order of writing is what makes a trial safe: its configuration before it starts, its
attributes before its end, its end in the database, and only then its `trial_info.yaml`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.constraints import parse_constraint
from tunectl.config.schema import Settings, TrialConfig
from tunectl.errors import (
    DivergedError,
    ObjectiveError,
    StorageError,
    StudyStoppedError,
    TrialLostError,
)
from tunectl.objectives.base import Objective, Outcome, TrialInterrupted
from tunectl.running.context import RunningTrial
from tunectl.running.disk import cause_of, disk_errors, refuse_to_be_second
from tunectl.running.events import EpochEnded, Event, Observer, TrialEnded, TrialStarted
from tunectl.running.failures import (
    HALVES,
    ConstraintViolated,
    Ending,
    can_run_halved,
    describe,
    failed,
    halved,
    judge,
)
from tunectl.running.trial_config import configure_trial, values_of
from tunectl.running.trial_end import describe_end
from tunectl.search.space import SearchSpace
from tunectl.studies import attributes
from tunectl.studies.budget import Claim
from tunectl.studies.drawing import draw_parameters
from tunectl.studies.heartbeat import beating
from tunectl.studies.ranking import STATE_NAMES
from tunectl.studies.storage import storage_errors
from tunectl.studies.trial_info import describe_trial

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """All that a worker needs to run trials of one study.

    Args:
        study: The study, with its sampler and pruner.
        settings: What the trials run with.
        tree: Where things are written.
        objective: What a trial runs.
        device: The device asked for.
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

    @property
    def resolved_device(self) -> str:
        """The device that trials run on; to find out takes PyTorch, where it has to be known.

        Raises:
            DeviceError: the device asked for is not on this machine.
        """
        if not self.objective.needs_device:
            return self.device
        from tunectl.training.device import resolve_device

        return resolve_device(self.device)

    def stored(self, number: int) -> FrozenTrial:
        """Return a trial as it is stored."""
        with storage_errors(self.storage_url):
            return self.study.get_trials(deepcopy=False)[number]

    def tell(self, event: Event) -> None:
        """Tell every observer; one that fails is logged, since it must not cost a trial."""
        for observer in self.observers:
            try:
                observer(event)
            except Exception as error:
                log.warning("summaries and links may be out of date: %s", error)
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
        StudyStoppedError: it failed, is stored, and the user wants the study to stop then.
    """
    trial, directory = claim.trial, claim.directory
    with beating(trial), _trial_log(directory) as trial_log:
        ending = _run(place, claim, trial_log)
        _store(place, claim, ending)
    ended = describe_end(place.study, place.stored(trial.number), directory)
    place.tell(ended)
    if ending.stops_study:
        raise StudyStoppedError(
            f"stopped: trial {trial.number} failed, and failures.exception is stop\n"
            f"  {ending.text}\n  its log: {directory.log_file}"
        )
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
        ending = failed(ObjectiveError(reason))
        _write_to_log(trial_log, ending)
        _store(place, claim, ending)
    ended = describe_end(place.study, place.stored(trial.number), directory)
    place.tell(ended)
    return ended


def _run(place: Workplace, claim: Claim, trial_log: logging.Logger) -> Ending:
    """Run a trial; once more with half the memory where it ran out and the user wants that."""
    config = _configure(place, claim, trial_log)
    if isinstance(config, Ending):
        return config
    _announce(place, claim, config)
    trial_log.info(
        "trial %d of study %s: %s", config.number, config.study.name, dict(config.parameters)
    )
    ending = _attempt(place, claim, config, trial_log)
    while ending is None:
        config = _halve(claim, config)
        ending = _attempt(place, claim, config, trial_log)
    return ending


def _configure(place: Workplace, claim: Claim, trial_log: logging.Logger) -> TrialConfig | Ending:
    """Return what a trial runs with: its own configuration if it was interrupted, else a new one.

    Returns:
        How the trial ends if it cannot be configured.
    """
    trial, directory = claim.trial, claim.directory
    if claim.adopted:
        own = directory.read_config()
        if own is not None and own.number == trial.number:
            return own
        directory.forget_checkpoints()  # whatever they belong to, it is not what is about to run
    try:
        with storage_errors(place.storage_url):
            space = SearchSpace(place.settings.search.params_to_tune)
            parameters = draw_parameters(space, trial)
        config = configure_trial(place.settings, place.objective, trial.number, parameters)
        with disk_errors():
            directory.write_config(config.model_dump(mode="json"))
    except StorageError:
        raise
    except Exception as error:
        ending = failed(cause_of(error, directory))
        _write_to_log(trial_log, ending, error)
        return ending
    return config


def _announce(place: Workplace, claim: Claim, config: TrialConfig) -> None:
    _write_info(place, claim.trial.number, claim.directory)
    place.tell(
        TrialStarted(
            number=claim.trial.number,
            parameters=config.parameters,
            epochs=config.run.epochs,
            adopted=claim.adopted,
            directory=claim.directory.path,
        )
    )


def _attempt(
    place: Workplace, claim: Claim, config: TrialConfig, trial_log: logging.Logger
) -> Ending | None:
    """Run the objective.

    Returns:
        How the trial ends; None where memory ran out and it is to run once more with half of it.
    """
    context = _context(place, claim, config, trial_log)
    try:
        with context, disk_errors():
            _refuse_violations(place, claim.trial, config)
            outcome = place.objective.run(context)
        ending = _completed(outcome, config)
    except (StorageError, TrialInterrupted):
        raise
    # An objective that exits the program, or means to, has failed like any other.
    except (Exception, SystemExit, GeneratorExit) as error:
        if can_run_halved(error, config):
            _log_halving(config, error, trial_log)
            return None
        ending = judge(cause_of(error, claim.directory), config)
        _write_to_log(trial_log, ending, error)
    else:
        _write_to_log(trial_log, ending)
    return ending


def _context(
    place: Workplace, claim: Claim, config: TrialConfig, trial_log: logging.Logger
) -> RunningTrial:
    def on_epoch(epoch: int, value: float, best: float) -> None:
        place.tell(EpochEnded(number=config.number, epoch=epoch, value=value, best=best))

    return RunningTrial(
        trial=claim.trial,
        config=config,
        project=place.tree.project,
        directory=claim.directory,
        device=place.resolved_device,
        log=trial_log,
        storage_url=place.storage_url,
        on_epoch=on_epoch,
        should_stop=place.should_stop,
        since_s=claim.since_s,
    )


def _halve(claim: Claim, config: TrialConfig) -> TrialConfig:
    """Let a trial begin again with half the memory, also if it is interrupted from now on.

    The checkpoints go first: they belong to the whole batches that are still in its configuration.
    """
    claim.directory.forget_checkpoints()
    config = halved(config)
    with disk_errors():
        claim.directory.write_config(config.model_dump(mode="json"))
    return config


def _completed(outcome: Outcome, config: TrialConfig) -> Ending:
    """Return the end of a trial that has come to it.

    Raises:
        ObjectiveError: a value is missing, or is no finite number, which Optuna would store as
            complete and might call the best.
    """
    values = _values(outcome, config)
    named = zip(config.study.values, values, strict=True)
    attrs: dict[str, Any] = {
        attributes.METRICS: dict(outcome.metrics),
        attributes.BEST_EPOCH: outcome.best_epoch,
        attributes.EPOCHS: outcome.epochs,
        **outcome.attributes,
    }
    return Ending(
        state=TrialState.COMPLETE,
        text=", ".join(f"{name} = {value:.6g}" for name, value in named),
        values=values,
        attrs=attrs,
    )


def _values(outcome: Outcome, config: TrialConfig) -> list[float]:
    """Return the trial's values, in the order of the study's metrics."""
    known = {**outcome.metrics, config.study.metric: outcome.value}
    missing = [name for name in config.study.values if name not in known]
    if missing:
        there_are = ", ".join(sorted(known))
        raise ObjectiveError(f"{missing[0]} has no value; there are: {there_are}")
    values = {name: known[name] for name in config.study.values}
    for name, value in values.items():
        if not math.isfinite(value):
            raise DivergedError(f"{name} is {value} at the end")
    return list(values.values())


def _store(place: Workplace, claim: Claim, ending: Ending) -> None:
    """Store a trial's end: attributes first, then the end itself, then its projection."""
    trial, directory = claim.trial, claim.directory
    with storage_errors(place.storage_url):
        refuse_to_be_second(claim, place.tree.project)
        for key, value in ending.attrs.items():
            trial.set_user_attr(key, value)
        try:
            place.study.tell(trial, ending.values, state=ending.state)
        except ValueError as error:
            if not str(error).startswith("Cannot tell a"):  # of a trial that has an end
                raise
            raise TrialLostError("another process has brought it to its end") from error
    _write_info(place, trial.number, directory)
    directory.tidy()


def _write_to_log(
    trial_log: logging.Logger, ending: Ending, error: BaseException | None = None
) -> None:
    level = logging.ERROR if ending.state == TrialState.FAIL else logging.INFO
    kept = error if ending.is_fault else None
    trial_log.log(level, "%s: %s", STATE_NAMES[ending.state], ending.text, exc_info=kept)


def _log_halving(config: TrialConfig, error: BaseException, trial_log: logging.Logger) -> None:
    text = f"{describe(error)}; runs once more from the start, each batch in {HALVES} parts"
    trial_log.warning("%s", text, exc_info=error)
    log.warning("trial %d: %s", config.number, text)


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


def _write_info(place: Workplace, number: int, directory: TrialDir) -> None:
    if not directory.is_there:
        return  # somebody deleted it, and what became of the trial is in the database
    info = describe_trial(
        place.stored(number), place.settings, place.resolved_device, place.tree.project
    )
    with disk_errors():
        directory.write_info(info)


@contextmanager
def _trial_log(directory: TrialDir) -> Iterator[logging.Logger]:
    """Give a logger whose lines end in the trial's own log file."""
    trial_log = logging.getLogger("tunectl.trial")
    trial_log.setLevel(logging.DEBUG)
    trial_log.propagate = False  # the terminal hears of a trial's end from the observers
    with disk_errors():
        handler = logging.FileHandler(
            directory.log_file, encoding="utf-8", errors="backslashreplace"
        )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    trial_log.addHandler(handler)
    try:
        yield trial_log
    finally:
        trial_log.removeHandler(handler)
        handler.close()
