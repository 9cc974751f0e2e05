"""A look at a study's trials: do the database, the trial directories and their locks agree?

A directory whose lock a live worker holds is left alone, and one that a link leads away to is not
looked into.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, TrialState

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import Settings
from tunectl.reports.findings import Finding, Severity, shown_path
from tunectl.studies import attributes
from tunectl.studies.ownership import Owner
from tunectl.studies.ranking import best_trials
from tunectl.studies.recovery import RunningTrial, Standing, running_trials
from tunectl.studies.trial_info import differing_keys

CLAIM_PATIENCE_S = 10.0
REWRITE = "write it again from the database"
REMOVE_CHECKPOINTS = "remove them"
REMOVE_LEFTOVERS = "remove them"


@dataclass(frozen=True, kw_only=True)
class StudyCase:
    """A study that is looked at.

    Args:
        study: The study.
        settings: The configuration stored with it, None where there is none that can be read.
        tree: Where things stand.
        owners: Every recorded directory of the database with the trials that recorded it.
        claim_lock: File that is locked while a trial is claimed; its folder need not be there.
    """

    study: optuna.Study
    settings: Settings | None
    tree: ProjectTree
    owners: Mapping[str, Sequence[Owner]]
    claim_lock: Path

    @property
    def name(self) -> str:
        """The study's name."""
        return self.study.study_name

    def wait_for_claims(self) -> bool:
        """Wait until nobody is in the midst of a claim; return whether that was to be had."""
        try:
            with FileLock(self.claim_lock).acquire(timeout=CLAIM_PATIENCE_S):
                return True
        except (Timeout, OSError):
            return False

    def directory_of(self, trial: FrozenTrial) -> TrialDir | None:
        """Return the directory that a trial has recorded, None where there is none any more."""
        path = _recorded(self, trial)
        return TrialDir(path) if path is not None and path.is_dir() else None

    def finding(
        self,
        trial: FrozenTrial,
        code: str,
        severity: Severity,
        message: str,
        *,
        path: Path | None = None,
        fix: str | None = None,
    ) -> Finding:
        """Return a finding about one of its trials."""
        return Finding(
            code=code,
            severity=severity,
            message=message,
            study=self.name,
            trial=trial.number,
            path=shown_path(path, self.tree.project) if path is not None else None,
            fix=fix,
        )


def inspect_running(case: StudyCase) -> Iterator[Finding]:
    """Yield how things stand with the trials that the database calls running."""
    running = case.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    if not running:
        return
    try:
        found = _look_at_running(case)
    except OSError as error:
        for trial in running:
            what = f"whether it has a worker cannot be told: {error.strerror}"
            path = _recorded(case, trial)
            yield case.finding(trial, "trial-unknown", Severity.NOTICE, what, path=path)
        return
    for trial in running:
        yield _standing(case, trial, found)


def _standing(
    case: StudyCase, trial: FrozenTrial, found: Mapping[int, RunningTrial] | None
) -> Finding:
    path = _recorded(case, trial)
    if found is None:
        what = "somebody is claiming trials and does not come to an end"
        return case.finding(trial, "claims-busy", Severity.WARNING, what, path=case.claim_lock)
    if trial.number not in found:
        return case.finding(trial, "trial-running", Severity.OK, "has just ended", path=path)
    seen = found[trial.number]
    if seen.is_interrupted:
        what = "interrupted; the next tunectl tune or study resume takes it up"
        return case.finding(trial, "trial-interrupted", Severity.NOTICE, what, path=path)
    if seen.standing is Standing.LIVE:
        what = "running: a live worker holds its lock"
        return case.finding(trial, "trial-running", Severity.OK, what, path=path)
    beat = "" if seen.silent_s is None else f"; last heartbeat {seen.silent_s:.0f} s ago"
    what = f"claimed by {_claimed_by(trial)}, which cannot be looked at from here{beat}"
    return case.finding(trial, "trial-elsewhere", Severity.NOTICE, what, path=path)


def inspect_finished(case: StudyCase) -> Iterator[Finding]:
    """Yield what does not fit between the finished trials and their directories."""
    best = {trial.number for trial in best_trials(case.study)}
    for trial in case.study.get_trials(deepcopy=False):
        path = _recorded(case, trial)
        if not trial.state.is_finished() or path is None:
            continue
        if not path.is_dir():
            yield _missing(case, trial, path, is_best=trial.number in best)
            continue
        directory = TrialDir(path)
        if not is_in_place(directory, case.tree):
            what = f"a link leads away to {path.resolve()}, so it is left alone"
            yield case.finding(trial, "directory-leads-away", Severity.ERROR, what, path=path)
            continue
        yield from _directory_findings(case, trial, directory)


def is_in_place(directory: TrialDir, tree: ProjectTree) -> bool:
    """Whether a trial directory is a folder of the project, and no link leads away from there."""
    roots = (tree.project.resolve(), tree.outputs_root.resolve())
    resolved = directory.path.resolve()
    inside = any(root in resolved.parents for root in roots)
    return inside and not directory.is_link and not directory.path.is_symlink()


def owned_elsewhere(case: StudyCase, trial: FrozenTrial, info: Mapping[str, Any]) -> str | None:
    """Return whose directory a trial's is, where it is another's; None where it is its own."""
    named = (info.get("study", case.name), info.get("number", trial.number))
    if named != (case.name, trial.number):
        return f"trial {named[1]} of study {named[0]}"
    first = case.owners.get(str(trial.user_attrs.get(attributes.OUTPUT_DIR)), ())[:1]
    if info or not first or (first[0].study, first[0].number) == (case.name, trial.number):
        return None
    return f"trial {first[0].number} of study {first[0].study}"


def _directory_findings(
    case: StudyCase, trial: FrozenTrial, directory: TrialDir
) -> Iterator[Finding]:
    info = directory.read_info()
    other = owned_elsewhere(case, trial, info)
    if other is not None:
        what = f"its directory is that of {other}, from which it was copied"
        yield case.finding(trial, "directory-shared", Severity.OK, what, path=directory.path)
        return
    found = [
        *_info_findings(case, trial, directory, info),
        *_result_findings(case, trial, directory),
        *_rest_findings(case, trial, directory),
    ]
    if found and _is_being_finished(directory):
        return
    yield from found


def _info_findings(
    case: StudyCase, trial: FrozenTrial, directory: TrialDir, info: Mapping[str, Any]
) -> Iterator[Finding]:
    if case.settings is None:
        return
    path, fix = directory.info_file, REWRITE
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
    for code, file in (
        ("metrics-missing", directory.metrics_file),
        ("weights-missing", directory.weights_file),
    ):
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
            fix=REMOVE_CHECKPOINTS,
        )
    if left := directory.leftovers():
        what = f"half-written files of a process that was killed: {_names(left)}"
        yield case.finding(
            trial,
            "leftovers",
            Severity.NOTICE,
            what,
            path=directory.path,
            fix=REMOVE_LEFTOVERS,
        )


def _missing(case: StudyCase, trial: FrozenTrial, path: Path, *, is_best: bool) -> Finding:
    if not is_best:
        what = "its directory is gone; the trial stays in the study"
        return case.finding(trial, "directory-missing", Severity.NOTICE, what, path=path)
    if not _is_of_this_host(trial):
        what = f"the directory of the best trial is not here; {_claimed_by(trial)} made it"
        return case.finding(trial, "directory-elsewhere", Severity.NOTICE, what, path=path)
    what = "the directory of the best trial is gone, and its model with it"
    return case.finding(trial, "best-missing", Severity.WARNING, what, path=path)


def _look_at_running(case: StudyCase) -> dict[int, RunningTrial] | None:
    """Return how things stand with running trials, None where claims do not come to an end.

    The claim lock keeps everybody from being between asking for a trial and locking its directory.

    Raises:
        OSError: locks cannot be taken here.
    """
    lock = FileLock(case.claim_lock)
    try:
        lock.acquire(timeout=CLAIM_PATIENCE_S)
    except Timeout:
        return None
    try:
        found = running_trials(case.study, case.tree.project)
        return {one.trial.number: one for one in found}
    finally:
        lock.release()


def _is_being_finished(directory: TrialDir) -> bool:
    """Whether a live worker still holds the lock: it ends a trial first and tidies up then."""
    try:
        with directory.locked() as free:
            return not free
    except OSError:  # a read-only folder
        return False


def _recorded(case: StudyCase, trial: FrozenTrial) -> Path | None:
    recorded = trial.user_attrs.get(attributes.OUTPUT_DIR)
    return case.tree.project / recorded if isinstance(recorded, str) else None


def _is_of_this_host(trial: FrozenTrial) -> bool:
    claimed_by = trial.user_attrs.get(attributes.CLAIMED_BY)
    return isinstance(claimed_by, Mapping) and claimed_by.get("host") == platform.node()


def _claimed_by(trial: FrozenTrial) -> str:
    claimed_by = trial.user_attrs.get(attributes.CLAIMED_BY)
    if not isinstance(claimed_by, Mapping):
        return "another project or machine"
    return f"{claimed_by.get('host')} in {claimed_by.get('project')}"


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
