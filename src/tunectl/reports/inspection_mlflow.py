"""A look at MLflow: does it have what the study has?"""

from __future__ import annotations

from collections.abc import Iterator

from tunectl.reports.findings import Finding, Severity
from tunectl.reports.study_case import StudyCase
from tunectl.tracking.destination import Destination


def inspect_mlflow(case: StudyCase, destination: Destination) -> Iterator[Finding]:
    """Yield what MLflow lacks of a study; nothing for one that was never mirrored.

    Args:
        case: The study.
        destination: Where it is mirrored to.
    """
    from tunectl.tracking.agreement import compare  # it may import MLflow, which takes a while

    found = compare(case.study, destination)
    if found is None:
        return
    if found.reason is not None:
        message = f"it could not be looked at: {found.reason}"
        yield _finding(case, "mlflow-unreachable", Severity.NOTICE, message)
    elif found.missing:
        few = ", ".join(str(number) for number in found.missing[:5])
        more = ", …" if len(found.missing) > 5 else ""
        message = (
            f"{len(found.missing)} of {found.n_ended} ended trials are not in MLflow, or not to "
            f"their end: {few}{more}; tunectl mlflow sync --study {case.name}"
        )
        yield _finding(case, "mlflow-behind", Severity.NOTICE, message)
    else:
        message = f"all {found.n_ended} ended trials are in MLflow"
        yield _finding(case, "mlflow-sound", Severity.OK, message)


def _finding(case: StudyCase, code: str, severity: Severity, message: str) -> Finding:
    return Finding(code=code, severity=severity, message=message, study=case.name)
