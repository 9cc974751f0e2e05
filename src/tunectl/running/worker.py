"""One worker: from a claimed trial to a finished one, whatever happens on the way.

The order of writing is what makes a trial safe: its configuration before it starts, its
attributes before its end, its end in the database, and only then its `trial_info.yaml`.
"""

from __future__ import annotations

import errno
import logging
import math
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from tunectl import __version__
from tunectl.artifacts.study_dir import ProjectTree
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import Scalar, Settings, TrialConfig
from tunectl.errors import ObjectiveError, StorageError
from tunectl.objectives.base import Objective, Outcome, TrialPruned
from tunectl.running.context import RunningTrial
from tunectl.running.events import EndState, EpochEnded, Event, Observer, TrialEnded, TrialStarted
from tunectl.search.space import SearchSpace
from tunectl.studies.budget import Claim
from tunectl.studies.lifecycle import STATE_NAMES, best_trial, direction_of
from tunectl.studies.storage import storage_errors
from tunectl.studies.times import duration_s, utc

log = logging.getLogger(__name__)

# The machine is at fault, not the trial: stop, so that it can be taken up again.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
ERROR_ATTR = "error"
END_STATES: Mapping[TrialState, EndState] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


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
    """

    study: optuna.Study
    settings: Settings
    tree: ProjectTree
    objective: Objective
    device: str
    storage_url: str
    observers: Sequence[Observer] = ()

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
        KeyboardInterrupt: so told by the user; likewise.
    """
    trial, directory = claim.trial, claim.directory
    with storage_errors(place.storage_url):
        parameters = SearchSpace(place.settings.search.params_to_tune).suggest(trial)
    config = configure_trial(place.settings, trial.number, parameters)
    with _disk_errors():
        directory.write_config(config.model_dump(mode="json"))
        directory.write_info(_info(place, _frozen(place, trial.number)))
    place.tell(
        TrialStarted(
            number=trial.number,
            parameters=parameters,
            epochs=config.training.epochs,
            adopted=claim.adopted,
            directory=directory.path,
        )
    )
    with _trial_log(directory) as trial_log:
        _run_and_store(place, claim, config, trial_log)
    ended = _ended(place, _frozen(place, trial.number), directory)
    place.tell(ended)
    return ended


def configure_trial(
    settings: Settings, number: int, parameters: Mapping[str, Scalar]
) -> TrialConfig:
    """Return a trial's own configuration: the run's, with the proposed parameters merged in.

    Args:
        settings: What the user wrote.
        number: The trial's number.
        parameters: Dotted key → proposed value.
    """
    tree = settings.run.model_dump()
    for key, value in parameters.items():
        *sections, leaf = key.split(".")
        section = tree
        for name in sections:
            section = section[name]
        section[leaf] = value
    study = settings.search.study
    tree["study"] = {"name": study.name, "metric": study.metric, "direction": study.direction}
    tree["runtime"] = settings.surroundings.runtime.model_dump()
    return TrialConfig.model_validate({**tree, "number": number, "parameters": dict(parameters)})


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
    )
    trial_log.info(
        "trial %d of study %s: %s", trial.number, config.study.name, dict(config.parameters)
    )
    try:
        with _disk_errors():
            outcome = place.objective.run(context)
        _check_outcome(outcome, config)
    except TrialPruned as reason:
        trial_log.info("%s", reason)
        _store(place, trial, directory, TrialState.PRUNED)
    except StorageError:
        raise
    except Exception as error:
        trial_log.error("failed: %s", _describe(error), exc_info=True)
        _store(place, trial, directory, TrialState.FAIL, attributes={ERROR_ATTR: _describe(error)})
    else:
        attributes = {
            "metrics": dict(outcome.metrics),
            "best_epoch": outcome.best_epoch,
            **outcome.attributes,
        }
        trial_log.info("complete: %s = %.6g", config.study.metric, outcome.value)
        _store(place, trial, directory, TrialState.COMPLETE, outcome.value, attributes)


def _store(
    place: Workplace,
    trial: optuna.Trial,
    directory: TrialDir,
    state: TrialState,
    value: float | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Store a trial's end: attributes first, then the end itself, then its projection."""
    with storage_errors(place.storage_url):
        for key, attribute in (attributes or {}).items():
            trial.set_user_attr(key, attribute)
        place.study.tell(trial, value, state=state)
    with _disk_errors():
        directory.write_info(_info(place, _frozen(place, trial.number)))
    shutil.rmtree(directory.checkpoints_dir, ignore_errors=True)


def _check_outcome(outcome: Outcome, config: TrialConfig) -> None:
    # Optuna would store an infinite value as complete, and might call it the best.
    if not math.isfinite(outcome.value):
        raise ObjectiveError(f"{config.study.metric} is {outcome.value}")


def _info(place: Workplace, trial: FrozenTrial) -> dict[str, Any]:
    """Return what `trial_info.yaml` says."""
    return {
        "study": place.study.study_name,
        "number": trial.number,
        "state": STATE_NAMES[trial.state],
        "value": trial.value,
        "metric": place.settings.search.study.metric,
        "direction": direction_of(place.study),
        "params": dict(trial.params),
        "started_at": utc(trial.datetime_start),
        "finished_at": utc(trial.datetime_complete),
        "duration_s": duration_s(trial),
        "epochs": len(trial.intermediate_values),
        "best_epoch": trial.user_attrs.get("best_epoch"),
        "error": trial.user_attrs.get(ERROR_ATTR),
        "seed": place.settings.run.training.seed,
        "study_seed": place.settings.search.study.seed,
        "host": platform.node(),
        "device": place.device,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("optuna", "torch", "numpy")
    return {
        "tunectl": __version__,
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def _ended(place: Workplace, trial: FrozenTrial, directory: TrialDir) -> TrialEnded:
    best = best_trial(place.study)
    return TrialEnded(
        number=trial.number,
        state=END_STATES[trial.state],
        value=trial.value,
        epochs=len(trial.intermediate_values),
        duration_s=duration_s(trial) or 0.0,
        error=trial.user_attrs.get(ERROR_ATTR),
        directory=directory.path,
        is_best=best is not None and best.number == trial.number,
    )


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
