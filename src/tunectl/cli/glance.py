"""Studies at a glance: with a few queries where that is enough, else as Optuna reads them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from tunectl.cli.session import Session, Store, find_store, load_chosen, open_found
from tunectl.config.database import sqlite_path_of

if TYPE_CHECKING:
    from tunectl.reports.summary import StudySummary
    from tunectl.studies.records import StudyOverview, StudyRecord


def summarise_chosen(
    session: Session, storage: str | None, name: str | None
) -> tuple[Store, StudySummary]:
    """Return the study meant at a glance, and where it is; the database is not opened for more.

    Args:
        session: The session.
        storage: URL from the command line, None for the configured one.
        name: The study from the command line.

    Raises:
        StudyNotFoundError: there is none of that name.
    """
    from tunectl.reports.summary import summarise_record

    store = find_store(session, storage)
    record = _read_quickly(store, name)
    if record is not None:
        return store, summarise_record(record, store.shown_url, store.project)
    from tunectl.reports.summary import summarise
    from tunectl.studies.storage import storage_errors

    opened = open_found(store)
    with storage_errors(store.url):
        study = load_chosen(opened, name)
        return store, summarise(study, store.shown_url, store.project)


def overviews_of(store: Store) -> list[StudyOverview] | None:
    """Return every study in a line, None where there is no database.

    Raises:
        StorageError: it cannot be read.
    """
    from tunectl.studies.reading import read_overviews

    with _server_errors(store):
        quickly = read_overviews(store.url)
    if quickly is not None:
        return quickly
    from tunectl.studies.lifecycle import load_study, study_names
    from tunectl.studies.recording import record_study
    from tunectl.studies.records import overview_of
    from tunectl.studies.storage import storage_errors

    storage = open_found(store).storage
    if storage is None:
        return None
    with storage_errors(store.url):
        return [overview_of(record_study(load_study(storage, n))) for n in study_names(storage)]


def _server_errors(store: Store) -> AbstractContextManager[None]:
    """Translate what a server says; a file that cannot be read quickly is read again."""
    if sqlite_path_of(store.url) is not None:
        return nullcontext()
    from tunectl.studies.storage import storage_errors

    return storage_errors(store.url)


def _read_quickly(store: Store, name: str | None) -> StudyRecord | None:
    """Read the study meant with a few queries, None where that takes Optuna."""
    from tunectl.config.quick import glance_at_study
    from tunectl.config.search_schema import checked_study_name
    from tunectl.studies.reading import read_study

    chosen = name
    if chosen is None:
        chosen = glance_at_study(store.project)
        try:
            chosen = checked_study_name(chosen) if chosen is not None else None
        except ValueError:
            return None
    with _server_errors(store):
        return read_study(store.url, chosen)
