"""From what the user wrote to a `Workplace`: all that is checked and made before a trial.

Nothing is asked of a study before its configuration, data, device and stored search space are
known to be good.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.config.layout import layout_for
from tunectl.config.schema import Settings
from tunectl.errors import Problem, UsageError
from tunectl.objectives.base import Advising, Objective, Templated, Unstaffed
from tunectl.objectives.registry import find_objective
from tunectl.running.corners import corners
from tunectl.running.events import Observer
from tunectl.running.trial_config import configure_trial
from tunectl.running.worker import Workplace
from tunectl.search.pruners import make_pruner
from tunectl.search.samplers import make_sampler, sampler_warnings
from tunectl.search.space import SearchSpace


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a look at configuration and data found.

    Args:
        config: Problems of the configuration, keys set.
        data: Problems of the data set, keys set.
        warnings: What works but is probably not meant.
        replaced: What is named in texts of the user's and gives way to a value in every trial.
    """

    config: Sequence[Problem]
    data: Sequence[Problem]
    warnings: Sequence[Problem]
    replaced: Sequence[str] = ()


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
        lambda: make_sampler(
            study.sampler, study.seed, space, allow, n_objectives=len(study.metric)
        ),
        lambda: make_pruner(study.pruner, allow),
        lambda: find_objective(settings.run),
    ):
        try:
            make()
        except UsageError as error:
            config += getattr(error, "problems", ())
    if not config:
        constrained = bool(settings.search.constraints)
        warnings += sampler_warnings(study.sampler, space, constrained=constrained)
    warnings += _weights_without_targets(settings)
    if not space.specs:
        message = "nothing is searched: every trial will be the same"
        warnings.append(Problem(key="params_to_tune", message=message))
    if any(problem.key == "objective" for problem in config):
        return Findings(config=config, data=(), warnings=warnings)
    objective = find_objective(settings.run)
    for problem, is_error in _examine_metrics(settings, objective):
        (config if is_error else warnings).append(problem)
    warnings += _near_known_names(settings)
    data = objective.problems(settings.run, project)
    if isinstance(objective, Advising) and not data:
        warnings += objective.advice(settings.run, project)
    if objective.metrics is None and not data and not config:
        config += _space_of_own_code(settings, objective, project)
    replaced: Sequence[str] = ()
    if isinstance(objective, Templated):
        warnings += objective.remarks(settings.run, settings.search)
        replaced = objective.replaced(settings.run, settings.search)
    return Findings(config=config, data=data, warnings=warnings, replaced=replaced)


def _near_known_names(settings: Settings) -> Iterator[Problem]:
    """Yield the keys of the user's own that were probably meant to be one of the program's."""
    layout = layout_for(type(settings.run))
    names = [name for name in layout.top_names() if name not in type(settings.run).model_fields]
    for name in settings.run.model_extra or {}:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
        if near:
            message = f"is taken for a key of your own; did you mean {near[0]}?"
            yield Problem(key=name, message=message)


def _space_of_own_code(
    settings: Settings, objective: Objective, project: Path
) -> Iterator[Problem]:
    """Yield what a search would propose and the user's own code does not take."""
    space = SearchSpace(settings.search.params_to_tune)
    seen = set[tuple[str, str]]()
    for key in space.order:
        for corner in corners(space, [key]):
            run = configure_trial(settings, objective, 0, corner).run
            for problem in objective.problems(run, project):
                if (key, problem.message) not in seen:
                    seen.add((key, problem.message))
                    yield Problem(key=f"params_to_tune.{key}", message=problem.message)


def check_machine(settings: Settings, tree: ProjectTree) -> None:
    """Make sure that trials can run and leave something, before the database is touched.

    Raises:
        DeviceError: the device asked for is not on this machine.
        StorageError: trial directories cannot be made.
    """
    check_device(settings)
    tree.make_outputs_root()


def check_device(settings: Settings) -> None:
    """Make sure that trials can run on the device asked for, if it matters to them.

    Raises:
        DeviceError: it is not on this machine.
        UsageError: no worker can run them.
    """
    objective = find_objective(settings.run)
    if isinstance(objective, Unstaffed):
        raise UsageError(objective.driven_by)
    if not objective.needs_device:
        return
    from tunectl.training.device import resolve_device

    resolve_device(settings.surroundings.runtime.device)


def furnish(
    study: optuna.Study,
    settings: Settings,
    tree: ProjectTree,
    url: str,
    observers: Sequence[Observer] = (),
    should_stop: Callable[[], bool] = lambda: False,
    device: str | None = None,
) -> Workplace:
    """Return the workplace of a study on this machine.

    Args:
        study: The study, with its sampler and pruner.
        settings: What its trials run with.
        tree: Where things are written.
        url: The database's URL.
        observers: Told of everything that happens.
        should_stop: Whether the program has been told to stop.
        device: Instead of `runtime.device`.
    """
    return Workplace(
        study=study,
        settings=settings,
        tree=tree,
        objective=find_objective(settings.run),
        device=device or settings.surroundings.runtime.device,
        storage_url=url,
        observers=observers,
        should_stop=should_stop,
    )


def _weights_without_targets(settings: Settings) -> Iterator[Problem]:
    """Yield the loss weights that are searched although there is no such target."""
    count = len(settings.run.target_names)
    if not count:
        return  # they have no names, so it takes the data to count them
    for key in settings.search.params_to_tune:
        index = key.removeprefix("training.weight_target_")
        if index.isdecimal() and int(index) >= count:
            message = f"searched in vain: there are {count} targets, counted from 0"
            yield Problem(key=f"params_to_tune.{key}", message=message)


def _examine_metrics(settings: Settings, objective: Objective) -> Iterator[tuple[Problem, bool]]:
    """Yield what is wrong with what is optimised, and whether it is an error."""
    study, known = settings.search.study, objective.metrics
    if known is None:
        return
    for metric, direction in zip(study.metric, study.directions, strict=True):
        better = known.get(metric)
        if better is None:
            near = difflib.get_close_matches(metric, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            message = (
                f"{settings.run.objective_name} has no metric {metric!r}; {hint}"
                f"valid: {', '.join(sorted(known))}"
            )
            yield Problem(key="study.metric", message=message), True
        elif better != direction:
            which = "Lower" if better == "minimize" else "Higher"
            yield (
                Problem(key="study.direction", message=f"{direction} {metric}? {which} is better"),
                False,
            )
