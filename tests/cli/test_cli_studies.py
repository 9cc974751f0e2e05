"""Studies from birth to deletion: study create, list, show, resume and delete."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from cli_project import SEARCH, Project
from warm_project import WarmProject, copy_of, mixed_project, small_project


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return mixed_project(tmp_path_factory)


@pytest.mark.slow
def test_create_makes_a_study_that_tune_takes_up(tmp_path: Path) -> None:
    project = small_project(tmp_path)

    assert project.ok("study", "create").out == "small\n"
    assert project.ok("study", "create", "second", "training.epochs=1").out == "second\n"

    shown = project.ok("study", "show", "second", "--json").document()
    assert (shown["configuration"]["training"]["epochs"], shown["budget"]) == (1, 4)
    assert shown["sampler"]["name"] == "TPESampler"
    best = project.tunectl("best", "--study", "second", "--json")
    assert (best.code, best.out) == (5, "")
    assert "no trials" in project.ok("summary").out
    assert not (project.path / "outputs").exists()

    project.ok("study", "resume", "second", "--n-trials", "1")

    (trial,) = project.trials("second")
    assert list(trial.intermediate_values) == [1]


def test_create_of_what_exists_is_exit_4_unless_that_is_ok(mixed: Project, tmp_path: Path) -> None:
    project = copy_of(mixed, tmp_path)
    before = project.database()

    refused = project.tunectl("study", "create")
    accepted = project.ok("study", "create", "--exist-ok")

    assert (refused.code, refused.out) == (4, "")
    assert "study 'mixed' exists already; --exist-ok" in refused.err
    assert accepted.out == "mixed\n"
    assert project.database() == before


def test_without_a_name_and_with_several_studies_the_choice_is_asked_for(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)
    (tmp_path / "optuna").mkdir()
    for name in ("first", "second"):
        optuna.create_study(study_name=name, storage=project.url)

    result = project.tunectl("summary")
    assert (result.code, result.out) == (2, "")
    assert "first, second" in result.err

    project.ok("study", "delete", "first", "--yes")
    assert "study    second" in project.ok("summary").out


def test_tables_in_a_pipe_have_no_padding(mixed: Project) -> None:
    for command in (["summary"], ["study", "list"], ["trial", "list"], ["best"], ["doctor"]):
        lines = mixed.tunectl(*command).out.splitlines()
        assert lines and [line for line in lines if line != line.rstrip()] == [], command


def test_an_empty_folder_has_no_study_and_stays_empty(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)

    assert project.ok("study", "list", "--json").document()["studies"] == []
    assert "no study" in project.ok("study", "list").out
    for command in (["summary"], ["study", "resume"]):
        result = project.tunectl(*command)
        assert (result.code, result.out) == (3, "")
        assert "there is no study yet; begin with: tunectl init" in result.err
    assert project.files() == set()


def test_delete_asks_first_and_refuses_without_a_terminal(mixed: Project, tmp_path: Path) -> None:
    project = copy_of(mixed, tmp_path)
    before = project.database()

    refused = project.tunectl("study", "delete", "mixed")
    assert (refused.code, refused.out) == (2, "")
    assert "would delete study mixed with 5 trials" in refused.err
    code, seen = project.in_terminal("study", "delete", "mixed", answer="n\n")
    assert (code, "[y/N]" in seen) == (1, True)
    assert project.database() == before

    code, seen = project.in_terminal("study", "delete", "mixed", answer="y\n")
    assert (code, "deleted study mixed" in seen) == (0, True)
    assert project.tunectl("study", "show", "mixed").code == 3
    assert len(list(project.path.glob("outputs/*/*/trial_info.yaml"))) == 5


def test_delete_with_artifacts_takes_its_own_directories_only(
    mixed: Project, tmp_path: Path
) -> None:
    project = copy_of(mixed, tmp_path)
    project.write(optuna_params=SEARCH)
    project.ok("study", "create")
    stranger = project.path / "outputs" / "2001-01-01" / "00-00-00" / "thesis.txt"
    stranger.parent.mkdir(parents=True)
    stranger.write_text("years of work")

    result = project.ok("study", "delete", "mixed", "--artifacts", TUNECTL_YES="1")

    assert result.out == "deleted study mixed with 5 trials, 5 trial directories\n"
    assert stranger.read_text() == "years of work"
    assert list(project.path.glob("outputs/*/*/trial_info.yaml")) == []
    assert not (project.path / "outputs/optuna_best").is_symlink()
    assert not (project.path / "optuna/studies/mixed").exists()
    studies = project.ok("study", "list", "--json").document()["studies"]
    assert [one["name"] for one in studies] == ["small"]


def test_a_study_of_another_program_can_be_read(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)
    (tmp_path / "optuna").mkdir()
    foreign = optuna.create_study(
        study_name="theirs [old]", storage=project.url, direction="maximize"
    )
    for value in (1.0, float("inf"), 2.0):
        trial = foreign.ask()
        trial.suggest_float("x", 0, 1)
        foreign.tell(trial, value)
    foreign.tell(foreign.ask(), state=optuna.trial.TrialState.FAIL)

    summary = project.ok("summary", "--json").document()
    assert summary["study"]["name"] == "theirs [old]"
    assert (summary["study"]["direction"], summary["study"]["metric"]) == ("maximize", "value")
    assert (summary["study"]["created_at"], summary["best"]["number"]) == (None, 2)
    assert [trial["value"] for trial in summary["trials"]] == [1.0, None, 2.0, None]
    assert "theirs [old]" in project.ok("summary").out
    assert "theirs [old]" in project.ok("study", "list").out
    assert "made by another program" in project.ok("study", "show").out
    assert project.tunectl("best", "--export").code == 3
    resumed = project.tunectl("study", "resume", "theirs [old]")
    assert (resumed.code, "was made by another program" in resumed.err) == (2, True)
