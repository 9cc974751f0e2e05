"""Runs of `tune`: what its options mean, how it ends, and that what it continues is the same."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from cli_project import MIXED_SEARCH, Project
from objective_cases import function_project
from warm_project import WarmProject, copy_of, mixed_project, small_project

DIVERGING = """\
study: {name: hopeless, n_trials: 2}
failures: {diverged: fail}
params_to_tune:
  training.learning_rate: {type: float, low: 1.0e+29, high: 1.0e+30}
"""


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return mixed_project(tmp_path_factory)


def story(project: Project, name: str = "small") -> list[tuple[object, ...]]:
    """Return what a study found, apart from times and places."""
    return [
        (trial.number, trial.state.name, trial.params, trial.value, trial.intermediate_values)
        for trial in project.trials(name)
    ]


@pytest.mark.slow
def test_a_study_run_piece_by_piece_is_the_same_as_in_one_go(tmp_path: Path) -> None:
    pieces, whole = small_project(tmp_path / "pieces"), small_project(tmp_path / "whole")

    first = pieces.ok("tune", "--until", "2")
    pieces.ok("tune", "--n-trials", "1")
    last = pieces.ok("tune")  # up to study.n_trials
    whole.ok("tune", "--until", "4")

    assert [trial[1] for trial in story(pieces)] == ["COMPLETE"] * 4
    assert story(pieces) == story(whole)
    assert "2 trials to run" in first.err
    assert "1 trial to run" in last.err
    assert pieces.json("optuna/study_summary.json")["n_trials"] == 4


def test_a_budget_that_is_met_and_a_time_that_is_over_end_it_well_at_once(
    mixed: Project, tmp_path: Path
) -> None:
    project = copy_of(mixed, tmp_path)
    before = story(project, "mixed")

    met = project.ok("tune", "--until", "3")
    late = project.ok("tune", "--until", "99", TUNECTL_TIMEOUT="0")

    assert "0 trials to run" in met.err
    assert "the time is over" in late.err
    assert all("best trial" in result.out for result in (met, late))
    assert story(project, "mixed") == before


def test_every_option_of_tune_counts_over_the_files(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    x = np.load(project.path / "x.npy")
    np.save(project.path / "x.npy", np.repeat(x[:, :, None], 8, axis=2))
    project.write(
        other_config="paths: {outputs_root: results, optuna_dir: elsewhere}\n"
        "mlflow: {enabled: false}\n",
        other_params="dataset: {source: npy, x_path: x.npy, t_path: t.npy, drop_channels: [1]}\n",
        other_search="params_to_tune: {model.hidden: {type: int, low: 4, high: 9}}\n",
    )

    project.ok(
        *("tune", "--n-trials", "1", "--study", "mine", "--storage", "sqlite:///mine.db"),
        *("--seed", "7", "--device", "cpu", "--workers", "1", "--params", "other_params.yaml"),
        *("--config", "other_config.yaml", "--optuna-params", "other_search.yaml"),
        *("training.epochs=1", "dataset.target_names=[u,v]", "training.batch_size=8"),
    )

    summary = project.ok("summary", "--study", "mine", "--storage", "sqlite:///mine.db", "--json")
    document = summary.document()
    assert document["study"]["storage"] == "sqlite:///mine.db"
    (trial,) = document["trials"]
    assert list(trial["params"]) == ["model.hidden"]
    config = project.yaml(f"{trial['output_dir']}/config.yaml")
    assert trial["output_dir"].startswith("results/")
    assert config["model"]["hidden"] == trial["params"]["model.hidden"]
    assert config["dataset"]["drop_channels"] == [1]
    assert (config["training"]["epochs"], config["training"]["optimizer"]) == (1, "adam")
    assert config["study"]["name"] == "mine"
    assert config["runtime"]["device"] == "cpu"
    model = project.json(f"{trial['output_dir']}/model.json")
    assert model["kind"] == "cnn2d"  # the signals have two dimensions
    info = project.yaml(f"{trial['output_dir']}/trial_info.yaml")
    assert (info["study_seed"], trial["epochs"]) == (7, 1)
    assert (project.path / "elsewhere/studies/mine/study_summary.json").is_file()
    assert not (project.path / "optuna").exists()


def test_fresh_begins_again_and_leaves_the_old_directories(mixed: Project, tmp_path: Path) -> None:
    project = copy_of(mixed, tmp_path)
    old = [trial.user_attrs["output_dir"] for trial in project.trials("mixed")]

    result = project.tunectl("tune", "--n-trials", "1", OPTUNA_DELETE_STUDY="true")

    assert result.code in (0, 1)  # by its learning rate the first trial may be one that diverges
    (trial,) = project.trials("mixed")
    assert "1 trial to run" in result.err
    assert trial.user_attrs["output_dir"] not in old
    assert all((project.path / directory / "trial_info.yaml").is_file() for directory in old)


def test_another_search_space_is_exit_6_and_changes_nothing(mixed: Project, tmp_path: Path) -> None:
    project = copy_of(mixed, tmp_path)
    project.write(
        optuna_params=MIXED_SEARCH.replace("0.005, ", "")
        + "  model.hidden: {type: int, low: 4, high: 8}\n"
    )
    before, files = project.database(), project.files()

    results = [project.tunectl("tune"), project.tunectl("study", "create", "--exist-ok")]

    for result in results:
        assert (result.code, result.out) == (6, "")
        assert "training.learning_rate: " in result.err
        assert "model.hidden: absent became int 4..8" in result.err
        assert "--fresh" in result.err
    assert (project.database(), project.files()) == (before, files)


def test_a_study_without_a_successful_trial_is_exit_1_and_says_why(tmp_path: Path) -> None:
    project = small_project(tmp_path, optuna_params=DIVERGING)

    result = project.tunectl("tune", "--n-trials", "2")

    assert (result.code, result.out) == (1, "")
    assert "no trial succeeded" in result.err
    assert "2 × val_mse is" in result.err
    assert "trial.log" in result.err
    assert [trial.state.name for trial in project.trials("hopeless")] == ["FAIL", "FAIL"]
    summary = project.ok("summary", "--json").document()
    assert (summary["best"], summary["states"]["failed"]) == (None, 2)
    best = project.tunectl("best")
    assert (best.code, best.out) == (5, "")
    assert "no completed trial yet" in best.err
    assert project.json("optuna/study_summary.json")["best_trial"] is None
    assert not (tmp_path / "outputs/optuna_best").exists()


def test_a_real_folder_in_place_of_the_link_is_left_alone_with_one_warning(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    mine = project.path / "outputs" / "optuna_best" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("years of work")

    result = project.ok("tune", "--until", "1")

    warnings = [line for line in result.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert "optuna_best is not a link, so it is left as it is" in warnings[0]
    assert mine.read_text() == "years of work"
    assert (project.path / "optuna/studies/small/best/metrics.json").is_file()


def test_links_and_summaries_are_those_of_the_study_last_tuned_also_on_a_terminal(
    mixed: Project, tmp_path: Path
) -> None:
    project = copy_of(mixed, tmp_path)
    function_project(project.path, name="small")
    own = project.json("optuna/studies/mixed/study_summary.json")

    code, seen = project.in_terminal("tune", "--until", "1")

    assert code == 0
    assert "trial 0" in seen
    assert "best trial" in seen
    # The live display hides the cursor and shows it again.
    assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h") > 0
    (trial,) = project.trials("small")
    link = project.path / "outputs/optuna_best"
    assert link.resolve() == (project.path / trial.user_attrs["output_dir"]).resolve()
    assert project.json("optuna/study_summary.json")["study_name"] == "small"
    assert project.yaml("optuna/best_trial_info.yaml")["study"] == "small"
    assert project.json("optuna/studies/mixed/study_summary.json") == own

    project.ok("study", "resume", "mixed", "--n-trials", "0")
    assert project.json("optuna/study_summary.json") == own


@pytest.mark.slow
def test_a_new_project_runs_on_the_demonstration_data_as_it_is(tmp_path: Path) -> None:
    project = WarmProject(tmp_path)
    project.ok("init")

    project.ok("tune", "--n-trials", "1", "training.epochs=1", "model.hidden=8")

    metrics = project.ok("best", "--json").document()["metrics"]
    assert list(metrics["per_target"]) == [
        f"{phase}_{what}"
        for what in ("velocity", "fraction")
        for phase in ("solid", "gas", "liquid")
    ]


@pytest.mark.slow
def test_two_processes_on_one_study_run_exactly_the_budget(tmp_path: Path) -> None:
    project = function_project(tmp_path, n_trials=4)
    slowly = ("tune", "training.pause_s=0.3")

    with project.started(*slowly) as one, project.started(*slowly) as other:
        said = [process.communicate(timeout=120)[1] for process in (one, other)]

    assert [one.returncode, other.returncode] == [0, 0]
    assert all(re.search(r"trial \d+ +complete", err) for err in said), said
    trials = project.trials("s")
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert len({trial.user_attrs["output_dir"] for trial in trials}) == 4


def test_a_reader_of_the_progress_that_goes_away_spoils_nothing(tmp_path: Path) -> None:
    project = function_project(tmp_path)

    with project.started("tune", "--n-trials", "1") as process:
        assert process.stderr is not None
        process.stderr.close()
        assert process.wait(120) == 0

    assert [trial.state.name for trial in project.trials("s")] == ["COMPLETE"]


def test_a_trial_says_how_many_threads_it_may_have(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    worker = ("worker", "--study", "small", "--n-trials", "1")

    project.ok("study", "create")
    project.ok(*worker, OMP_NUM_THREADS="")
    project.ok("tune", "--n-trials", "1", "runtime.max_threads=7")

    configs = [
        project.yaml(Path(trial.user_attrs["output_dir"]) / "config.yaml")["runtime"]
        for trial in project.trials("small")
    ]
    assert [config["max_threads"] for config in configs] == [1, 7]
