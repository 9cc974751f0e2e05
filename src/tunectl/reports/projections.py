"""The summaries and links on the disk, kept up to date while a study runs.

They are written from the database alone, so writing them twice is writing them once, and a
failure costs nothing.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from tunectl.artifacts import atomic
from tunectl.artifacts.study_dir import ProjectTree
from tunectl.errors import StorageError
from tunectl.reports.summary import StudySummary, summarise
from tunectl.studies.records import one_or_list

log = logging.getLogger(__name__)

# What takes no longer is done after each trial; else the pause after it is so many times as long.
CHEAP_S = 0.05
PAUSE = 20.0


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one set of a study's projections stands.

    Args:
        folder: The folder that they belong to; it need not be there.
        summaries: Files of its summary, all alike.
        best_info: File of its best trial.
        best_link: Link to the directory of its best trial.
    """

    folder: Path
    summaries: Sequence[Path]
    best_info: Path
    best_link: Path


def place_of(tree: ProjectTree, name: str) -> Place:
    """Return where a study's own projections stand."""
    own = tree.study(name)
    return Place(
        folder=own.path,
        summaries=(own.summary_file,),
        best_info=own.best_info_file,
        best_link=own.best_link,
    )


def place_of_last(tree: ProjectTree) -> Place:
    """Return where the projections of the study last tuned stand."""
    return Place(
        folder=tree.optuna_dir,
        summaries=(tree.summary_file, tree.outputs_summary_file),
        best_info=tree.best_info_file,
        best_link=tree.best_link,
    )


def last_tuned(tree: ProjectTree) -> str | None:
    """Return the name of the study last tuned, None where no file says so."""
    for file in place_of_last(tree).summaries:
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        name = document.get("study_name") if isinstance(document, dict) else None
        if isinstance(name, str):
            return name
    return None


class Keeper:
    """Keeps a study's summaries and links up to date while it runs, without holding it up.

    To write them takes the longer the more trials there are: a second for ten thousand. Then they
    are written less often, so that it takes a twentieth of the time at most.

    Args:
        study: The study.
        tree: Where they stand.
        storage: The database's URL as it may be shown.
        clock: Seconds that no one sets back.
    """

    def __init__(
        self,
        study: optuna.Study,
        tree: ProjectTree,
        storage: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._refresh = functools.partial(refresh, study, tree, storage)
        self._clock = clock
        self._is_behind = False
        self._not_before_s = -math.inf

    def note_change(self) -> None:
        """Say that they are out of date."""
        self._is_behind = True

    def catch_up(self) -> None:
        """Write them if they are out of date and it is time.

        Raises:
            StorageError: a file could not be written.
        """
        began_s = self._clock()
        if not self._is_behind or began_s < self._not_before_s:
            return
        self._is_behind = False
        self._refresh()
        now_s = self._clock()
        took_s = now_s - began_s
        self._not_before_s = now_s + (PAUSE * took_s if took_s > CHEAP_S else 0.0)


def refresh(study: optuna.Study, tree: ProjectTree, storage: str) -> StudySummary:
    """Write the summaries and links of a study, and make it the one last tuned.

    Args:
        study: The study.
        tree: Where they stand.
        storage: The database's URL as it may be shown.

    Returns:
        The summary that was written.

    Raises:
        StorageError: a file could not be written; the study itself is whole.
    """
    summary = summarise(study, storage, tree.project)
    write(summary, tree, [place_of(tree, summary.name), place_of_last(tree)])
    return summary


def write(summary: StudySummary, tree: ProjectTree, places: Sequence[Place]) -> None:
    """Write a study's summary, its best trial and the link to it.

    Args:
        summary: The study.
        tree: Where its trials are.
        places: Where to write.

    Raises:
        StorageError: a file could not be written.
    """
    text = atomic.to_json(summary.to_file_document()) + "\n"
    try:
        for place in places:
            for file in (*place.summaries, place.best_link):
                file.parent.mkdir(parents=True, exist_ok=True)
            for file in place.summaries:
                atomic.write_text(file, text)
            _write_best(summary, tree, place)
    except OSError as error:
        raise StorageError(f"{error.filename or error}: {error.strerror or error}") from error


def best_document(summary: StudySummary) -> dict[str, Any] | None:
    """Return what `best_trial_info.yaml` says, None while no trial is complete."""
    best = summary.best
    if best is None:
        return None
    return {
        "study": summary.name,
        "metric": one_or_list(summary.metrics),
        "direction": one_or_list(summary.directions),
        **best.to_best(),
        "best_epoch": best.best_epoch,
        "metrics": dict(best.metrics),
        "started_at": best.started_at,
        "finished_at": best.finished_at,
    }


def best_directory(summary: StudySummary, tree: ProjectTree) -> Path | None:
    """Return the directory of a study's best trial, None where there is none."""
    best = summary.best
    if best is None or best.output_dir is None:
        return None
    path = tree.project / best.output_dir
    return path if path.is_dir() else None


def _write_best(summary: StudySummary, tree: ProjectTree, place: Place) -> None:
    document, directory = best_document(summary), best_directory(summary, tree)
    if document is None:  # what stands there speaks of another study
        place.best_info.unlink(missing_ok=True)
    else:
        atomic.write_yaml(place.best_info, document)
    if directory is None:
        if place.best_link.is_symlink():  # what is no link is not ours
            place.best_link.unlink()
        return
    try:
        atomic.replace_link(place.best_link, directory)
    except FileExistsError as error:
        log.warning("%s", error)
