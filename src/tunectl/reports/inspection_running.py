"""A look at the trials that the database calls running: live, interrupted, or of others?"""

from __future__ import annotations

from collections.abc import Iterator

from tunectl.reports.findings import Finding, Severity
from tunectl.reports.running_now import look_at_running
from tunectl.reports.study_case import StudyCase
from tunectl.studies.recovery import RunningTrial, Standing
from tunectl.studies.server_lock import LockBusyError


def inspect_running(case: StudyCase) -> Iterator[Finding]:
    """Yield how things stand with the trials that the database calls running."""
    try:
        found = look_at_running(case.study, case.tree.project, case.claims)
    except LockBusyError as error:
        yield Finding(
            code="claims-busy", severity=Severity.WARNING, message=str(error), study=case.name
        )
        return
    for running in found:
        yield _standing(case, running)


def _standing(case: StudyCase, running: RunningTrial) -> Finding:
    trial, directory = running.trial, running.directory
    path = directory.path if directory is not None else case.recorded(trial)
    if running.is_interrupted:
        stale = _last_sign(running) if running.standing is Standing.STALE else ""
        what = f"interrupted{stale}; the next tunectl tune or study resume takes it up"
        return case.finding(trial, "trial-interrupted", Severity.NOTICE, what, path=path)
    if running.is_locked:
        what = "running: a live worker holds its lock"
        return case.finding(trial, "trial-running", Severity.OK, what, path=path)
    if running.standing is Standing.OUTSIDE:
        what = (
            "driven from outside: a script is to say how it ends, with tunectl trial tell "
            f"{trial.number} --study {case.name}; if none does: tunectl trial release "
            f"{trial.number} --study {case.name}"
        )
        return case.finding(trial, "trial-outside", Severity.NOTICE, what, path=path)
    who = running.claimed_by
    where = f"{who.host} in {who.project}" if who is not None else "another program"
    what = f"claimed by {where}{_last_sign(running)}; whether it runs cannot be seen from here"
    if running.silent_s is None:
        number = trial.number
        what += f"; if it does not: tunectl trial release {number} --study {case.name}"
    return case.finding(trial, "trial-elsewhere", Severity.NOTICE, what, path=path)


def _last_sign(running: RunningTrial) -> str:
    if running.silent_s is None:
        return ""
    return f", whose last sign of life came {running.silent_s:.0f} s ago"
