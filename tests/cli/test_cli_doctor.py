"""`doctor`: each fault made for real, what the user is told, what is repaired, and what is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from cli_project import Project, claim_trials, wait_for_file
from optuna.trial import FrozenTrial, TrialState
from warm_project import WarmProject, copy_of, mixed_project, small_project

from tunectl.studies.claimant import boot

SmallDisk = Callable[[Path, int], AbstractContextManager[None]]
ReadOnly = Callable[[Path], AbstractContextManager[None]]
OLD = (1e9, 1e9)


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return mixed_project(tmp_path_factory)


@pytest.fixture
def project(mixed: Project, tmp_path: Path) -> Project:
    """Return a project of its own: three trials complete, one pruned, one failed."""
    project = copy_of(mixed, tmp_path / "project")
    claim_trials(project, mixed)
    return project


def examined(project: Project, *options: str, code: int) -> dict[str, Any]:
    """Return what `doctor --json` says."""
    result = project.tunectl("doctor", "--json", *options)
    assert result.code == code, result
    document = result.document()
    assert document["schema_version"] == 1
    assert document["sound"] == (code == 0)
    assert document["readable"] == (code != 7)
    return dict(document)


def found(document: dict[str, Any], code: str) -> list[dict[str, Any]]:
    """Return the findings of a kind."""
    return [one for one in document["findings"] if one["code"] == code]


def codes(document: dict[str, Any]) -> set[str]:
    """Return the kinds of what is not as it should be."""
    return {one["code"] for one in document["findings"] if one["severity"] != "ok"}


def trial_in(project: Project, state: TrialState) -> tuple[FrozenTrial, Path]:
    """Return a trial in a state, which is not the best one, and its directory."""
    best = project.study("mixed").best_trial.number
    trial = next(t for t in project.trials("mixed") if t.state == state and t.number != best)
    return trial, project.path / trial.user_attrs["output_dir"]


def best_of(project: Project) -> Path:
    """Return the directory of the best trial."""
    return project.path / str(project.study("mixed").best_trial.user_attrs["output_dir"])


def weights_of(project: Project) -> dict[str, bytes]:
    """Return every file of weights, predictions and metrics: what nothing may change."""
    names = ("*.pth", "*.npy", "metrics.json", "config.yaml", "trial.log")
    files = [file for name in names for file in (project.path / "outputs").rglob(name)]
    return {str(file.relative_to(project.path)): file.read_bytes() for file in files}


# -- nothing is wrong -----------------------------------------------------------------------------


def test_a_sound_project_is_told_as_such_and_nothing_is_changed(project: Project) -> None:
    before, files = project.database(), project.files()

    document = examined(project, code=0)
    fixed = examined(project, "--fix", code=0)

    assert codes(document) == set()
    assert {"database-sound", "schema-current", "database-writable", "study-sound"} <= {
        one["code"] for one in document["findings"]
    }
    assert set(document["machine"]["versions"]) == {
        "tunectl",
        "python",
        "optuna",
        "torch",
        "sqlite",
    }
    assert document["machine"]["devices"][0] == "cpu"
    assert document["machine"]["cores"] >= 1
    assert document["database"]["url"] == "sqlite:///optuna/study.db"
    assert document["database"]["journal"] == "wal"
    assert document["database"]["schema"] == document["database"]["wanted_schema"]
    assert [disk["path"] for disk in document["disks"]] == ["optuna", "outputs"]
    (study,) = document["studies"]
    assert (study["name"], study["states"]["complete"], study["states"]["failed"]) == (
        "mixed",
        3,
        1,
    )
    assert fixed["repaired"] == []
    assert (project.database(), project.files()) == (before, files)


def test_a_person_reads_it_in_lines(project: Project) -> None:
    (best_of(project) / "trial_info.yaml").unlink()

    result = project.tunectl("doctor")

    assert result.code == 1
    for words in (
        "sqlite 3.",
        "write-ahead log",
        "study mixed",
        "3 complete, 1 pruned, 1 failed",
        "sound: integrity and foreign keys",
        "trial_info.yaml: it is not there or cannot be read",
        "[fix: write it again from the database]",
        "1 warning",
    ):
        assert words in result.out, result.out
    assert "what has a fix is repaired by: tunectl doctor --fix" in result.err
    assert "\x1b" not in result.out


def test_an_empty_folder_has_nothing_wrong_and_stays_empty(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)

    document = examined(project, "--fix", code=0)

    assert codes(document) == {"database-missing"}
    assert project.files() == set()
    assert project.tunectl("doctor", "--study", "mine").code == 3
    assert project.tunectl("doctor", "--storage", "sqlite:///other.db").code == 7


def test_one_study_can_be_asked_for(project: Project) -> None:
    optuna.create_study(study_name="other", storage=project.url)

    assert len(examined(project, code=0)["studies"]) == 2
    (only,) = examined(project, "--study", "mixed", code=0)["studies"]
    unknown = project.tunectl("doctor", "--study", "nobody")

    assert only["name"] == "mixed"
    assert (unknown.code, unknown.out) == (3, "")
    assert "no study 'nobody'; there are: mixed, other" in unknown.err


def test_a_study_of_another_program_is_no_fault(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)
    (tmp_path / "optuna").mkdir()
    theirs = optuna.create_study(study_name="theirs", storage=project.url)
    theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)

    document = examined(project, code=0)

    assert "configuration-missing" in codes(document)
    examined(project, "--fix", code=0)
    assert len(theirs.get_trials()) == 3


# -- the database ---------------------------------------------------------------------------------


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def write_garbage(file: Path) -> None:
    file.write_bytes(b"my notes of last summer\n" * 100)


def put_another_programs(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")


def spoil_an_index(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute(
            "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master "
            "WHERE name = 'trials') WHERE name = 'ix_studies_study_name'"
        )
        connection.commit()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (truncate, "it is damaged (database disk image is malformed); restore a copy"),
        (empty, "it is empty; if it held studies, restore a copy"),
        (write_garbage, "this is no SQLite database"),
        (put_another_programs, "it is a database, but not one of studies"),
        (spoil_an_index, "it is damaged"),
    ],
)
def test_a_database_that_cannot_be_read_is_exit_7_and_left_as_it_is(
    project: Project, spoil: Callable[[Path], None], words: str
) -> None:
    file = project.path / "optuna" / "study.db"
    spoil(file)
    before, weights = file.read_bytes(), weights_of(project)

    for option in ((), ("--fix",)):
        document = examined(project, *option, code=7)
        (finding,) = [one for one in document["findings"] if one["severity"] == "error"]
        assert words in finding["message"]
        assert finding["fix"] is None

    assert file.read_bytes() == before
    assert weights_of(project) == weights


def test_an_old_database_is_upgraded_and_a_copy_kept(old_database: Path, tmp_path: Path) -> None:
    project = WarmProject(tmp_path)

    document = examined(project, code=1)
    (finding,) = found(document, "schema-older")
    assert "made by Optuna 2.10.1: layout v2.6.0.a" in finding["message"]
    assert finding["fix"] == "keep a copy of it and upgrade it"
    assert document["studies"] == []
    assert "upgrade it with: tunectl doctor --fix" in project.tunectl("summary").err

    fixed = examined(project, "--fix", code=0)

    (repair,) = [one for one in fixed["repaired"] if one["code"] == "schema-older"]
    (copy,) = project.path.glob("optuna/study.db.before-upgrade-*")
    assert copy.name in repair["done"]
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT * FROM alembic_version").fetchall() == [("v2.6.0.a",)]
    summary = project.ok("summary", "--json").document()
    assert summary["states"] == {
        "complete": 2,
        "pruned": 1,
        "failed": 1,
        "running": 0,
        "waiting": 0,
    }


def test_a_newer_database_is_not_touched(project: Project) -> None:
    file = project.path / "optuna" / "study.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v9.0.0.a'")
        connection.commit()
    before = file.read_bytes()

    document = examined(project, "--fix", code=1)

    (finding,) = found(document, "schema-newer")
    assert "newer: pip install --upgrade optuna" in finding["message"]
    assert file.read_bytes() == before


def test_rows_that_belong_to_nothing_are_told(project: Project) -> None:
    with closing(sqlite3.connect(project.path / "optuna" / "study.db")) as connection:
        connection.execute(
            "INSERT INTO trial_values (trial_id, objective, value_type) VALUES (4711, 0, 'INF_POS')"
        )
        connection.commit()

    (finding,) = found(examined(project, "--fix", code=1), "database-orphans")

    assert "1 rows of trial_values belong to nothing" in finding["message"]


def test_a_locked_database_is_told_after_the_wait(project: Project) -> None:
    with closing(sqlite3.connect(project.path / "optuna" / "study.db")) as other:
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute("BEGIN EXCLUSIVE")
        result = project.tunectl("doctor", "--storage", "sqlite:///optuna/study.db?timeout=0.2")

    assert result.code == 7
    assert "another process keeps the database locked" in result.out


def test_a_project_that_cannot_be_written_can_be_examined(
    project: Project, read_only: ReadOnly
) -> None:
    (best_of(project) / "trial_info.yaml").unlink()

    with read_only(project.path):
        document = examined(project, "--fix", code=1)

    assert "database-read-only" in codes(document)
    (repair,) = [one for one in document["repaired"] if one["code"] == "info-missing"]
    assert repair["done"] is None
    assert "Read-only file system" in repair["error"]


def test_a_disk_that_is_nearly_full_is_told(project: Project, small_disk: SmallDisk) -> None:
    outputs = project.path / "outputs"
    kept = project.path / "kept"
    outputs.rename(kept)
    outputs.mkdir()

    with small_disk(outputs, 9000):
        shutil.copytree(kept, outputs, symlinks=True, dirs_exist_ok=True)
        document = examined(project, code=1)

    (finding,) = found(document, "disk-low")
    assert finding["path"] == "outputs"
    assert "a full disk stops a study" in finding["message"]


# -- trials and their directories -----------------------------------------------------------------


def test_an_info_that_is_gone_or_lies_is_written_again_from_the_database(project: Project) -> None:
    complete, its_folder = trial_in(project, TrialState.COMPLETE)
    _, other_folder = trial_in(project, TrialState.FAIL)
    truth = [project.yaml(folder / "trial_info.yaml") for folder in (its_folder, other_folder)]
    lie = {**truth[0], "value": 0.0, "state": "running"}
    (its_folder / "trial_info.yaml").write_text(yaml.safe_dump(lie), encoding="utf-8")
    (other_folder / "trial_info.yaml").unlink()
    weights, database = weights_of(project), project.database()

    document = examined(project, code=1)
    (differs,) = found(document, "info-differs")
    (missing,) = found(document, "info-missing")
    fixed = examined(project, "--fix", code=0)

    assert differs["trial"] == complete.number
    assert "state, value" in differs["message"]
    assert differs["fix"] == missing["fix"] == "write it again from the database"
    assert {one["code"] for one in fixed["repaired"]} == {"info-differs", "info-missing"}
    assert project.yaml(its_folder / "trial_info.yaml") == truth[0]
    again = project.yaml(other_folder / "trial_info.yaml")
    only_the_worker_knew = dict.fromkeys(("device", "user", "git_commit", "versions"))
    assert again == {**truth[1], **only_the_worker_knew}
    assert (weights_of(project), project.database()) == (weights, database)


def test_a_copied_project_is_repaired_in_its_own_folder(mixed: Project, tmp_path: Path) -> None:
    project = copy_of(mixed, tmp_path / "copy")
    assert codes(examined(project, code=0)) == set()
    lost = best_of(project) / "trial_info.yaml"
    truth = lost.read_text()
    lost.unlink()

    fixed = examined(project, "--fix", code=0)

    assert [one["code"] for one in fixed["repaired"]] == ["info-missing"]
    assert project.yaml(lost)["params"] == yaml.safe_load(truth)["params"]
    assert (best_of(mixed) / "trial_info.yaml").read_text() == truth


def test_what_a_complete_trial_has_lost_is_told_and_cannot_be_made_up(project: Project) -> None:
    _, folder = trial_in(project, TrialState.COMPLETE)
    (folder / "metrics.json").unlink()
    (folder / "weights" / "model_simplecnn_real.pth").write_bytes(b"")
    (folder / "config.yaml").unlink()

    document = examined(project, "--fix", code=1)

    assert codes(document) == {"metrics-missing", "weights-missing", "config-missing"}
    assert all(one["fix"] is None for one in document["findings"])
    assert document["repaired"] == []


def test_metrics_that_are_not_those_of_the_database_are_told(project: Project) -> None:
    trial, folder = trial_in(project, TrialState.COMPLETE)
    metrics = project.json(folder / "metrics.json")
    (folder / "metrics.json").write_text(json.dumps({**metrics, "val_mse": 1e-9}))

    (finding,) = found(examined(project, "--fix", code=1), "metrics-differ")

    assert (finding["trial"], finding["fix"]) == (trial.number, None)
    assert "val_mse" in finding["message"]
    assert project.json(folder / "metrics.json")["val_mse"] == 1e-9


def test_a_directory_that_was_deleted_is_no_fault_unless_it_is_the_best_trials(
    project: Project,
) -> None:
    _, folder = trial_in(project, TrialState.PRUNED)
    shutil.rmtree(folder)
    (notice,) = found(examined(project, code=0), "directory-missing")
    assert "the trial stays in the study" in notice["message"]

    shutil.rmtree(best_of(project))
    document = examined(project, "--fix", code=1)

    (warning,) = found(document, "best-missing")
    assert "its model with it" in warning["message"]
    assert not (project.path / "outputs" / "optuna_best").is_symlink()
    links = [one for one in document["repaired"] if one["code"].startswith("link-")]
    assert links and {one["done"] for one in links} == {"removed it"}
    assert len(project.trials("mixed")) == 5


def test_what_killed_processes_left_is_removed_and_nothing_else(project: Project) -> None:
    _, folder = trial_in(project, TrialState.COMPLETE)
    weights = weights_of(project)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "epoch-000002-batch-000000.pt").write_bytes(b"a checkpoint")
    half = [
        folder / ".trial_info-a1b2c3_d.yaml",
        folder / "weights" / ".model_simplecnn_real-abcdefgh.pth",
        project.path / "optuna" / ".study_summary-abcdefgh.json",
        project.path / "optuna" / ".study-abcdefgh.db-wal",
        project.path / "optuna" / "studies" / "mixed" / ".best_trial_info-abcdefgh.yaml",
    ]
    for file in half:
        file.write_bytes(b"half a fi")
        os.utime(file, OLD)
    link = project.path / "outputs" / ".optuna_best-4711"
    link.symlink_to("2001-01-01")
    os.utime(link, OLD, follow_symlinks=False)
    kept = [folder / ".notes", folder / "notes-abcdefgh.txt", project.path / "optuna" / ".env"]
    young = project.path / "optuna" / ".study_summary-ijklmnop.json"
    for file in (*kept, young):
        file.write_text("mine")

    document = examined(project, code=0)
    assert codes(document) == {"checkpoints-left", "leftovers", "leftover"}
    fixed = examined(project, "--fix", code=0)

    assert codes(fixed) == set()
    assert not any(file.exists() for file in half)
    assert not link.is_symlink()
    assert not (folder / "checkpoints").exists()
    assert all(file.read_text() == "mine" for file in (*kept, young))
    assert weights_of(project) == weights


def test_directories_that_no_study_knows_are_told_and_never_deleted(project: Project) -> None:
    stranger = project.path / "outputs" / "2001-01-01" / "00-00-00" / "thesis.txt"
    stranger.parent.mkdir(parents=True)
    stranger.write_text("years of work")
    (project.path / "outputs" / "notes").mkdir()
    deleted = shutil.copytree(best_of(project), project.path / "outputs/2001-01-02/12-00-00-2")

    document = examined(project, "--fix", code=0)

    paths = {one["path"]: one["message"] for one in found(document, "directory-unknown")}
    assert set(paths) == {"outputs/2001-01-01/00-00-00", "outputs/2001-01-02/12-00-00-2"}
    assert "of study mixed" in paths["outputs/2001-01-02/12-00-00-2"]
    assert stranger.read_text() == "years of work"
    assert (Path(deleted) / "metrics.json").is_file()


def test_a_directory_swapped_for_a_link_that_leads_outside_is_never_followed(
    project: Project, tmp_path: Path
) -> None:
    _, folder = trial_in(project, TrialState.COMPLETE)
    outside = tmp_path / "outside"
    folder.rename(outside)
    folder.symlink_to(outside)
    (outside / "trial_info.yaml").write_text("state: running\n")
    (outside / "checkpoints").mkdir()
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}

    document = examined(project, "--fix", code=1)

    (finding,) = found(document, "directory-leads-away")
    assert f"leads out of the project, to {outside}, so it is left alone" in finding["message"]
    assert document["repaired"] == []
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before
    assert (outside / "checkpoints").is_dir()


@pytest.mark.parametrize(
    ("recorded", "code", "kind"),
    [("{outside}", 0, "directory-elsewhere"), ("outputs/../../outside", 1, "directory-leads-away")],
)
def test_a_recorded_directory_outside_of_the_project_is_never_written_to(
    project: Project, tmp_path: Path, recorded: str, code: int, kind: str
) -> None:
    trial, _ = trial_in(project, TrialState.COMPLETE)
    outside = tmp_path / "outside"
    (outside / "checkpoints").mkdir(parents=True)
    with closing(sqlite3.connect(project.path / "optuna" / "study.db")) as connection:
        connection.execute(
            "UPDATE trial_user_attributes SET value_json = ? WHERE key = 'output_dir' AND trial_id "
            "IN (SELECT trial_id FROM trials WHERE number = ?)",
            (json.dumps(recorded.format(outside=outside)), trial.number),
        )
        connection.commit()

    document = examined(project, "--fix", code=code)

    assert len(found(document, kind)) == 1
    assert [path.name for path in outside.iterdir()] == ["checkpoints"]


def test_a_migrated_study_shares_the_directories_of_the_old_one(project: Project) -> None:
    project.ok("study", "migrate", "mixed", "second")

    document = examined(project, "--fix", code=0)

    assert [one["name"] for one in document["studies"]] == ["mixed", "second"]
    shared = found(document, "directory-shared")
    assert {one["study"] for one in shared} == {"second"}
    infos = [project.yaml(path) for path in project.path.glob("outputs/*/*/trial_info.yaml")]
    assert {info["study"] for info in infos} == {"mixed"}


# -- summaries and links --------------------------------------------------------------------------


def test_summaries_that_are_gone_or_wrong_are_written_again(project: Project) -> None:
    truth = project.json("optuna/study_summary.json")
    (project.path / "optuna" / "study_summary.json").write_text('{"study_name": "mixed"}')
    (project.path / "outputs" / "optuna_study_summary.json").write_text("{half")
    (project.path / "optuna" / "studies" / "mixed" / "best_trial_info.yaml").unlink()

    document = examined(project, code=1)
    assert codes(document) == {"summary-stale", "summary-unreadable", "summary-missing"}
    fixed = examined(project, "--fix", code=0)

    assert len(fixed["repaired"]) == 3
    assert project.json("optuna/study_summary.json") == truth
    assert project.json("outputs/optuna_study_summary.json") == truth
    assert project.yaml("optuna/studies/mixed/best_trial_info.yaml")["study"] == "mixed"


def test_a_study_without_any_summary_is_no_fault(project: Project) -> None:
    shutil.rmtree(project.path / "optuna" / "studies")

    assert codes(examined(project, code=0)) == {"summary-missing"}
    examined(project, "--fix", code=0)

    assert (project.path / "optuna/studies/mixed/best/metrics.json").is_file()


def break_link(link: Path, how: str, tmp_path: Path) -> None:
    link.unlink()
    if how == "dangling":
        link.symlink_to("2001-01-01/00-00-00")
    elif how == "circle":
        link.symlink_to(link.name)
    elif how == "elsewhere":
        pruned = next(
            path.parent
            for path in link.parent.glob("20*/*/trial_info.yaml")
            if yaml.safe_load(path.read_text())["state"] == "pruned"
        )
        link.symlink_to(pruned.relative_to(link.parent))
    elif how == "outside":
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "letter.txt").write_text("dear")
        link.symlink_to(tmp_path / "outside")


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("missing", "link-missing"),
        ("dangling", "link-dangling"),
        ("circle", "link-dangling"),
        ("elsewhere", "link-elsewhere"),
        ("outside", "link-outside"),
    ],
)
def test_a_link_to_the_best_trial_that_is_wrong_is_made_anew(
    project: Project, tmp_path: Path, how: str, code: str
) -> None:
    link = project.path / "outputs" / "optuna_best"
    break_link(link, how, tmp_path)

    document = examined(project, code=1)
    fixed = examined(project, "--fix", code=0)

    assert codes(document) == {code}
    assert [one["code"] for one in fixed["repaired"]] == [code]
    assert link.resolve() == best_of(project).resolve()
    if how == "outside":
        assert (tmp_path / "outside" / "letter.txt").read_text() == "dear"
        assert len(list((tmp_path / "outside").iterdir())) == 1


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_stands_in_the_place_of_a_link_is_never_removed(project: Project, kind: str) -> None:
    link = project.path / "optuna" / "studies" / "mixed" / "best"
    link.unlink()
    thesis = link / "thesis.txt" if kind == "folder" else link
    thesis.parent.mkdir(exist_ok=True)
    thesis.write_text("years of work")

    document = examined(project, "--fix", code=1)

    (finding,) = found(document, "link-replaced")
    assert f"a {kind} stands where the link" in finding["message"]
    assert "move it away yourself" in finding["message"]
    assert thesis.read_text() == "years of work"


def test_a_studys_folder_swapped_for_a_link_that_leads_outside_is_never_written_to(
    project: Project, tmp_path: Path
) -> None:
    folder, outside = project.path / "optuna" / "studies" / "mixed", tmp_path / "outside"
    shutil.rmtree(folder)
    outside.mkdir()
    folder.symlink_to(outside)
    (project.path / "optuna" / "study_summary.json").unlink()

    document = examined(project, "--fix", code=1)

    assert codes(document) == {"folder-leads-away"}
    assert list(outside.iterdir()) == []
    assert project.json("optuna/study_summary.json")["study_name"] == "mixed"


def test_summaries_of_the_study_last_tuned_are_not_those_of_any_other(project: Project) -> None:
    project.ok("study", "migrate", "mixed", "second")

    examined(project, "--fix", code=0)

    assert project.json("optuna/study_summary.json")["study_name"] == "mixed"
    assert project.json("optuna/studies/second/study_summary.json")["study_name"] == "second"
    assert (project.path / "optuna/studies/second/best").resolve() == best_of(project).resolve()


# -- while studies run ----------------------------------------------------------------------------

LONG = """\
study: {name: long, n_trials: 2}
params_to_tune:
  training.learning_rate: {type: float, low: 1.0e-3, high: 1.0e-2}
base_params: {training: {epochs: 1000000}}
"""
PARAMS = """\
dataset: {source: npy, x_path: x.npy, t_path: t.npy, drop_channels: [], target_names: [a, b]}
model: {hidden: 4}
"""


@pytest.mark.slow
def test_a_running_trial_is_not_disturbed_and_an_interrupted_one_is_told(tmp_path: Path) -> None:
    project = small_project(tmp_path, params=PARAMS, optuna_params=LONG)
    with project.started("tune") as process:
        info = wait_for_file(project, "outputs/*/*/trial_info.yaml")
        for option in ((), ("--fix",)):
            live = examined(project, *option, code=0)
            assert len(found(live, "trial-running")) == 1
            assert "trial-interrupted" not in codes(live)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()

    dead = examined(project, "--fix", code=0)

    (finding,) = found(dead, "trial-interrupted")
    assert "the next tunectl tune or study resume takes it up" in finding["message"]
    assert finding["trial"] == 0
    assert [trial.state for trial in project.trials("long")] == [TrialState.RUNNING]
    assert project.yaml(info)["state"] == "running"
    assert (info.parent / "checkpoints").is_dir()


def test_a_trial_that_another_container_may_run_is_left_to_it(project: Project) -> None:
    trial = project.study("mixed").ask()
    theirs = {"study": "mixed", "host": "container-7", "project": "/data/flow", "boot": boot()}
    trial.set_user_attr("claimed_by", theirs)
    trial.set_user_attr("output_dir", "outputs/2026-01-31/12-00-00")

    document = examined(project, "--fix", code=0)

    (finding,) = found(document, "trial-elsewhere")
    assert "claimed by container-7 in /data/flow" in finding["message"]
    assert "cannot be seen from here" in finding["message"]
    assert project.trials("mixed")[-1].state == TrialState.RUNNING
