"""The summaries and links on the disk, kept up to date while a study runs.

They are written from the database alone, so writing them twice is writing them once, and a
failure costs nothing.
"""

from __future__ import annotations

import logging
from pathlib import Path

import optuna

from tunectl.artifacts import atomic
from tunectl.artifacts.study_dir import ProjectTree
from tunectl.errors import StorageError
from tunectl.reports.summary import StudySummary, summarise
from tunectl.studies.ranking import one_or_list

log = logging.getLogger(__name__)


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
    folder = tree.study(summary.name)
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        tree.outputs_root.mkdir(parents=True, exist_ok=True)
        document = summary.to_file_document()
        for file in (folder.summary_file, tree.summary_file, tree.outputs_summary_file):
            atomic.write_json(file, document)
        _write_best(summary, tree)
    except OSError as error:
        raise StorageError(f"{error.filename or error}: {error.strerror or error}") from error
    return summary


def _write_best(summary: StudySummary, tree: ProjectTree) -> None:
    folder = tree.study(summary.name)
    infos, links = (folder.best_info_file, tree.best_info_file), (folder.best_link, tree.best_link)
    if summary.best is None:
        _forget(infos)
        _forget_links(links)
        return
    best = summary.best
    document = {
        "study": summary.name,
        "metric": one_or_list(summary.metrics),
        "direction": one_or_list(summary.directions),
        **best.to_best(),
        "best_epoch": best.best_epoch,
        "metrics": dict(best.metrics),
        "started_at": best.started_at,
        "finished_at": best.finished_at,
    }
    for file in infos:
        atomic.write_yaml(file, document)
    if best.output_dir is None or not (tree.project / best.output_dir).is_dir():
        _forget_links(links)
        return
    for link in links:
        try:
            atomic.replace_link(link, tree.project / best.output_dir)
        except FileExistsError as error:
            log.warning("%s", error)


def _forget(files: tuple[Path, ...]) -> None:
    """Remove files that would otherwise speak of another study's best trial."""
    for file in files:
        file.unlink(missing_ok=True)


def _forget_links(links: tuple[Path, ...]) -> None:
    """Remove links to another study's best trial; what is no link is not ours."""
    for link in links:
        if link.is_symlink():
            link.unlink()
