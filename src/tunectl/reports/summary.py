"""A study as frozen summaries: what tables, JSON, CSV and the summary files are all made from.

It reads the study and prints nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.studies import attributes
from tunectl.studies.directories import Places
from tunectl.studies.records import FINISHED, StudyRecord, TrialRecord, one_or_list
from tunectl.studies.times import duration_s, rfc3339, utc
from tunectl.tracking.memory import memory_of

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from tunectl.config.schema import Settings
    from tunectl.studies.records import StudyOverview

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class TrialSummary:
    """One trial.

    Args:
        number: Its number.
        state: `complete`, `pruned`, `failed`, `running` or `waiting`.
        values: One for each metric, empty while it has none; of a pruned trial the last reported.
        params: Dotted key → value.
        started_at: RFC 3339 in UTC.
        finished_at: RFC 3339 in UTC.
        duration_s: Seconds from start to end.
        epochs: Epochs reported.
        output_dir: Its directory, relative to the project folder where it lies inside; `host:path`
            where it is on another machine.
        error: Why it failed.
        metrics: Its final metrics by name.
        best_epoch: 1-based.
        mlflow_run_id: Its run in MLflow.
    """

    number: int
    state: str
    values: Sequence[float]
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

    @property
    def value(self) -> float | None:
        """Its value of the study's first metric."""
        return self.values[0] if self.values else None

    def to_document(self) -> dict[str, Any]:
        """Return the trial as it stands in `summary --json`."""
        return {
            "number": self.number,
            "state": self.state,
            **self._values(),
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
            **self._values(),
            "params": dict(self.params),
            "output_dir": self.output_dir,
            "mlflow_run_id": self.mlflow_run_id,
        }

    def _values(self) -> dict[str, Any]:
        """Return `value`, and for several metrics `values` as well."""
        several = {"values": list(self.values)} if len(self.values) > 1 else {}
        return {"value": self.value, **several}


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """A study at a glance.

    Args:
        name: The study's name.
        directions: `minimize` or `maximize` for each metric.
        metrics: What is optimised.
        created_at: RFC 3339 in UTC, None for a study that another program made.
        storage: Its database, without a password.
        states: State → how many trials are in it.
        front: The completed trials that no other beats, the best in the first metric first; with
            one metric the best trial alone.
        trials: All trials by number.
        mlflow_run_id: Its own run in MLflow, None while it has none.
    """

    name: str
    directions: Sequence[str]
    metrics: Sequence[str]
    created_at: str | None
    storage: str
    states: Mapping[str, int]
    front: Sequence[TrialSummary]
    trials: Sequence[TrialSummary]
    mlflow_run_id: str | None = None

    @property
    def best(self) -> TrialSummary | None:
        """The trial that stands for the study, None while none is complete."""
        return self.front[0] if self.front else None

    @property
    def metric(self) -> str:
        """The first metric."""
        return self.metrics[0]

    @property
    def goal(self) -> str:
        """What is optimised in words, for example `minimize val_mse`."""
        pairs = zip(self.directions, self.metrics, strict=True)
        return ", ".join(f"{direction} {metric}" for direction, metric in pairs)

    def top(self, count: int) -> list[TrialSummary]:
        """Return the best completed trials, best first, at most so many."""
        sign = -1.0 if self.directions[0] == "maximize" else 1.0
        complete = [t for t in self.trials if t.state == "complete" and t.value is not None]
        return sorted(complete, key=lambda t: (sign * (t.value or 0.0), t.number))[:count]

    def study_document(self) -> dict[str, Any]:
        """Return what every JSON document says of the study itself."""
        return {
            "name": self.name,
            "direction": one_or_list(self.directions),
            "metric": one_or_list(self.metrics),
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
            **self.front_document(),
            "trials": [trial.to_document() for trial in chosen],
        }

    def front_document(self) -> dict[str, Any]:
        """Return `pareto_front` for a study of several metrics, nothing for one."""
        if len(self.metrics) == 1:
            return {}
        return {"pareto_front": [trial.to_best() for trial in self.front]}

    def to_file_document(self) -> dict[str, Any]:
        """Return what `study_summary.json` holds."""
        return {
            "study_name": self.name,
            "direction": one_or_list(self.directions),
            "metric": one_or_list(self.metrics),
            "n_trials": len(self.trials),
            "states": dict(self.states),
            "best_params": dict(self.best.params) if self.best else None,
            "best_value": self.best.value if self.best else None,
            "best_trial": self.best.number if self.best else None,
            **self.front_document(),
            "trials": [trial.to_document() for trial in self.trials],
        }

    def to_csv(self, trials: Sequence[TrialSummary] | None = None) -> str:
        """Return the trials as CSV, a column for each parameter that any trial has."""
        chosen = self.trials if trials is None else trials
        names = sorted({name for trial in self.trials for name in trial.params})
        others = list(self.metrics[1:])
        fixed = ["number", "state", "value", "epochs", "duration_s", "started_at", "finished_at"]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*fixed, "output_dir", "error", *others, *names])
        for trial in chosen:
            document = trial.to_document()
            cells = [document[name] for name in (*fixed, "output_dir", "error")]
            rest = [*trial.values[1:], *([None] * len(others))][: len(others)]
            writer.writerow([*cells, *rest, *(trial.params.get(name) for name in names)])
        return out.getvalue()


def summarise(study: optuna.Study, storage: str, project: Path) -> StudySummary:
    """Return a study that Optuna has read at a glance.

    Args:
        study: The study.
        storage: Its database's URL as it may be shown.
        project: Absolute path of the project folder.
    """
    from tunectl.studies.recording import record_study

    return summarise_record(record_study(study), storage, project)


def summarise_record(study: StudyRecord, storage: str, project: Path) -> StudySummary:
    """Return a study at a glance. See `summarise`."""
    places = Places(project)
    trials = {trial.number: _summarise(trial, places) for trial in study.trials}
    memory = memory_of(study.user_attrs, study.name)
    return StudySummary(
        name=study.name,
        directions=study.directions,
        metrics=study.metrics,
        created_at=rfc3339(study.created_at) if study.created_at else None,
        storage=storage,
        states=study.count_states(),
        front=tuple(trials[best.number] for best in study.best_trials()),
        trials=tuple(trials.values()),
        mlflow_run_id=memory.parent_run_id if memory else None,
    )


def summarise_trial(trial: FrozenTrial, places: Places) -> TrialSummary:
    """Return one trial that Optuna has read.

    Args:
        trial: The trial as it is stored.
        places: Says where its directory is.
    """
    from tunectl.studies.recording import record_trial

    return _summarise(record_trial(trial), places)


def _summarise(trial: TrialRecord, places: Places) -> TrialSummary:
    stored = trial.user_attrs
    epochs = stored.get(attributes.EPOCHS)
    return TrialSummary(
        number=trial.number,
        state=trial.state,
        # Values are read after states: of a trial that ends just then, they may be there already.
        values=trial.values if trial.state in FINISHED else (),
        params=trial.params,
        started_at=utc(trial.datetime_start),
        finished_at=utc(trial.datetime_complete),
        duration_s=duration_s(trial),
        epochs=epochs if isinstance(epochs, int) else trial.n_steps,
        output_dir=places.of(trial),
        error=stored.get(attributes.ERROR),
        metrics=stored.get(attributes.METRICS) or {},
        best_epoch=stored.get(attributes.BEST_EPOCH),
        mlflow_run_id=stored.get(attributes.MLFLOW_RUN_ID),
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
        from tunectl.search.space import SearchSpace

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
            "constraints": list(search.constraints) if search else None,
            "fingerprint": SearchSpace(search.params_to_tune).fingerprint() if search else None,
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


def detail(study: optuna.Study, storage: str, project: Path) -> StudyDetails:
    """Return one study in full. See `summarise`."""
    from tunectl.studies.lifecycle import stored_settings

    summary = summarise(study, storage, project)
    return StudyDetails(summary=summary, settings=stored_settings(study))


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
        metrics=directory.read_metrics(),
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
