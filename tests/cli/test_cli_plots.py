"""`plots`: figures of a study and of its trials, as files and in the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_project import COLOUR, Project
from optuna.trial import TrialState
from warm_project import copy_of, mixed_project, small_project

from tunectl.reports.figures.names import KindName

STUDY_KINDS = ("history", "parallel", "slice", "intermediate", "edf", "timeline")
TRIAL_KINDS = ("learning-curves", "predicted", "residuals")


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return mixed_project(tmp_path_factory)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = small_project(tmp_path_factory.mktemp("empty"))
    project.ok("study", "create")
    return project


def numbers_in(state: TrialState, project: Project) -> list[int]:
    return [trial.number for trial in project.trials("mixed") if trial.state == state]


def test_the_figures_of_a_study_and_its_best_trial_go_to_the_studys_folder(
    mixed: Project, tmp_path: Path
) -> None:
    project = copy_of(mixed, tmp_path / "project")
    result = project.ok("plots")

    folder = project.path / "optuna" / "studies" / "mixed" / "plots"
    best = project.study("mixed").best_trial.number
    written = {str(Path(line).relative_to(folder)) for line in result.out.splitlines()}
    assert {f"{kind}.png" for kind in STUDY_KINDS} <= written
    assert {f"trial-{best}/{kind}.png" for kind in TRIAL_KINDS} <= written
    assert {str(file.relative_to(folder)) for file in folder.rglob("*.*")} == written
    assert "pareto" not in result.err, "nobody asked for it"


def test_what_has_too_little_data_is_said_beside_the_results(
    mixed: Project, tmp_path: Path
) -> None:
    result = mixed.ok("plots", "--only", "history,contour", "--out", tmp_path)
    assert result.out == f"{tmp_path / 'history.png'}\n"
    lacking = "it takes two parameters of more than one value that most trials have"
    assert result.err == f"note: no contour: {lacking}\n"
    quiet = mixed.ok("-q", "plots", "--only", "history,contour", "--out", tmp_path)
    assert (quiet.out, quiet.err) == (result.out, "")


def test_each_format_is_what_it_says_and_the_same_each_time(mixed: Project, tmp_path: Path) -> None:
    arguments = ("plots", "--only", "history", "--format", "svg,pdf,html,png", "--out", tmp_path)
    document = mixed.ok(*arguments, "--json").document()
    files = [Path(one["path"]) for one in document["files"]]
    first = {file.name: file.read_bytes() for file in files}
    starts = {name: content[:60] for name, content in first.items()}
    assert b"<?xml" in starts["history.svg"]
    assert starts["history.pdf"].startswith(b"%PDF")
    assert starts["history.png"].startswith(b"\x89PNG")
    assert starts["history.html"].startswith(b"<!DOCTYPE html>")

    Project(mixed.path).ok(*arguments)  # in another process, whose hashes have another seed
    assert {file.name: file.read_bytes() for file in files} == first


def test_a_page_needs_nothing_from_the_network(mixed: Project, tmp_path: Path) -> None:
    mixed.ok("plots", "--only", "history", "--format", "html", "--out", tmp_path)
    page = (tmp_path / "history.html").read_text(encoding="utf-8")
    assert "Plotly.newPlot" in page
    assert 'src="http' not in page


def test_a_trial_alone(mixed: Project, tmp_path: Path) -> None:
    pruned = numbers_in(TrialState.PRUNED, mixed)[0]
    document = mixed.ok("plots", "--trial", str(pruned), "--out", tmp_path, "--json").document()
    assert [(one["kind"], one["trial"]) for one in document["files"]] == [
        ("learning-curves", pruned)
    ]
    assert [one["kind"] for one in document["not_drawn"]] == ["predicted", "residuals"]
    assert f"trial {pruned}" in document["not_drawn"][0]["reason"]


def test_a_misspelt_kind_is_answered_with_the_valid_ones(mixed: Project) -> None:
    result = mixed.tunectl("plots", "--only", "contuor")
    assert result.code == 2
    assert "did you mean contour?" in result.err
    assert all(str(kind) in result.err for kind in KindName)
    assert mixed.tunectl("plots", "--format", "jpg").code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--terminal", "--json"), "--json"),
        (("--terminal", "--format", "svg"), "--format"),
        (("--terminal", "--only", "contour"), "history, intermediate, importances"),
        (("--trial", "0", "--only", "history"), "learning-curves, predicted, residuals"),
        (("--only", "pareto"), "a single metric"),
        (("--only", ","), "at least one of"),
    ],
)
def test_what_cannot_be_drawn_together_is_wrong_usage(
    mixed: Project, arguments: tuple[str, ...], said: str
) -> None:
    result = mixed.tunectl("plots", *arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err


def test_a_study_or_trial_that_is_not_there(mixed: Project) -> None:
    assert mixed.tunectl("plots", "--compare", "nowhere").code == 3
    assert mixed.tunectl("plots", "--trial", "99").code == 3


def test_without_a_completed_trial_there_is_nothing_to_draw(empty: Project) -> None:
    result = empty.tunectl("plots", "--json")
    assert (result.code, result.out) == (5, "")
    assert "no completed trial yet" in result.err
    assert empty.tunectl("plots", "--terminal").code == 5


def test_a_folder_that_cannot_be_made_is_named(mixed: Project, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = mixed.tunectl("plots", "--only", "history", "--out", tmp_path / "file" / "plots")
    assert result.code == 1
    assert f"cannot write {tmp_path / 'file' / 'plots'}" in result.err


def test_figures_in_the_terminal_are_as_wide_as_it_is(mixed: Project) -> None:
    result = mixed.ok("plots", "--terminal", COLUMNS="70")
    assert max(map(len, result.out.splitlines())) <= 70
    assert "\x1b" not in result.out
    assert "val_mse by trial" in result.out
    alone = ("plots", "--terminal", "--only", "history")
    plain = mixed.ok(*alone, PYTHONIOENCODING="ascii").out
    assert "+--" in plain


def test_figures_in_the_terminal_have_colours_unless_they_are_unwanted(mixed: Project) -> None:
    code, seen = mixed.in_terminal("plots", "--terminal", "--only", "history")
    assert (code, bool(COLOUR.search(seen))) == (0, True)
    code, seen = mixed.in_terminal("plots", "--terminal", "--only", "history", NO_COLOR="1")
    assert (code, bool(COLOUR.search(seen))) == (0, False)
