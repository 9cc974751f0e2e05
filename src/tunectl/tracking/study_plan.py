"""From a study to its parent run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from tunectl.artifacts import atomic
from tunectl.artifacts.study_dir import ProjectTree
from tunectl.config.schema import Settings
from tunectl.search.space import SearchSpace, describe
from tunectl.studies.differences import flat_values
from tunectl.studies.directories import own_directory
from tunectl.studies.lifecycle import first_settings, stored_settings
from tunectl.studies.ranking import (
    best_trial,
    count_states,
    directions_of,
    first_value,
    metrics_of,
)
from tunectl.studies.records import created_at
from tunectl.tracking.run_plan import (
    KIND,
    NOW,
    STATE,
    ArtifactFile,
    Point,
    RunPlan,
    Status,
    as_key,
    as_text,
    as_texts,
    is_number,
    milliseconds,
)
from tunectl.tracking.trial_plan import files_of, source_tags

MUTABLE = ("study.n_trials", "study.timeout", "training.run_name")
SUMMARY_FILE = "study_summary.json"
SETTINGS_FILE = "settings.yaml"
PLOTS = "plots"


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """A study as it is at one moment.

    Args:
        study: The study.
        trials: Its trials by number.
        tree: Where the project keeps its files.
        interrupted: Numbers of trials that are running in name only.
        is_going_on: Whether trials are being run, as far as is known.
        summarise: Makes the study's summary document.
    """

    study: optuna.Study
    trials: Sequence[FrozenTrial]
    tree: ProjectTree
    interrupted: frozenset[int]
    is_going_on: bool
    summarise: Callable[[], Mapping[str, Any]] | None

    @cached_property
    def best(self) -> FrozenTrial | None:
        """The trial that stands for the study; of these trials, since others come meanwhile."""
        return best_trial(self.study, self.trials)

    @cached_property
    def live(self) -> frozenset[int]:
        """Numbers of the trials that somebody runs."""
        running = {t.number for t in self.trials if t.state is TrialState.RUNNING}
        return frozenset(running - self.interrupted)


def plan_study(facts: StudyFacts, study_tags: Mapping[str, str], *, whole: bool) -> RunPlan:
    """Return what mirrors a study.

    Args:
        facts: The study.
        study_tags: Tags that all runs of the study carry.
        whole: Whether files are looked at, too; not needed while trials come and go.
    """
    settings, began_with = stored_settings(facts.study), first_settings(facts.study)
    status, begun = _status(facts), [t for t in facts.trials if t.datetime_start is not None]
    ended = [t.datetime_complete for t in facts.trials if t.datetime_complete is not None]
    is_over = status != "RUNNING" and bool(ended)
    return RunPlan(
        name=run_name(facts.study, settings),
        status=status,
        start_ms=_start_ms(facts.study, begun),
        end_ms=milliseconds(max(ended)) if is_over else None,
        tags={
            **study_tags,
            **_tags(facts, settings),
            **_changes(facts.study, began_with, settings),
        },
        params=_parameters(facts.study, began_with),
        points=_best_so_far(facts),
        files=tuple(_files(facts)) if whole else (),
        texts=_texts(facts, settings) if whole else {},
        has_files=whole,
    )


def run_name(study: optuna.Study, settings: Settings | None) -> str:
    """Return the name of a study's run: `training.run_name`, else that of the study."""
    named = settings.run.value("training.run_name") if settings else None
    return str(named) if named else study.study_name


def _status(facts: StudyFacts) -> Status:
    if facts.is_going_on or facts.live:
        return "RUNNING"
    if any(t.state is TrialState.RUNNING for t in facts.trials):
        return "KILLED"
    finished = [t for t in facts.trials if t.state.is_finished()]
    if finished and all(t.state is TrialState.FAIL for t in finished):
        return "FAILED"
    return "FINISHED"


def _start_ms(study: optuna.Study, begun: Sequence[FrozenTrial]) -> int:
    created = created_at(study.user_attrs)
    starts = [t.datetime_start for t in begun if t.datetime_start is not None]
    if created is not None and (not starts or created.timestamp() <= min(starts).timestamp()):
        return milliseconds(created)
    return milliseconds(min(starts)) if starts else 0


def _tags(facts: StudyFacts, settings: Settings | None) -> dict[str, str]:
    states, best = count_states(facts.trials), facts.best
    first = next((info for t in facts.trials if (info := _info(facts, t))), {})
    tags: dict[str, Any] = {
        KIND: "study",
        STATE: ", ".join(f"{count} {name}" for name, count in states.items() if count) or "empty",
        "tunectl.metric": ", ".join(metrics_of(facts.study)),
        "tunectl.direction": ", ".join(directions_of(facts.study)),
        "tunectl.host": first.get("host"),
        "mlflow.user": first.get("user"),
        **source_tags(first.get("git_commit")),
    }
    if settings is not None:
        tags |= {key: flat_values(settings).get(key) for key in MUTABLE}
    if best is not None:
        tags |= {"best_trial_number": best.number, "best_value": first_value(best)}
        tags |= {f"best_{as_key(name)}": value for name, value in best.params.items()}
    return {name: as_text(value) for name, value in tags.items() if value is not None}


def _info(facts: StudyFacts, trial: FrozenTrial) -> dict[str, Any]:
    directory = own_directory(facts.study.study_name, trial, facts.tree.project)
    return directory.read_info() if directory else {}


def _parameters(study: optuna.Study, settings: Settings | None) -> dict[str, str]:
    """Return settings, apart from those that are always tags."""
    several = {"metric": ", ".join(metrics_of(study)), "direction": ", ".join(directions_of(study))}
    if settings is None:
        return as_texts({f"study.{key}": value for key, value in several.items()})
    searched = settings.search.params_to_tune
    fixed = {
        key: value
        for key, value in flat_values(settings).items()
        if key not in searched and key not in MUTABLE and value is not None
    }
    specs = SearchSpace(searched).specs
    space = {f"space.{key}": describe(spec) for key, spec in specs.items()}
    return as_texts({**fixed, **{f"study.{k}": v for k, v in several.items()}, **space})


def _changes(
    study: optuna.Study, began_with: Settings | None, settings: Settings | None
) -> dict[str, str]:
    """Return the settings that are others than the study began with: MLflow keeps parameters."""
    before, now = _parameters(study, began_with), _parameters(study, settings)
    return {f"{NOW}{key}": text for key, text in now.items() if before.get(key) != text}


def _best_so_far(facts: StudyFacts) -> tuple[Point, ...]:
    """Return the best value after each trial that has ended; a step is a number of ended trials."""
    sign = -1.0 if directions_of(facts.study)[0] == "maximize" else 1.0
    ended = [t for t in facts.trials if t.state.is_finished() and t.datetime_complete]
    ended.sort(key=lambda t: (milliseconds(t.datetime_complete), t.number))  # type: ignore[arg-type]
    points, best, number = [], math.inf, None
    for count, trial in enumerate(ended, start=1):
        value = first_value(trial)
        sound = trial.state is TrialState.COMPLETE and is_number(value)
        if sound and all(excess <= 0 for excess in trial.constraints.values()):
            assert value is not None
            if sign * value < best:
                best, number = sign * value, trial.number
        if number is not None:
            assert trial.datetime_complete is not None
            time_ms = milliseconds(trial.datetime_complete)
            points.append(Point("best_value", sign * best, time_ms, count))
            points.append(Point("best_trial_number", float(number), time_ms, count))
    return tuple(points)


def _texts(facts: StudyFacts, settings: Settings | None) -> dict[str, str]:
    texts: dict[str, str] = {}
    if facts.summarise is not None:
        texts[SUMMARY_FILE] = atomic.to_json(facts.summarise()) + "\n"
    if settings is not None:
        document = settings.model_dump(mode="json")
        for section in ("storage", "mlflow"):  # where things are, maybe with a password
            document["surroundings"].pop(section)
        texts[SETTINGS_FILE] = atomic.to_yaml(document)
    return texts


def _files(facts: StudyFacts) -> list[ArtifactFile]:
    """Return the study's figures, and those of its best trial."""
    files: list[ArtifactFile] = []
    plots = facts.tree.study(facts.study.study_name).plots_dir
    for path in sorted(plots.rglob("*")) if plots.is_dir() else ():
        if path.is_file() and not path.name.startswith("."):
            stat = path.stat()
            folder = "/".join((PLOTS, *path.relative_to(plots).parent.parts))
            files.append(ArtifactFile(path, folder, f"{stat.st_size} {stat.st_mtime_ns}"))
    best = facts.best
    if best is None:
        return files
    directory = own_directory(facts.study.study_name, best, facts.tree.project)
    figures = [f for f in files_of(directory) if f.source.suffix == ".png"] if directory else []
    return [
        *files,
        *(
            ArtifactFile(one.source, "/".join(filter(None, ("best_trial", one.folder))), one.mark)
            for one in figures
        ),
    ]
