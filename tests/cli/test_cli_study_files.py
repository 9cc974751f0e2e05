"""`study enqueue`, `study export`, `study import`, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from cli_project import CONFIG, Project
from objective_cases import CASES
from warm_project import WarmProject, copy_of, mixed_project, small_project


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return mixed_project(tmp_path_factory)


def without_directories(summary: dict[str, Any]) -> dict[str, Any]:
    trials = [{**one, "output_dir": None} for one in summary["trials"]]
    return {**summary, "trials": trials, "best": {**summary["best"], "output_dir": None}}


def test_a_study_moves_to_another_project_and_goes_on(mixed: Project, tmp_path: Path) -> None:
    old, new = copy_of(mixed, tmp_path / "old"), small_project(tmp_path / "new")

    exported = old.ok("study", "export", "mixed", "mixed.jsonl")
    imported = new.ok("study", "import", old.path / "mixed.jsonl")

    assert exported.out == f"{old.path / 'mixed.jsonl'}\n"
    assert imported.out == "imported study mixed with 5 trials\n"
    assert (exported.err, imported.err) == ("", "")
    before, after = (
        one.ok("summary", "--study", "mixed", "--json").document() for one in (old, new)
    )
    # the copy finds its own trial directories; an imported study's stay where they are recorded
    assert {(mixed.path / one["output_dir"]) for one in before["trials"]} == {
        Path(one["output_dir"]) for one in after["trials"]
    }
    assert without_directories(after) == without_directories(before)
    new.ok("study", "resume", "mixed", "--n-trials", "1")
    assert len(new.trials("mixed")) == 5  # the grid has no further point
    new.ok("study", "export", "mixed", "again.jsonl")
    assert (new.path / "again.jsonl").read_bytes() == (old.path / "mixed.jsonl").read_bytes()


def test_an_imported_study_runs_further_trials_under_its_new_name(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    project.ok("tune", "--n-trials", "1")
    project.ok("study", "export", "small", "s.jsonl")

    project.ok("study", "import", "s.jsonl", "copy")
    project.ok("study", "resume", "copy", "--n-trials", "1")

    first, second = project.trials("copy")
    assert first.params == project.trials("small")[0].params
    assert second.state == optuna.trial.TrialState.COMPLETE
    config = project.yaml(Path(second.user_attrs["output_dir"]) / "config.yaml")
    assert config["study"]["name"] == "copy"
    assert len(project.trials("small")) == 1


def test_json_says_what_was_done(mixed: Project, tmp_path: Path) -> None:
    project = copy_of(mixed, tmp_path / "p")
    (project.path / "p.json").write_text('{"training": {"learning_rate": 0.01}}')

    exported = project.ok("study", "export", "mixed", "s.jsonl", "--json").document()
    imported = project.ok("study", "import", "s.jsonl", "b", "--json").document()
    queued = project.ok("study", "enqueue", "b", "p.json", "--json").document()
    skipped = project.ok("study", "enqueue", "b", "p.json", "--skip-existing", "--json").document()

    assert exported == {
        "schema_version": 1,
        "study": "mixed",
        "file": str(project.path / "s.jsonl"),
        "n_trials": 5,
    }
    assert imported == {"schema_version": 1, "study": "b", "n_trials": 5}
    assert queued == {"schema_version": 1, "study": "b", "queued": 1, "skipped": 0}
    assert skipped == {"schema_version": 1, "study": "b", "queued": 0, "skipped": 1}


def test_export_replaces_a_file_and_nothing_else(mixed: Project, tmp_path: Path) -> None:
    project = copy_of(mixed, tmp_path / "p")
    (project.path / "s.jsonl").write_text("an earlier one")
    (project.path / "folder").mkdir()

    project.ok("study", "export", "mixed", "s.jsonl")
    folder = project.tunectl("study", "export", "mixed", "folder")
    device = project.tunectl("study", "export", "mixed", "/dev/null")
    nowhere = project.tunectl("study", "export", "mixed", "none/s.jsonl")
    unknown = project.tunectl("study", "export", "mixd", "t.jsonl")

    assert (project.path / "s.jsonl").read_text().startswith('{"format": "tunectl-study"')
    assert (folder.code, device.code, nowhere.code, unknown.code) == (2, 2, 7, 3)
    assert "is a folder" in folder.said
    assert Path("/dev/null").is_char_device()
    assert "cannot write none/s.jsonl: No such file" in nowhere.said
    assert not (project.path / "t.jsonl").exists()


def test_a_study_that_exists_or_a_damaged_file_changes_nothing(
    mixed: Project, tmp_path: Path
) -> None:
    project = copy_of(mixed, tmp_path / "p")
    project.ok("study", "export", "mixed", "s.jsonl")
    lines = (project.path / "s.jsonl").read_text().splitlines(keepends=True)
    (project.path / "cut.jsonl").write_text("".join(lines[:3]))
    before = project.database()

    there = project.tunectl("study", "import", "s.jsonl")
    cut = project.tunectl("study", "import", "cut.jsonl", "other")
    odd = project.tunectl("study", "import", "s.jsonl", "a/b")

    assert (there.code, cut.code, odd.code) == (4, 2, 2)
    assert "another name" in there.said
    assert "cut.jsonl:3: the file ends after 2 of 5 trials" in cut.said
    assert project.database() == before


def test_a_failed_import_makes_no_database(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)
    (tmp_path / "s.jsonl").write_text("{}\n")

    assert project.tunectl("study", "import", "s.jsonl").code == 2
    assert project.files() == {"s.jsonl"}


def test_queued_points_run_first(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    project.ok("study", "create")
    (tmp_path / "points.csv").write_text(
        "training.learning_rate,model.use_residual\n0.01,false\n0.02,\n"
    )

    queued = project.ok("study", "enqueue", "points.csv")
    project.ok("study", "resume", "--n-trials", "2")

    assert queued.out == "queued 2 points in study small\n"
    assert "tunectl study resume small --n-trials 2" in queued.err
    first, second = project.trials("small")
    assert first.params == {"training.learning_rate": 0.01, "model.use_residual": False}
    assert second.params["training.learning_rate"] == 0.02
    assert first.state == second.state == optuna.trial.TrialState.COMPLETE


def test_points_that_do_not_fit_are_all_named_and_none_is_queued(
    mixed: Project, tmp_path: Path
) -> None:
    project = copy_of(mixed, tmp_path / "p")
    (project.path / "p.yaml").write_text(
        "- training.learning_rate: 0.02\n"
        "- training.learning_rate: 0.5\n"
        "- training.lerning_rate: 1\n"
    )

    result = project.tunectl("study", "enqueue", "mixed", "p.yaml")
    nothing = project.tunectl("study", "enqueue")

    assert result.code == 2
    assert "p.yaml:2: training.learning_rate: the number 0.5 is none of its choices" in result.err
    assert "p.yaml:3: training.lerning_rate: unknown key, did you mean" in result.err
    assert len(project.trials("mixed")) == 5
    assert (nothing.code, "which file?" in nothing.said) == (2, True)


def test_a_study_of_several_objectives_of_another_program(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)
    (tmp_path / "optuna").mkdir()
    study = optuna.create_study(
        storage=project.url, study_name="my study", directions=["minimize", "maximize"]
    )
    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 2.0), n_trials=2)
    (tmp_path / "p.json").write_text('{"x": 0.5}')

    project.ok("study", "export", "my study", "s.jsonl")
    refused = project.tunectl("study", "import", "s.jsonl", "--storage", "sqlite:///other.db")
    project.ok("study", "import", "s.jsonl", "theirs")
    enqueued = project.tunectl("study", "enqueue", "theirs", "p.json")

    assert (refused.code, enqueued.code) == (2, 2)
    assert "give it another name" in refused.said
    assert not (tmp_path / "other.db").exists()
    assert "made by another program" in enqueued.said
    assert [one.values for one in project.trials("theirs")] == [
        one.values for one in study.get_trials()
    ]
    head = json.loads((tmp_path / "s.jsonl").read_text().splitlines()[0])
    assert head["directions"] == ["minimize", "maximize"]


def test_an_imported_study_runs_no_code_that_came_with_it(tmp_path: Path) -> None:
    theirs = CASES["function"].make(tmp_path / "theirs")
    theirs.ok("tune")
    theirs.ok("study", "export", "s", "s.jsonl")
    mine = WarmProject(tmp_path / "mine")
    mine.write(config=CONFIG)
    mine.ok("study", "import", str(theirs.path / "s.jsonl"))
    (mine.path / "fit.py").write_text("raise SystemExit('it was run')", encoding="utf-8")

    for command in (("study", "resume", "s"), ("worker", "--study", "s")):
        result = mine.tunectl(*command, "--n-trials", "1")
        assert result.code == 2, result
        assert "no file of this project names" in result.said

    replayed = mine.tunectl("trial", "replay", "0")
    assert replayed.code in (2, 3), replayed
    damaged = (theirs.path / "s.jsonl").read_text().replace('"n_trials": 2', '"n_trails": 2')
    (mine.path / "odd.jsonl").write_text(damaged)
    mine.tunectl("study", "import", "odd.jsonl", "odd")
    assert mine.tunectl("study", "resume", "odd", "--n-trials", "1").code != 0

    for name in ("fit.py", "params.yaml", "optuna_params.yaml"):
        (mine.path / name).write_bytes((theirs.path / name).read_bytes())
    mine.ok("tune", "--n-trials", "1")
    mine.ok("study", "resume", "s", "--n-trials", "1")
    assert len(mine.trials("s")) == 4
