"""A look at a whole project: machine, database, studies, trial directories, summaries, links.

It changes nothing, and it may be taken while studies run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.config.schema import Mlflow, Settings
from tunectl.errors import StorageError, StudyNotFoundError
from tunectl.reports.findings import Finding, Severity
from tunectl.reports.inspection_database import (
    DAMAGED,
    UNREADABLE,
    DatabaseFacts,
    DatabaseInspection,
    inspect_file,
    unreadable,
)
from tunectl.reports.inspection_folders import (
    inspect_leftovers,
    inspect_orphans,
    trial_directories,
)
from tunectl.reports.inspection_machine import Disk, inspect_device, inspect_disks
from tunectl.reports.inspection_mlflow import inspect_mlflow
from tunectl.reports.inspection_projections import ProjectionCase, inspect_projections
from tunectl.reports.inspection_running import inspect_running
from tunectl.reports.inspection_trials import inspect_finished
from tunectl.reports.projections import last_tuned
from tunectl.reports.study_case import StudyCase
from tunectl.reports.summary import StudySummary, summarise
from tunectl.studies.claim_lock import claim_lock
from tunectl.studies.file_systems import Mounts, current_mounts
from tunectl.studies.lifecycle import load_study, stored_settings, study_names
from tunectl.studies.ownership import owners_of_directories
from tunectl.studies.storage import open_storage, sqlite_path, storage_errors, timeout_of
from tunectl.tracking.destination import find_destination

CLAIM_PATIENCE_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Premises:
    """What is to be looked at.

    Args:
        tree: Where the project keeps its files.
        url: The database's URL.
        shown_url: The same as it may be shown.
        device: The device that the configuration asks for.
        study: The only study to look at, None for all.
        mlflow: Where the configuration says that studies are mirrored to; None where they are not.
        mounts: Says what is mounted where.
    """

    tree: ProjectTree
    url: str
    shown_url: str
    device: str = "auto"
    study: str | None = None
    mlflow: Mlflow | None = None
    mounts: Mounts = current_mounts

    @property
    def database(self) -> Path | None:
        """The database's file, None for a server."""
        return sqlite_path(self.url)


@dataclass(frozen=True, kw_only=True)
class StudyView:
    """A study that was looked at.

    Args:
        case: The study and its surroundings.
        projections: The same for its summaries and links.
    """

    case: StudyCase
    projections: ProjectionCase

    @property
    def summary(self) -> StudySummary:
        """The study at a glance."""
        return self.projections.summary


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was found.

    Args:
        database: What the database is.
        disks: The disks of the database and of the trial directories.
        findings: Everything that was looked at, the sound included.
        studies: The studies that could be looked at.
        is_readable: Whether the database could be read and is not damaged.
        storage: The database as it was opened, None where it was not.
    """

    database: DatabaseFacts
    disks: Sequence[Disk]
    findings: Sequence[Finding]
    studies: Sequence[StudyView]
    is_readable: bool
    storage: RDBStorage | None

    def close(self) -> None:
        """Let go of the database; it is opened again where something more is asked of it."""
        if self.storage is not None:
            self.storage.engine.dispose()

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong; what needs nothing to be done does not count."""
        return not any(one.is_bad for one in self.findings)

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "database": self.database.to_document(),
            "disks": [disk.to_document() for disk in self.disks],
            "studies": [
                {"name": one.summary.name, "states": dict(one.summary.states)}
                for one in self.studies
            ],
            "findings": [one.to_document() for one in self.findings],
        }


def inspect(premises: Premises) -> Inspection:
    """Look at a project.

    Raises:
        StudyNotFoundError: there is no study of the name that was asked for.
    """
    tree, file = premises.tree, premises.database
    disks, found = inspect_disks(
        [file.parent if file is not None else tree.optuna_dir, tree.outputs_root], tree.project
    )
    database = _inspect_database(premises)
    found += database.findings
    studies: list[StudyView] = []
    storage: RDBStorage | None = None
    if database.is_usable:
        try:
            storage = _open(premises)
            studies = _look_at_studies(premises, storage, found)
        except StorageError as error:
            found.append(unreadable(premises.shown_url, str(error)))
    elif premises.study is not None and not database.facts.exists:
        raise StudyNotFoundError(f"no study {premises.study!r}; there is no database yet")
    found += inspect_device(premises.device)
    return Inspection(
        database=database.facts,
        disks=disks,
        findings=tuple(found),
        studies=tuple(studies),
        is_readable=not any(one.code in (DAMAGED, UNREADABLE) for one in found),
        storage=storage,
    )


def _inspect_database(premises: Premises) -> DatabaseInspection:
    file = premises.database
    if file is None:
        facts = DatabaseFacts(url=premises.shown_url, exists=True)
        return DatabaseInspection(facts=facts, findings=(), is_usable=True)
    return inspect_file(file, premises.shown_url, premises.mounts(), timeout_of(premises.url))


def _open(premises: Premises) -> RDBStorage:
    # Nothing is to be changed, so nobody hears of a network: where the journal does not suit it,
    # that is a finding.
    storage = open_storage(premises.url, create=False, mounts=list)
    if storage is None:
        raise StorageError("it has just been deleted")
    return storage


def _look_at_studies(
    premises: Premises, storage: RDBStorage, found: list[Finding]
) -> list[StudyView]:
    """Look at the studies of a database that is sound; add what is found.

    Raises:
        StorageError: it cannot be read after all.
    """
    tree = premises.tree
    directories = trial_directories(tree.outputs_root)  # before the database is asked
    with storage_errors(premises.url):
        views = list(_views(premises, storage))
        for view in views:
            found += _inspect_study(view)
            found += _inspect_mirror(view.case, premises)
        for view in views:
            with suppress(StorageError), view.case.claims():
                pass  # what was being claimed when the directories were listed is recorded now
        owners = owners_of_directories(storage)
    found += inspect_orphans(directories, owners, tree)
    found += inspect_leftovers(tree, [premises.database] if premises.database else [])
    return views


def _views(premises: Premises, storage: RDBStorage) -> Iterator[StudyView]:
    tree = premises.tree
    owners = owners_of_directories(storage)
    names = study_names(storage)
    last = last_tuned(tree)
    for name in names if premises.study is None else [premises.study]:
        study = load_study(storage, name)
        summary = summarise(study, premises.shown_url, tree.project)
        pending = any(not trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
        yield StudyView(
            case=StudyCase(
                study=study,
                settings=_settings_of(study),
                tree=tree,
                owners=owners,
                claims=claim_lock(premises.url, name, tree.study(name), CLAIM_PATIENCE_S),
            ),
            projections=ProjectionCase(
                summary=summary,
                tree=tree,
                is_last=name == last or (last not in names and len(names) == 1),
                is_settled=not pending,
            ),
        )


def _inspect_study(view: StudyView) -> Iterator[Finding]:
    case = view.case
    if case.settings is None:
        yield _about_settings(case)
    problems = [
        *inspect_running(case),
        *inspect_finished(case),
        *inspect_projections(view.projections),
    ]
    yield from problems
    if not any(one.severity is not Severity.OK for one in problems):
        count = len(case.study.get_trials(deepcopy=False))
        yield Finding(
            code="study-sound",
            severity=Severity.OK,
            message=f"trials ({count}), directories, summaries and links agree",
            study=case.name,
        )


def _inspect_mirror(case: StudyCase, premises: Premises) -> Iterator[Finding]:
    if premises.mlflow is not None:
        destination = find_destination(premises.mlflow, premises.tree, case.name)
        yield from inspect_mlflow(case, destination)


def _settings_of(study: optuna.Study) -> Settings | None:
    try:
        return stored_settings(study)
    except StorageError:
        return None


def _about_settings(case: StudyCase) -> Finding:
    """Return why a study has no configuration that can be read."""
    try:
        stored_settings(case.study)
    except StorageError as error:
        return Finding(
            code="configuration-unreadable",
            severity=Severity.ERROR,
            message=f"{error}; use the version of tunectl that made the study",
            study=case.name,
        )
    return Finding(
        code="configuration-missing",
        severity=Severity.NOTICE,
        message="another program made it, so no configuration is stored with it",
        study=case.name,
    )
