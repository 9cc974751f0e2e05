"""A look at a study's finished trials: do the database and the trial directories agree?

A directory whose lock a live worker holds is left alone, and one that a link leads away to is not
looked into.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.objectives.registry import find_objective
from tunectl.reports.findings import Finding, Severity
from tunectl.reports.study_case import StudyCase
from tunectl.studies import attributes
from tunectl.studies.claimant import claimant_of
from tunectl.studies.directories import directory_of
from tunectl.studies.ownership import Owner
from tunectl.studies.ranking import best_trials
from tunectl.studies.trial_info import differing_keys

REWRITE = "write it again from the database"
REMOVE = "remove them"


def inspect_finished(case: StudyCase) -> Iterator[Finding]:
    """Yield what does not fit between the finished trials and their directories."""
    best = {trial.number for trial in best_trials(case.study)}
    for trial in case.study.get_trials(deepcopy=False):
        path = case.recorded(trial)
        if not trial.state.is_finished() or path is None:
            continue
        if not path.is_dir():
            yield _missing(case, trial, path, is_best=trial.number in best)
            continue
        directory = TrialDir(path)
        if case.has_in_place(directory):
            yield from _directory_findings(case, trial, directory)
        else:
            yield _outside(case, trial, directory)


def _outside(case: StudyCase, trial: FrozenTrial, directory: TrialDir) -> Finding:
    path = directory.path
    if Path(trial.user_attrs[attributes.OUTPUT_DIR]).is_absolute() and not directory.is_link:
        what = "its directory lies outside of the project's folders and is not looked into"
        return case.finding(trial, "directory-elsewhere", Severity.NOTICE, what, path=path)
    what = f"it leads out of the project, to {path.resolve()}, so it is left alone"
    return case.finding(trial, "directory-leads-away", Severity.ERROR, what, path=path)


def _missing(case: StudyCase, trial: FrozenTrial, path: Path, *, is_best: bool) -> Finding:
    claimed_by, there = claimant_of(trial), directory_of(trial, case.tree.project)
    if there is not None:
        what = f"its directory belongs to another project: {there.path}"
        return case.finding(trial, "directory-elsewhere", Severity.NOTICE, what, path=path)
    if claimed_by is not None and not claimed_by.is_here:
        what = f"its directory is on {claimed_by.host}, in {claimed_by.project}"
        return case.finding(trial, "directory-elsewhere", Severity.NOTICE, what, path=path)
    if is_best:
        what = "the directory of the best trial is gone, and its model with it"
        return case.finding(trial, "best-missing", Severity.WARNING, what, path=path)
    what = "its directory is gone; the trial stays in the study"
    return case.finding(trial, "directory-missing", Severity.NOTICE, what, path=path)


def _directory_findings(
    case: StudyCase, trial: FrozenTrial, directory: TrialDir
) -> Iterator[Finding]:
    owner = case.owner_of(directory, trial)
    if owner is None:
        what = "nothing in its directory says which trial it is of, so it is left alone"
        yield case.finding(trial, "directory-nameless", Severity.NOTICE, what, path=directory.path)
        return
    if owner != Owner(study=case.name, number=trial.number):
        whose = f"trial {owner.number} of study {owner.study}"
        what = f"its directory is that of {whose}, from which it was copied"
        yield case.finding(trial, "directory-shared", Severity.OK, what, path=directory.path)
        return
    found = [
        *_info_findings(case, trial, directory),
        *_result_findings(case, trial, directory),
        *_rest_findings(case, trial, directory),
    ]
    if found and _is_being_finished(directory):
        return
    yield from found


def _info_findings(case: StudyCase, trial: FrozenTrial, directory: TrialDir) -> Iterator[Finding]:
    if case.settings is None:
        return
    info, path, fix = directory.read_info(), directory.info_file, REWRITE
    if not info:
        what = "it is not there or cannot be read"
        yield case.finding(trial, "info-missing", Severity.WARNING, what, path=path, fix=fix)
        return
    keys = differing_keys(trial, case.settings, info)
    if keys:
        what = f"it says something else than the database: {', '.join(keys)}"
        yield case.finding(trial, "info-differs", Severity.WARNING, what, path=path, fix=fix)


def _result_findings(case: StudyCase, trial: FrozenTrial, directory: TrialDir) -> Iterator[Finding]:
    if not directory.config_file.is_file():
        what = "it is not there, so the trial cannot be repeated"
        path = directory.config_file
        yield case.finding(trial, "config-missing", Severity.WARNING, what, path=path)
    if trial.state is not TrialState.COMPLETE:
        return
    expected = [("metrics-missing", directory.metrics_file)]
    if case.settings is None or find_objective(case.settings.run).leaves_network:
        expected.append(("weights-missing", directory.weights_file))
    for code, file in expected:
        if not file.is_file() or file.stat().st_size == 0:
            what = "the trial is complete, but this file is gone or empty"
            yield case.finding(trial, code, Severity.WARNING, what, path=file)
    keys = _differing_metrics(trial, directory.metrics_file)
    if keys:
        what = f"it says something else than the database: {', '.join(keys)}"
        path = directory.metrics_file
        yield case.finding(trial, "metrics-differ", Severity.WARNING, what, path=path)


def _rest_findings(case: StudyCase, trial: FrozenTrial, directory: TrialDir) -> Iterator[Finding]:
    checkpoints = directory.checkpoints_dir
    if checkpoints.is_dir() and not checkpoints.is_symlink():
        what = "the trial is finished, but its checkpoints are still there"
        yield case.finding(
            trial,
            "checkpoints-left",
            Severity.NOTICE,
            what,
            path=checkpoints,
            fix=REMOVE,
        )
    if left := directory.leftovers():
        what = f"half-written files of a process that was killed: {_names(left)}"
        yield case.finding(
            trial,
            "leftovers",
            Severity.NOTICE,
            what,
            path=directory.path,
            fix=REMOVE,
        )


def _is_being_finished(directory: TrialDir) -> bool:
    """Whether a live worker still holds the lock: it ends a trial first and tidies up then."""
    try:
        with directory.locked() as free:
            return not free
    except OSError:  # a read-only folder
        return False


def _differing_metrics(trial: FrozenTrial, file: Path) -> list[str]:
    stored = trial.user_attrs.get(attributes.METRICS)
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    if not isinstance(stored, Mapping) or not isinstance(written, Mapping):
        return []
    return [
        key
        for key, value in stored.items()
        if isinstance(value, int | float) and math.isfinite(value) and written.get(key) != value
    ]


def _names(files: Sequence[Path]) -> str:
    return ", ".join(file.name for file in files)
