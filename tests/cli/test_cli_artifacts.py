"""What a study leaves on the disk and in the database, file by file as the contract has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_project import N_TEST, TARGETS, Project, mixed_project
from optuna.trial import FrozenTrial, TrialState

COMPLETE_FILES = {
    ".lock",
    "config.yaml",
    "trial_info.yaml",
    "metrics.json",
    "y_pred.npy",
    "y_true.npy",
    "learning_curves.png",
    "evaluation_plots",
    "evaluation_summary.txt",
    "weights",
    "logs",
    "model.json",
    "scaling.json",
}
NAMES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
PNG = b"\x89PNG"


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return mixed_project(tmp_path_factory)


def in_state(project: Project, state: TrialState) -> list[tuple[FrozenTrial, Path]]:
    """Return the trials of a state with their directories."""
    trials = [trial for trial in project.trials("mixed") if trial.state == state]
    assert trials
    return [(trial, project.path / trial.user_attrs["output_dir"]) for trial in trials]


def test_every_trial_has_a_directory_that_tells_the_truth(mixed: Project) -> None:
    for state, name in NAMES.items():
        for trial, folder in in_state(mixed, state):
            info = mixed.yaml(folder / "trial_info.yaml")
            assert (info["study"], info["number"], info["state"]) == ("mixed", trial.number, name)
            assert info["value"] == trial.value
            assert info["params"] == trial.params
            assert info["epochs"] == len(trial.intermediate_values)
            assert info["started_at"] < info["finished_at"]
            assert info["duration_s"] > 0
            assert (info["device"], info["seed"]) == ("cpu", 42)
            assert info["host"]
            assert set(info["versions"]) >= {"tunectl", "python", "torch", "optuna"}
            assert (info["error"] is not None) == (name == "failed")
            assert (folder / "logs" / "trial.log").stat().st_size > 0


def test_a_trials_config_is_all_that_it_ran_with(mixed: Project) -> None:
    for trial in mixed.trials("mixed"):
        config = mixed.yaml(f"{trial.user_attrs['output_dir']}/config.yaml")
        rate = trial.params["training.learning_rate"]
        assert config["training"]["learning_rate"] == rate
        assert config["parameters"] == {"training.learning_rate": rate}
        assert config["model"]["hidden"] == 4
        assert config["dataset"]["x_path"] == "x.npy"
        assert config["study"]["metric"] == "val_mse"
        assert (config["number"], config["runtime"]["device"]) == (trial.number, "cpu")


def test_a_complete_trial_leaves_every_file_and_no_rest(mixed: Project) -> None:
    for _, folder in in_state(mixed, TrialState.COMPLETE):
        assert {path.name for path in folder.iterdir()} == COMPLETE_FILES
        plots = sorted(path.name for path in (folder / "evaluation_plots").iterdir())
        assert plots == ["overview.png", "target_0_a.png", "target_1_flow_m_s.png"]
        for figure in (*(folder / "evaluation_plots").iterdir(), folder / "learning_curves.png"):
            assert figure.read_bytes().startswith(PNG)
        assert "flow [m/s]" in (folder / "evaluation_summary.txt").read_text(encoding="utf-8")
    hidden = {Path(name).name for name in mixed.files() if Path(name).name.startswith(".")}
    assert hidden == {".lock"}  # no half-written file was left behind


def test_predictions_are_of_the_test_split_in_the_targets_own_units(mixed: Project) -> None:
    targets = np.load(mixed.path / "t.npy")
    for _, folder in in_state(mixed, TrialState.COMPLETE):
        y_pred, y_true = np.load(folder / "y_pred.npy"), np.load(folder / "y_true.npy")
        assert y_pred.shape == y_true.shape == (N_TEST, len(TARGETS))
        assert np.isfinite(y_pred).all()
        for row in y_true:
            assert np.isclose(targets, row, atol=1e-5).all(axis=1).any()


def test_metrics_are_those_of_the_predictions(mixed: Project) -> None:
    for trial, folder in in_state(mixed, TrialState.COMPLETE):
        metrics: dict[str, Any] = mixed.json(folder / "metrics.json")
        y_pred, y_true = np.load(folder / "y_pred.npy"), np.load(folder / "y_true.npy")
        assert list(metrics["per_target"]) == list(TARGETS)
        for index, row in enumerate(metrics["per_target"].values()):
            errors = y_pred[:, index] - y_true[:, index]
            spread = y_true[:, index] - y_true[:, index].mean()
            assert set(row) == {"mse", "mae", "rmse", "r2"}
            assert row["mse"] == pytest.approx(np.mean(errors**2), rel=1e-4)
            assert row["mae"] == pytest.approx(np.mean(np.abs(errors)), rel=1e-4)
            assert row["rmse"] == pytest.approx(row["mse"] ** 0.5)
            assert row["r2"] == pytest.approx(1 - np.sum(errors**2) / np.sum(spread**2), rel=1e-3)
        assert metrics["val_mse"] == trial.value
        assert metrics["val_mse"] == min(metrics["histories"]["val_mse"])
        assert metrics["histories"]["val_mse"][metrics["best_epoch"] - 1] == trial.value
        assert {"test_mse", "test_mae", "test_rmse", "test_r2", "val_r2"} <= set(metrics)
        assert all(len(history) == 2 for history in metrics["histories"].values())


def test_trials_that_did_not_come_to_their_end_have_no_evaluation(mixed: Project) -> None:
    for state in (TrialState.PRUNED, TrialState.FAIL):
        for _, folder in in_state(mixed, state):
            assert not (folder / "y_pred.npy").exists()
            assert not (folder / "checkpoints").exists()
            assert not (folder / "weights").exists()


def test_the_weights_load_without_pickle_and_are_those_of_the_network(mixed: Project) -> None:
    for _, folder in in_state(mixed, TrialState.COMPLETE):
        weights = torch.load(folder / "weights" / "model_simplecnn_real.pth", weights_only=True)
        assert len(weights) > 4
        assert all(isinstance(value, torch.Tensor) for value in weights.values())
        assert all(torch.isfinite(value).all() for value in weights.values())


def test_user_attributes_are_what_other_programs_may_rely_on(mixed: Project) -> None:
    for trial, folder in in_state(mixed, TrialState.COMPLETE):
        attributes, metrics = trial.user_attrs, mixed.json(folder / "metrics.json")
        assert attributes["best_epoch"] == metrics["best_epoch"]
        assert attributes["metrics"]["val_mse"] == trial.value
        assert attributes["metrics"]["test_mse"] == metrics["test_mse"]
        for index, row in enumerate(metrics["per_target"].values()):
            assert attributes[f"target_{index}_r2"] == row["r2"]
    for trial, folder in in_state(mixed, TrialState.FAIL):
        assert "diverged" in trial.user_attrs["error"]
        assert "diverged" in (folder / "logs" / "trial.log").read_text()


def test_the_summaries_are_one_and_the_same(mixed: Project) -> None:
    summary = mixed.json("optuna/study_summary.json")

    assert set(summary) == {
        "study_name",
        "direction",
        "metric",
        "n_trials",
        "states",
        "best_params",
        "best_value",
        "best_trial",
        "trials",
    }
    best = mixed.study("mixed").best_trial
    assert (summary["study_name"], summary["n_trials"]) == ("mixed", 5)
    assert summary["states"]["failed"] == 1
    assert summary["best_trial"] == best.number
    assert summary["best_value"] == best.value
    assert summary["best_params"] == best.params
    assert len(summary["trials"]) == 5
    assert mixed.json("outputs/optuna_study_summary.json") == summary
    assert mixed.json("optuna/studies/mixed/study_summary.json") == summary


def test_best_trial_info_is_that_of_the_best_trial(mixed: Project) -> None:
    best, info = mixed.study("mixed").best_trial, mixed.yaml("optuna/best_trial_info.yaml")

    assert (info["study"], info["number"], info["value"]) == ("mixed", best.number, best.value)
    assert info["params"] == best.params
    assert info["output_dir"] == best.user_attrs["output_dir"]
    assert mixed.yaml("optuna/studies/mixed/best_trial_info.yaml") == info


def test_links_to_the_best_trial_are_relative(mixed: Project) -> None:
    directory = mixed.study("mixed").best_trial.user_attrs["output_dir"]

    link = mixed.path / "outputs/optuna_best"
    assert str(link.readlink()) == directory.removeprefix("outputs/")
    own_link = mixed.path / "optuna/studies/mixed/best"
    assert str(own_link.readlink()) == f"../../../{directory}"
    assert (own_link / "metrics.json").is_file()


def test_tune_ends_with_the_best_trial_its_targets_and_what_to_type_next(mixed: Project) -> None:
    out = (mixed.path.parent / "mixed.out").read_text(encoding="utf-8")
    err = (mixed.path.parent / "mixed.err").read_text(encoding="utf-8")

    best = mixed.study("mixed").best_trial
    for words in (
        "3 complete, 1 pruned, 1 failed",
        f"best trial  {best.number}",
        f"{best.value:.5g}",
        "training.learning_rate",
        best.user_attrs["output_dir"],
        "R²",
        "flow [m/s]",
        "tunectl best --export",
        "tunectl summary",
    ):
        assert words in out
    lines = [line for line in err.splitlines() if line.startswith("[")]
    assert [line.split()[1:3] for line in lines] == [["trial", str(n)] for n in range(5)]
    assert "\x1b" not in out + err
