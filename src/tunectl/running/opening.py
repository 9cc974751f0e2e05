"""From a study's name to a study that trials can be run in: created, taken up, or resolved.

Nothing is asked of a stored study before it is known to fit today's search space: a trial that
Optuna refuses afterwards would stay behind as failed.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Sequence
from typing import Literal

import optuna
from optuna.storages import RDBStorage

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.config.schema import Settings
from tunectl.errors import SpaceMismatchError, StorageError, StudyExistsError, UsageError
from tunectl.studies.claim_lock import studies_lock
from tunectl.studies.differences import Difference, Grade, compare
from tunectl.studies.lifecycle import (
    check_fit,
    create_or_complete,
    create_study,
    load_study,
    refuse_foreign_code,
    store_settings,
    stored_settings,
    study_names,
)
from tunectl.studies.migration import is_whole, migrate_study
from tunectl.studies.removal import remove_study
from tunectl.studies.storage import open_storage, shown_url, sqlite_path, storage_errors

log = logging.getLogger(__name__)

OnMismatch = Literal["refuse", "accept", "migrate", "new"]


def open_study(
    settings: Settings, url: str, on_mismatch: OnMismatch = "refuse"
) -> tuple[optuna.Study, Settings]:
    """Return the study that the settings name, created if there is none, ready to run trials.

    Args:
        settings: What the user wrote; it becomes the study's stored configuration.
        url: The database's URL.
        on_mismatch: What to do when the stored search space differs: `refuse`; `accept` it where
            Optuna can; or go on in a study with a time stamp in its name, which takes over the old
            trials that fit (`migrate`) or none (`new`). A time-stamped study that fits today's
            files is taken up rather than made again.

    Returns:
        The study, and the settings with the name of the study that was opened.

    Raises:
        SpaceMismatchError: the stored search space differs; nothing was changed.
        StorageError: the database cannot be used.
    """
    storage = _open_for_writing(url)
    with storage_errors(url), studies_lock(url)():
        made = create_or_complete(storage, settings)
        if made is not None:
            return made, settings
        try:
            return _take_up(storage, settings), settings
        except SpaceMismatchError as mismatch:
            return _resolve(storage, settings, on_mismatch, mismatch)


def make_study(settings: Settings, url: str) -> optuna.Study:
    """Create the study that the settings name; of several processes that try, one does.

    Raises:
        StudyExistsError: it is there already; nothing was changed.
        StorageError: the database cannot be used.
    """
    storage = _open_for_writing(url)
    with storage_errors(url), studies_lock(url)():
        made = create_or_complete(storage, settings)
    if made is None:
        raise StudyExistsError(
            f"study {settings.search.study.name!r} exists already; --exist-ok takes it as it is"
        )
    return made


def reopen_study(name: str, url: str) -> tuple[optuna.Study, Settings]:
    """Return a stored study ready to run trials, with the configuration stored with it.

    Raises:
        StudyNotFoundError: there is no such study.
        UsageError: another program made it, so that no configuration is stored with it; or it came
            with code that no file of this project names.
    """
    path = sqlite_path(url)
    is_there = path is None or path.exists()
    storage = open_storage(url, create=True) if is_there else None
    with storage_errors(url), studies_lock(url)():
        stored = load_study(storage, name)
        settings = stored_settings(stored)
        if settings is None:
            raise UsageError(
                f"study {name!r} was made by another program and has no stored configuration; "
                f"go on with: tunectl tune --study {name}"
            )
        refuse_foreign_code(stored, settings)  # before a sampler or a pruner of it is made
        return load_study(storage, name, settings), settings


def remove_old_study(settings: Settings, url: str, tree: ProjectTree) -> None:
    """Delete the study that the settings name, if there is one; trial directories stay.

    Raises:
        StorageError: one of its trials is running, or the database cannot be used.
    """
    name = settings.search.study.name
    storage = open_storage(url, create=False)
    with storage_errors(url):
        if storage is not None and name in study_names(storage):
            remove_study(storage, url, load_study(storage, name), tree, artifacts=False)


def rename_study(settings: Settings, name: str) -> Settings:
    """Return settings for a study of another name."""
    study = settings.search.study.model_copy(update={"name": name})
    search = settings.search.model_copy(update={"study": study})
    return settings.model_copy(update={"search": search})


def _open_for_writing(url: str) -> RDBStorage:
    storage = open_storage(url, create=True)
    if storage is None:
        raise StorageError(f"{shown_url(url)} could not be made")
    return storage


def _take_up(
    storage: RDBStorage, settings: Settings, *, whatever_differs: bool = False
) -> optuna.Study:
    """Load a stored study and store today's settings with it.

    Raises:
        SpaceMismatchError: its search space differs; nothing was changed.
    """
    study = load_study(storage, settings.search.study.name, settings)
    if whatever_differs:
        _warn_of(study.study_name, compare(study, stored_settings(study), settings))
    else:
        _warn_of(study.study_name, check_fit(study, settings))
    store_settings(study, settings)
    return study


def _warn_of(name: str, differences: Sequence[Difference]) -> None:
    doubtful = [one.key for one in differences if one.grade is not Grade.SAFE]
    if doubtful:
        log.warning(
            "study %s goes on with changed values, so its trials may not be comparable: %s",
            name,
            ", ".join(doubtful),
        )


def _resolve(
    storage: RDBStorage, settings: Settings, on_mismatch: OnMismatch, mismatch: SpaceMismatchError
) -> tuple[optuna.Study, Settings]:
    """Do what the user wants done about a stored space that differs."""
    old = load_study(storage, settings.search.study.name)
    if on_mismatch == "refuse":
        raise mismatch
    if on_mismatch == "accept":
        differences = compare(old, stored_settings(old), settings)
        if any(one.grade is Grade.IMPOSSIBLE and one.of_space for one in differences):
            raise mismatch
        return _take_up(storage, settings, whatever_differs=True), settings
    found = _newest_that_fits(storage, settings)
    return found if found is not None else _make_stamped(storage, old, settings, on_mismatch)


def _newest_that_fits(
    storage: RDBStorage, settings: Settings
) -> tuple[optuna.Study, Settings] | None:
    """Take up the newest time-stamped study that fits, so that a rerun makes no further one."""
    pattern = re.compile(re.escape(_stem(settings)) + r"-\d{8}-\d{6}")
    for name in sorted(filter(pattern.fullmatch, study_names(storage)), reverse=True):
        renamed = rename_study(settings, name)
        if not is_whole(load_study(storage, name)):
            continue
        try:
            return _take_up(storage, renamed), renamed
        except SpaceMismatchError:
            continue
    return None


def _make_stamped(
    storage: RDBStorage, old: optuna.Study, settings: Settings, on_mismatch: OnMismatch
) -> tuple[optuna.Study, Settings]:
    renamed = rename_study(settings, f"{_stem(settings)}-{dt.datetime.now():%Y%m%d-%H%M%S}")
    name = renamed.search.study.name
    why = f"study {old.study_name} differs from today's files"
    if on_mismatch == "new":
        log.warning("%s, so study %s begins empty", why, name)
        return create_study(storage, renamed), renamed
    migration = migrate_study(storage, old, renamed)
    log.warning("%s, so study %s goes on with %d of its trials", why, name, migration.taken)
    return load_study(storage, name, renamed), renamed


def _stem(settings: Settings) -> str:
    """Return the name that a time stamp is put behind, short enough to stay a study's name."""
    return settings.search.study.name[:80]
