"""What cannot be made with the command alone: other file systems, other machines, racing claims."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from filelock import FileLock
from optuna.trial import TrialState

from tunectl.artifacts import atomic
from tunectl.artifacts.study_dir import ProjectTree
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import Settings
from tunectl.reports.findings import Finding, Severity
from tunectl.reports.inspection import Inspection, Premises, inspect
from tunectl.reports.repair import repair
from tunectl.running.opening import open_study
from tunectl.studies.claimant import claimant
from tunectl.studies.file_systems import Mount
from tunectl.studies.sqlite_file import journal_of

Make = Callable[..., Settings]
NETWORK = [Mount(point=Path("/"), kind="nfs4")]
DIRECTORY = "outputs/2026-01-31/12-00-00"


@pytest.fixture
def settings(make_settings: Make) -> Settings:
    return make_settings(name="mine")


@pytest.fixture
def premises(tmp_path: Path, settings: Settings) -> Premises:
    tree = ProjectTree.of(tmp_path, settings.surroundings)
    url = f"sqlite:///{tree.optuna_dir / 'study.db'}"
    return Premises(tree=tree, url=url, shown_url="sqlite:///optuna/study.db", device="cpu")


@pytest.fixture
def study(premises: Premises, settings: Settings) -> optuna.Study:
    return open_study(settings, premises.url)[0]


def codes(inspection: Inspection) -> set[str]:
    return {one.code for one in inspection.findings if one.severity is not Severity.OK}


def finding(inspection: Inspection, code: str) -> Finding:
    (one,) = [one for one in inspection.findings if one.code == code]
    return one


def on_network(premises: Premises) -> Premises:
    return Premises(
        tree=premises.tree,
        url=premises.url,
        shown_url=premises.shown_url,
        device="cpu",
        mounts=lambda: NETWORK,
    )


def test_a_write_ahead_log_on_a_network_file_system_is_a_fault_that_is_repaired(
    premises: Premises, study: optuna.Study
) -> None:
    database = premises.database
    assert database is not None
    assert journal_of(database) == "wal"
    there = on_network(premises)

    with closing(sqlite3.connect(database)) as other:
        other.execute("SELECT * FROM studies").fetchall()
        inspection, (failed,) = repair(there)
        assert failed.error == "another process uses the database; end that one first"
        assert not inspection.is_sound
        inspection.close()
    cached: Any = study._storage
    cached._backend.engine.dispose()
    inspection, repairs = repair(there)

    assert journal_of(database) == "delete"
    assert codes(inspection) == {"network-file-system"}
    assert inspection.is_sound
    assert all(one.error is None for one in repairs)


def test_a_trial_that_is_being_ended_by_a_live_worker_is_left_to_it(
    premises: Premises, study: optuna.Study
) -> None:
    directory = TrialDir(premises.tree.project / DIRECTORY)
    directory.checkpoints_dir.mkdir(parents=True)
    trial = study.ask()
    trial.set_user_attr("output_dir", DIRECTORY)
    trial.set_user_attr("claimed_by", claimant("mine", premises.tree.project))
    study.tell(trial, state=TrialState.FAIL)

    with directory.locked() as ours:
        assert ours
        assert not any(one.trial == 0 for one in inspect(premises).findings)
        repair(premises)
        assert directory.checkpoints_dir.is_dir()

    assert {"info-missing", "checkpoints-left"} <= codes(inspect(premises))


def test_a_claim_that_is_under_way_is_waited_for(
    premises: Premises, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunectl.reports.inspection.CLAIM_PATIENCE_S", 0.1)
    study.ask()

    with FileLock(f"{premises.database}.claims.lock"):
        busy = inspect(premises)

    assert "another process does not let go of it" in finding(busy, "claims-busy").message
    assert codes(inspect(premises)) == {"trial-interrupted", "summary-missing"}


def test_a_configuration_of_another_version_is_told(
    premises: Premises, study: optuna.Study
) -> None:
    study.set_user_attr("tunectl:settings", {"from": "the future"})

    inspection, _ = repair(premises)

    assert "use the version of tunectl that made the study" in (
        finding(inspection, "configuration-unreadable").message
    )
    assert not inspection.is_sound
    assert inspection.is_readable


def test_a_device_that_is_not_there_is_told(premises: Premises, study: optuna.Study) -> None:
    wanted = Premises(
        tree=premises.tree, url=premises.url, shown_url=premises.shown_url, device="cuda:97"
    )

    assert (
        "device cuda:97 is not on this machine"
        in finding(inspect(wanted), "device-missing").message
    )


def test_half_written_files_are_known_by_their_names(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic.replacing(tmp_path / "metrics.json") as beside:
        written = beside.name
        raise RuntimeError
    left = [".model_simplecnn_real-0a_b1c2d.pth", ".best-old-abcdefgh", ".study-abcdefgh.db-wal"]
    kept = [".gitignore", ".env", ".lock", "metrics-abcdefgh.json", ".claim.lock"]
    kept += [".mlflow-registry.lock", ".mlflow.lock"]
    for name in (written, *left, *kept):
        (tmp_path / name).touch()
    (tmp_path / ".best-4711").symlink_to("nowhere")
    (tmp_path / ".best-abcdefgh").mkdir()

    assert {path.name for path in atomic.leftovers(tmp_path)} == {written, *left, ".best-4711"}
    assert atomic.leftovers(tmp_path / "nowhere") == []


def test_every_kind_of_finding_is_documented_and_no_other() -> None:
    root = Path(__file__).parents[3]
    source = "".join(path.read_text() for path in (root / "src/tunectl/reports").glob("*.py"))
    page = (root / "docs" / "doctor.md").read_text(encoding="utf-8")

    kinds = set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', source))
    assert len(kinds) > 30
    assert set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", page)) == kinds
