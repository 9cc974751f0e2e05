"""The best trial's network, logged with the study's run and, if it is to be, registered."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import TrialConfig
from tunectl.config.section import Section
from tunectl.studies.directories import own_directory
from tunectl.studies.ranking import directions_of, first_value, metrics_of
from tunectl.tracking.mirror import Session
from tunectl.tracking.model import LoggedModel, has_model, log_model, save_model
from tunectl.tracking.registry import Candidate, Registration, register
from tunectl.tracking.run_plan import MODEL, STUDY_ID, as_text, milliseconds
from tunectl.tracking.service import mlflow_errors


@dataclass(frozen=True, kw_only=True)
class Published:
    """The best trial's network in MLflow.

    Args:
        model: The logged model.
        registration: Its place in the registry, None where it was not to be registered.
    """

    model: LoggedModel
    registration: Registration | None = None


class Publisher:
    """Makes models and puts them into MLflow.

    Args:
        folder: An empty folder for models that are being made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._saved: dict[int, Path] = {}

    def prepare(self, session: Session) -> None:
        """Make the model of the best trial so far, which takes seconds; MLflow hears nothing.

        Raises:
            StorageError: the network's files are gone or damaged.
        """
        found = _best(session)
        if found is not None and _logged(session, found[0]) is None:
            self._save(*found)

    def publish(self, session: Session, *, registering: bool) -> Published | None:
        """Log the best trial's network unless that has been done.

        Args:
            session: A mirror that is up to date.
            registering: Whether to make it the champion if it beats the one there is.

        Returns:
            None if no trial left a network.

        Raises:
            StorageError: the network's files are gone or damaged.
            TrackingError: MLflow cannot be reached, or refuses something.
        """
        found = _best(session)
        if found is None:
            return None
        best, directory = found
        destination = session.mirror.destination
        with session.mirror.locked(), mlflow_errors(destination):
            logged = _logged(session, best)
            if logged is None:
                saved = self._save(best, directory)
                run = session.parent
                logged = log_model(session.client, session.experiment_id, run, best.number, saved)
                session.note_tag(MODEL, logged.to_tag())
            if not registering:
                return Published(model=logged)
            candidate = _candidate(session, best, directory, logged)
            return Published(
                model=logged, registration=register(session.client, destination, candidate)
            )

    def _save(self, trial: FrozenTrial, directory: TrialDir) -> Path:
        path = self._saved.get(trial.number)
        if path is None:
            path = self._folder / f"trial-{trial.number}"
            save_model(directory, path)
            self._saved[trial.number] = path
        return path


def _best(session: Session) -> tuple[FrozenTrial, TrialDir] | None:
    mirror, best = session.mirror, session.best
    if best is None or session.run_id(best.number) is None:
        return None
    directory = own_directory(mirror.study.study_name, best, mirror.tree.project)
    return (best, directory) if directory is not None and has_model(directory) else None


def _logged(session: Session, trial: FrozenTrial) -> LoggedModel | None:
    there = LoggedModel.from_tag(session.parent.tags.get(MODEL))
    return there if there is not None and there.trial == trial.number else None


def _data(session: Session, best: FrozenTrial, config: TrialConfig | None) -> str | None:
    """Return what is the same where the validation samples are, None where that is not known."""
    if config is None or best.datetime_start is None:
        return None
    found = session.dataset_of(milliseconds(best.datetime_start))
    run = config.run
    if found is None and run.value("dataset.source") != "demo":
        return None
    split = run.value("data_split")
    which = [
        found.digest if found else run.value("dataset.source"),
        run.value("dataset.limit_samples"),
        split.model_dump(mode="json") if isinstance(split, Section) else split,
    ]
    return hashlib.sha256(json.dumps(which).encode()).hexdigest()[:16]


def _candidate(
    session: Session, best: FrozenTrial, directory: TrialDir, logged: LoggedModel
) -> Candidate:
    study, value, run_id = session.mirror.study, first_value(best), session.run_id(best.number)
    assert value is not None and run_id is not None
    config = directory.read_config()
    return Candidate(
        model=logged,
        study=study.study_name,
        study_id=session.parent.tags[STUDY_ID],
        metric=metrics_of(study)[0],
        direction=directions_of(study)[0],
        value=value,
        data=_data(session, best, config),
        targets=as_text(config.run.target_names if config else []),
        run_id=run_id,
        parent_run_id=session.parent.run_id,
    )
