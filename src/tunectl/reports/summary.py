"""A study as frozen summaries: what tables, JSON, CSV and the summary files are all made from.

It reads the study and prints nothing.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import Settings
from tunectl.search.space import SearchSpace
from tunectl.studies.lifecycle import (
    STATE_NAMES,
    StudyOverview,
    best_trial,
    count_states,
    created_at,
    direction_of,
    metric_of,
    stored_settings,
)
from tunectl.studies.recovery import OUTPUT_DIR_ATTR
from tunectl.studies.times import duration_s, rfc3339, utc

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class TrialSummary:
    """One trial.

    Args:
        number: Its number.
        state: `complete`, `pruned`, `failed`, `running` or `waiting`.
        value: Its value; of a pruned trial the last one reported.
        params: Dotted key → value.
        started_at: RFC 3339 in UTC.
        finished_at: RFC 3339 in UTC.
        duration_s: Seconds from start to end.
        epochs: Epochs reported.
        output_dir: Its directory, relative to the project folder where it lies inside.
        error: Why it failed.
        metrics: Its final metrics by name.
        best_epoch: 1-based.
        mlflow_run_id: Its run in MLflow.
    """

    number: int
    state: str
    value: float | None
    params: Mapping[str, Any]
    started_at: str | None
    finished_at: str | None
    duration_s: float | None
    epochs: int
    output_dir: str | None
    error: str | None
    metrics: Mapping[str, float]
    best_epoch: int | None
    mlflow_run_id: str | None

    def to_document(self) -> dict[str, Any]:
        """Return the trial as it stands in `summary --json`."""
        return {
            "number": self.number,
            "state": self.state,
            "value": self.value,
            "params": dict(self.params),
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "duration_s": self.duration_s,
            "epochs": self.epochs,
            "output_dir": self.output_dir,
            "error": self.error,
        }

    def to_best(self) -> dict[str, Any]:
        """Return the trial as it stands under `best`."""
        return {
            "number": self.number,
            "value": self.value,
            "params": dict(self.params),
            "output_dir": self.output_dir,
            "mlflow_run_id": self.mlflow_run_id,
        }


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """A study at a glance.

    Args:
        name: The study's name.
        direction: `minimize` or `maximize`.
        metric: What is optimised.
        created_at: RFC 3339 in UTC, None for a study that another program made.
        storage: Its database, without a password.
        states: State → how many trials are in it.
        best: The best trial, None while none is complete.
        trials: All trials by number.
    """

    name: str
    direction: str
    metric: str
    created_at: str | None
    storage: str
    states: Mapping[str, int]
    best: TrialSummary | None
    trials: Sequence[TrialSummary]

    def top(self, count: int) -> list[TrialSummary]:
        """Return the best completed trials, best first, at most so many."""
        sign = -1.0 if self.direction == "maximize" else 1.0
        complete = [t for t in self.trials if t.state == "complete" and t.value is not None]
        return sorted(complete, key=lambda t: (sign * (t.value or 0.0), t.number))[:count]

    def study_document(self) -> dict[str, Any]:
        """Return what every JSON document says of the study itself."""
        return {
            "name": self.name,
            "direction": self.direction,
            "metric": self.metric,
            "created_at": self.created_at,
            "storage": self.storage,
        }

    def to_document(self, trials: Sequence[TrialSummary] | None = None) -> dict[str, Any]:
        """Return `summary --json`, with all trials or only those given."""
        chosen = self.trials if trials is None else trials
        return {
            "schema_version": SCHEMA_VERSION,
            "study": self.study_document(),
            "n_trials": len(self.trials),
            "states": dict(self.states),
            "best": self.best.to_best() if self.best else None,
            "trials": [trial.to_document() for trial in chosen],
        }

    def to_file_document(self) -> dict[str, Any]:
        """Return what `study_summary.json` holds."""
        return {
            "study_name": self.name,
            "direction": self.direction,
            "metric": self.metric,
            "n_trials": len(self.trials),
            "states": dict(self.states),
            "best_params": dict(self.best.params) if self.best else None,
            "best_value": self.best.value if self.best else None,
            "best_trial": self.best.number if self.best else None,
            "trials": [trial.to_document() for trial in self.trials],
        }

    def to_csv(self, trials: Sequence[TrialSummary] | None = None) -> str:
        """Return the trials as CSV, a column for each parameter that any trial has."""
        chosen = self.trials if trials is None else trials
        names = sorted({name for trial in self.trials for name in trial.params})
        fixed = ["number", "state", "value", "epochs", "duration_s", "started_at", "finished_at"]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*fixed, "output_dir", "error", *names])
        for trial in chosen:
            document = trial.to_document()
            cells = [document[name] for name in (*fixed, "output_dir", "error")]
            writer.writerow([*cells, *(trial.params.get(name) for name in names)])
        return out.getvalue()


def summarise(study: optuna.Study, storage: str) -> StudySummary:
    """Return a study at a glance.

    Args:
        study: The study.
        storage: Its database's URL as it may be shown.
    """
    trials = study.get_trials(deepcopy=False)
    best = best_trial(study)
    created = created_at(study)
    return StudySummary(
        name=study.study_name,
        direction=direction_of(study),
        metric=metric_of(study),
        created_at=rfc3339(created) if created else None,
        storage=storage,
        states=count_states(trials),
        best=summarise_trial(best) if best else None,
        trials=tuple(summarise_trial(trial) for trial in trials),
    )


def summarise_trial(trial: FrozenTrial) -> TrialSummary:
    """Return one trial."""
    attributes = trial.user_attrs
    return TrialSummary(
        number=trial.number,
        state=STATE_NAMES[trial.state],
        value=trial.value,
        params=dict(trial.params),
        started_at=utc(trial.datetime_start),
        finished_at=utc(trial.datetime_complete),
        duration_s=duration_s(trial),
        epochs=len(trial.intermediate_values),
        output_dir=attributes.get(OUTPUT_DIR_ATTR),
        error=attributes.get("error"),
        metrics=attributes.get("metrics") or {},
        best_epoch=attributes.get("best_epoch"),
        mlflow_run_id=attributes.get("mlflow_run_id"),
    )


def overview_document(studies: Sequence[StudyOverview]) -> dict[str, Any]:
    """Return `study list --json`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "studies": [
            {
                "name": one.name,
                "direction": one.direction,
                "metric": one.metric,
                "states": dict(one.states),
                "n_trials": one.n_trials,
                "best_value": one.best_value,
                "created_at": rfc3339(one.created_at) if one.created_at else None,
            }
            for one in studies
        ],
    }


@dataclass(frozen=True, kw_only=True)
class StudyDetails:
    """One study in full.

    Args:
        summary: The study at a glance.
        settings: The configuration stored with it, None for one that another program made.
    """

    summary: StudySummary
    settings: Settings | None

    def to_document(self) -> dict[str, Any]:
        """Return `study show --json`."""
        settings = self.settings
        search = settings.search if settings else None
        return {
            "schema_version": SCHEMA_VERSION,
            "study": self.summary.study_document(),
            "n_trials": len(self.summary.trials),
            "states": dict(self.summary.states),
            "budget": search.study.n_trials if search else None,
            "sampler": search.study.sampler.model_dump(mode="json") if search else None,
            "pruner": search.study.pruner.model_dump(mode="json") if search else None,
            "seed": search.study.seed if search else None,
            "space": SearchSpace(search.params_to_tune).to_document() if search else None,
            "configuration": settings.run.model_dump(mode="json") if settings else None,
        }


@dataclass(frozen=True, kw_only=True)
class TrialFiles:
    """What a trial's directory says; empty where it is gone or says nothing.

    Args:
        metrics: `metrics.json`.
        config: `config.yaml`.
    """

    metrics: Mapping[str, Any]
    config: Mapping[str, Any]


def detail(study: optuna.Study, storage: str) -> StudyDetails:
    """Return one study in full."""
    return StudyDetails(summary=summarise(study, storage), settings=stored_settings(study))


def read_trial_files(trial: TrialSummary, project: Path) -> TrialFiles:
    """Read what a trial left in its directory.

    Args:
        trial: The trial.
        project: Absolute path of the project folder.
    """
    if trial.output_dir is None:
        return TrialFiles(metrics={}, config={})
    directory = TrialDir(project / trial.output_dir)
    return TrialFiles(
        metrics=_read(directory.metrics_file, json.loads),
        config=_read(directory.config_file, yaml.safe_load),
    )


def nested(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted keys as the nested mapping that they stand for."""
    tree: dict[str, Any] = {}
    for key, value in sorted(params.items()):
        *sections, leaf = key.split(".")
        section = tree
        for name in sections:
            section = section.setdefault(name, {})
        section[leaf] = value
    return tree


def _read(file: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    try:
        document = parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return document if isinstance(document, dict) else {}
