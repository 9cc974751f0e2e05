"""A study that is looked at and repaired, and whose directory is whose.

Nothing is read where a link leads away from the project, and nothing is written there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import Settings
from tunectl.reports.findings import Finding, Severity, shown_path
from tunectl.studies import attributes
from tunectl.studies.claim_lock import Lock
from tunectl.studies.claimant import claimant_of
from tunectl.studies.ownership import Owner


@dataclass(frozen=True, kw_only=True)
class StudyCase:
    """A study that is looked at.

    Args:
        study: The study.
        settings: The configuration stored with it, None where there is none that can be read.
        tree: Where things stand.
        owners: Every recorded directory of the database with the trials that recorded it.
        claims: The lock of its claims, which does not wait for ever.
    """

    study: optuna.Study
    settings: Settings | None
    tree: ProjectTree
    owners: Mapping[str, Sequence[Owner]]
    claims: Lock

    @property
    def name(self) -> str:
        """The study's name."""
        return self.study.study_name

    def recorded(self, trial: FrozenTrial) -> Path | None:
        """Return where a trial's directory is to be, None where none is recorded."""
        recorded = trial.user_attrs.get(attributes.OUTPUT_DIR)
        return self.tree.project / recorded if isinstance(recorded, str) else None

    def has_in_place(self, directory: TrialDir) -> bool:
        """Whether a directory is a folder of the project, and no link leads away from there."""
        roots = (self.tree.project.resolve(), self.tree.outputs_root.resolve())
        resolved = directory.path.resolve()
        return not directory.is_link and any(root in resolved.parents for root in roots)

    def owner_of(self, directory: TrialDir, trial: FrozenTrial) -> Owner | None:
        """Return whose directory a trial has recorded: its own or, for a copied one, the first's.

        Returns:
            None where that cannot be told.
        """
        own = Owner(study=self.name, number=trial.number)
        by_info = _named_by_info(directory)
        if by_info == own:
            return own
        by_config = _named_by_config(directory)
        if by_config == own:
            return own
        if by_info or by_config:
            return by_info or by_config
        claimed_by = claimant_of(trial)
        is_claimed_here = (
            claimed_by is not None
            and claimed_by.is_here
            and claimed_by.project == str(self.tree.project)
        )
        recorded = str(trial.user_attrs.get(attributes.OUTPUT_DIR))
        return self.owners.get(recorded, [own])[0] if is_claimed_here else None

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


def _named_by_info(directory: TrialDir) -> Owner | None:
    info = directory.read_info()
    study, number = info.get("study"), info.get("number")
    if not isinstance(study, str) or not isinstance(number, int):
        return None
    return Owner(study=study, number=number)


def _named_by_config(directory: TrialDir) -> Owner | None:
    config = directory.read_config()
    return None if config is None else Owner(study=config.study.name, number=config.number)
