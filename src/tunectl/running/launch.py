"""From what the user wrote to a `Workplace`: all that is checked and made before a trial.

Nothing is asked of a study before its configuration, data, device and stored search space are
known to be good.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.storages import RDBStorage

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.config.schema import Settings
from tunectl.errors import Problem, StorageError, UsageError
from tunectl.objectives.registry import find_objective
from tunectl.running.events import Observer
from tunectl.running.worker import Workplace
from tunectl.search.pruners import make_pruner
from tunectl.search.samplers import make_sampler
from tunectl.search.space import SearchSpace
from tunectl.studies.lifecycle import (
    changed_settings,
    check_fit,
    create_study,
    load_study,
    store_settings,
    stored_settings,
    study_names,
)
from tunectl.studies.removal import remove_study
from tunectl.studies.storage import open_storage, storage_errors

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a look at configuration and data found.

    Args:
        config: Problems of the configuration, keys set.
        data: Problems of the data set, keys set.
        warnings: What works but is probably not meant.
    """

    config: Sequence[Problem]
    data: Sequence[Problem]
    warnings: Sequence[Problem]


def examine(settings: Settings, project: Path) -> Findings:
    """Look for everything that would spoil a study, without running a trial.

    Args:
        settings: What the user wrote.
        project: Absolute path of the project folder.
    """
    config: list[Problem] = []
    warnings: list[Problem] = []
    study, allow = settings.search.study, settings.surroundings.plugins.allow
    space = SearchSpace(settings.search.params_to_tune)
    for make in (
        lambda: make_sampler(study.sampler, study.seed, space, allow),
        lambda: make_pruner(study.pruner, allow),
        lambda: find_objective(settings.run.objective),
    ):
        try:
            make()
        except UsageError as error:
            config += getattr(error, "problems", ())
    if not space.specs:
        message = "nothing is searched: every trial will be the same"
        warnings.append(Problem(key="params_to_tune", message=message))
    if any(problem.key == "objective" for problem in config):
        return Findings(config=config, data=(), warnings=warnings)
    objective = find_objective(settings.run.objective)
    better = objective.metrics.get(study.metric)
    if better is None:
        near = difflib.get_close_matches(study.metric, objective.metrics, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        message = (
            f"{settings.run.objective} has no metric {study.metric!r}; {hint}"
            f"valid: {', '.join(sorted(objective.metrics))}"
        )
        config.append(Problem(key="study.metric", message=message))
    elif better != study.direction:
        message = (
            f"{study.direction} {study.metric}? Lower is better"
            if better == "minimize"
            else (f"{study.direction} {study.metric}? Higher is better")
        )
        warnings.append(Problem(key="study.direction", message=message))
    return Findings(
        config=config, data=objective.problems(settings.run, project), warnings=warnings
    )


def check_machine(settings: Settings, tree: ProjectTree) -> None:
    """Make sure that trials can run and leave something, before the database is touched.

    Raises:
        DeviceError: the device asked for is not on this machine.
        StorageError: trial directories cannot be made.
    """
    from tunectl.training.device import resolve_device

    resolve_device(settings.surroundings.runtime.device)
    tree.make_outputs_root()


def remove_old_study(settings: Settings, url: str, tree: ProjectTree) -> None:
    """Delete the study that the settings name, if there is one; trial directories stay.

    Raises:
        StorageError: one of its trials is running, or the database cannot be used.
    """
    name = settings.search.study.name
    storage = open_storage(url, create=False)
    with storage_errors(url):
        if storage is not None and name in study_names(storage):
            remove_study(storage, load_study(storage, name), tree, artifacts=False)


def open_study(settings: Settings, url: str) -> optuna.Study:
    """Return the study that the settings name, created if there is none, ready to run trials.

    Args:
        settings: What the user wrote; it becomes the study's stored configuration.
        url: The database's URL.

    Raises:
        SpaceMismatchError: the stored search space differs; nothing was changed.
        StorageError: the database cannot be used.
    """
    name = settings.search.study.name
    storage = _open(url)
    with storage_errors(url):
        if name not in study_names(storage):
            return create_study(storage, settings)
        study = load_study(storage, name, settings)
        check_fit(study, settings)
        changed = changed_settings(study, settings)
        if changed:
            log.warning(
                "study %s goes on with changed values, so its trials may not be comparable: %s",
                name,
                ", ".join(changed),
            )
        store_settings(study, settings)
        return study


def reopen_study(name: str, url: str) -> tuple[optuna.Study, Settings]:
    """Return a stored study ready to run trials, with the configuration stored with it.

    Raises:
        StudyNotFoundError: there is no such study.
        UsageError: another program made it, so that no configuration is stored with it.
    """
    storage = open_storage(url, create=False)
    with storage_errors(url):
        settings = stored_settings(load_study(storage, name))
        if settings is None:
            raise UsageError(
                f"study {name!r} was made by another program and has no stored configuration; "
                f"go on with: tunectl tune --study {name}"
            )
        return load_study(storage, name, settings), settings


def furnish(
    study: optuna.Study,
    settings: Settings,
    tree: ProjectTree,
    url: str,
    observers: Sequence[Observer] = (),
) -> Workplace:
    """Return the workplace of a study on this machine.

    Raises:
        DeviceError: the device asked for is not on this machine.
    """
    from tunectl.training.device import resolve_device

    return Workplace(
        study=study,
        settings=settings,
        tree=tree,
        objective=find_objective(settings.run.objective),
        device=resolve_device(settings.surroundings.runtime.device),
        storage_url=url,
        observers=observers,
    )


def _open(url: str) -> RDBStorage:
    storage = open_storage(url, create=True)
    if storage is None:
        raise StorageError(f"{url} could not be made")
    return storage
