"""Repairs what an inspection found, as far as that is safe.

Everything that is written here comes from the database, and everything that is removed is half a
file, a checkpoint of a finished trial or a link. No trial, no result and no folder of a trial is
ever changed, and nothing is written to where a link leads away from the project.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from optuna.trial import FrozenTrial

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.errors import StorageError
from tunectl.reports.findings import Finding, Repair
from tunectl.reports.inspection import Inspection, Premises, inspect
from tunectl.reports.inspection_projections import leads_away
from tunectl.reports.projections import place_of, place_of_last, write
from tunectl.reports.summary import summarise
from tunectl.studies.ownership import Owner
from tunectl.studies.reasons import reason_of
from tunectl.studies.sqlite_file import leave_wal
from tunectl.studies.trial_info import describe_again
from tunectl.studies.upgrade import upgrade_database

# An upgrade shows the studies, whose repair may be the next round's.
ROUNDS = 3


class _NotRepairedError(Exception):
    """Why something was left as it is."""


def repair(premises: Premises) -> tuple[Inspection, list[Repair]]:
    """Inspect a project, repair what can be repaired, and inspect again.

    Args:
        premises: What is to be looked at.

    Returns:
        What is found at the end, and what was done about what was found before.

    Raises:
        StudyNotFoundError: there is no study of the name that was asked for.
    """
    done: list[Repair] = []
    inspection = inspect(premises)
    for _ in range(ROUNDS):
        tried = {(one.finding.code, one.finding.path) for one in done}
        round_of = [
            one for one in inspection.findings if one.fix and (one.code, one.path) not in tried
        ]
        if not round_of:
            break
        bench = _Bench(premises, inspection)
        done += [bench.repair(one) for one in round_of]
        inspection = inspect(premises)
    return inspection, done


class _Bench:
    """Repairs the findings of one inspection.

    Args:
        premises: What was looked at.
        inspection: What was found.
    """

    def __init__(self, premises: Premises, inspection: Inspection) -> None:
        self._premises = premises
        self._inspection = inspection
        self._views = {view.case.name: view for view in inspection.studies}
        self._written: set[Path] = set()
        tidy, project = self._tidy, self._project
        self._ways: Mapping[str, Callable[[Finding], str]] = {
            "schema-older": self._upgrade,
            "journal-unsuitable": self._leave_wal,
            "info-missing": self._rewrite_info,
            "info-differs": self._rewrite_info,
            "checkpoints-left": tidy,
            "leftovers": tidy,
            "leftover": self._remove_leftover,
            "summary-missing": project,
            "summary-stale": project,
            "summary-unreadable": project,
            "link-missing": project,
            "link-dangling": project,
            "link-elsewhere": project,
            "link-outside": project,
        }

    def repair(self, finding: Finding) -> Repair:
        """Repair one finding; a failure is told and costs nothing."""
        try:
            return Repair(finding=finding, done=self._ways[finding.code](finding))
        except (_NotRepairedError, StorageError) as error:
            return Repair(finding=finding, error=str(error))
        except OSError as error:
            return Repair(finding=finding, error=reason_of(error))

    def _upgrade(self, _: Finding) -> str:
        self._inspection.close()
        copy = upgrade_database(self._premises.url, self._database)
        return f"upgraded it; {copy.name} is a copy of it as it was"

    def _leave_wal(self, _: Finding) -> str:
        self._inspection.close()  # our own reading would be in the way
        if not leave_wal(self._database):
            raise _NotRepairedError("another process uses the database; end that one first")
        return "it keeps a rollback journal now"

    @property
    def _database(self) -> Path:
        database = self._premises.database
        assert database is not None
        return database

    def _rewrite_info(self, finding: Finding) -> str:
        trial, directory = self._trial_of(finding)
        settings = self._views[finding.study or ""].case.settings
        assert settings is not None
        with directory.locked() as free:
            if not free:
                raise _NotRepairedError("a live worker holds its lock")
            directory.write_info(describe_again(trial, settings, directory.read_info()))
        return "wrote it again from the database"

    def _tidy(self, finding: Finding) -> str:
        _, directory = self._trial_of(finding)
        with directory.locked() as free:
            if not free:
                raise _NotRepairedError("a live worker holds its lock")
            for file in directory.leftovers():
                file.unlink(missing_ok=True)
            directory.tidy()
        return "removed them"

    def _trial_of(self, finding: Finding) -> tuple[FrozenTrial, TrialDir]:
        """Return a finished trial and its directory, looked at once more before it is changed."""
        case = self._views[finding.study or ""].case
        trial = case.study.get_trials(deepcopy=False)[finding.trial or 0]
        path = case.recorded(trial)
        if path is None or not path.is_dir() or not case.has_in_place(TrialDir(path)):
            raise _NotRepairedError("its directory is gone, or a link leads away from there")
        if case.owner_of(TrialDir(path), trial) != Owner(study=case.name, number=trial.number):
            raise _NotRepairedError("the directory is another trial's")
        return trial, TrialDir(path)

    def _remove_leftover(self, finding: Finding) -> str:
        file = self._premises.tree.project / (finding.path or "")
        file.unlink(missing_ok=True)
        return "removed it"

    def _project(self, finding: Finding) -> str:
        view = self._views[finding.study or ""]
        tree = self._premises.tree
        places = [place_of(tree, view.case.name)]
        if view.projections.is_last:
            places.append(place_of_last(tree))
        safe = [place for place in places if not leads_away(place, tree)]
        todo = [place for place in safe if place.best_link not in self._written]
        write(summarise(view.case.study, self._premises.shown_url, tree.project), tree, todo)
        self._written |= {place.best_link for place in todo}
        if not finding.code.startswith("link-"):
            return "wrote it from the database"
        link = tree.project / (finding.path or "")
        return "made it anew" if link.is_symlink() else "removed it"
