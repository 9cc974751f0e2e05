"""Trials that go wrong, as a user sees them: by class, with the reason, and the study goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
from cli_project import CONFIG, PATIENCE_S, Project, environment_with, small_project

DIVERGING = """\
study: {name: s, n_trials: 2, sampler: {name: GridSampler}, pruner: {name: NopPruner}}
params_to_tune:
  training.learning_rate: {type: categorical, choices: [0.01, 1.0e+30]}
"""
# 28 samples are for training: neither fits, as only the data tell.
TOO_LARGE = """\
study: {name: s, n_trials: 2, pruner: {name: NopPruner}}
failures: {exception: stop}
params_to_tune:
  training.batch_size: {type: categorical, choices: [29, 30]}
"""
# Long signals, so that memory is a matter of the batch.
GREEDY_PARAMS = """\
dataset: {source: npy, x_path: x.npy, t_path: t.npy, drop_channels: [], target_names: [a, b]}
model: {hidden: 32}
training: {epochs: 1}
"""
GREEDY = """\
study: {name: s, n_trials: 2, sampler: {name: GridSampler}, pruner: {name: NopPruner}}
params_to_tune:
  training.batch_size: {type: categorical, choices: [4, 56]}
"""


def by_value(project: Project, key: str) -> dict[object, optuna.trial.FrozenTrial]:
    return {trial.params[key]: trial for trial in project.trials("s")}


def folder_of(project: Project, trial: optuna.trial.FrozenTrial) -> Path:
    recorded: str = trial.user_attrs["output_dir"]
    return project.path / recorded


def log_of(project: Project, trial: optuna.trial.FrozenTrial) -> str:
    return (folder_of(project, trial) / "logs" / "trial.log").read_text(encoding="utf-8")


def test_a_diverged_trial_is_pruned_with_its_epoch_and_the_study_goes_on(tmp_path: Path) -> None:
    project = small_project(tmp_path, optuna_params=DIVERGING)

    result = project.ok("tune")

    trials = by_value(project, "training.learning_rate")
    good, bad = trials[0.01], trials[1e30]
    assert (good.state.name, bad.state.name) == ("COMPLETE", "PRUNED")
    error = bad.user_attrs["error"]
    assert error.startswith("val_mse is ")
    assert "in epoch 1: the training has diverged; a smaller training.learning_rate" in error
    assert f"pruned: {error}" in log_of(project, bad)
    assert error in result.err
    assert error in project.ok("trial", "list").out
    assert project.ok("summary", "--json").document()["trials"][bad.number]["error"] == error
    assert project.json(folder_of(project, bad) / "metrics.json")["histories"]["val_mse"] == [None]
    assert project.ok("best", "--json").document()["number"] == good.number


def test_an_exception_may_stop_the_study(tmp_path: Path) -> None:
    project = small_project(tmp_path, optuna_params=TOO_LARGE)

    result = project.tunectl("tune")

    assert (result.code, result.out) == (1, "")
    assert "stopped: trial 0 failed, and failures.exception is stop" in result.err
    assert "is more than the 28 samples of the training split" in result.err
    (trial,) = project.trials("s")
    assert trial.state.name == "FAIL"
    assert str(folder_of(project, trial) / "logs" / "trial.log") in result.err
    assert "Traceback" in log_of(project, trial)
    assert project.json("optuna/study_summary.json")["states"]["failed"] == 1


def test_a_trial_over_its_time_is_pruned_and_the_next_may_have_more(tmp_path: Path) -> None:
    project = small_project(tmp_path)

    project.ok("tune", "--n-trials", "1", "failures.trial_timeout=1e-6")
    project.ok("tune", "--n-trials", "1")

    short, whole = project.trials("small")
    assert (short.state.name, whole.state.name) == ("PRUNED", "COMPLETE")
    assert short.user_attrs["error"] == "over its time of 1e-06 s"
    assert project.yaml(folder_of(project, short) / "trial_info.yaml")["state"] == "pruned"
    assert (folder_of(project, short) / "metrics.json").is_file()


def greedy_project(path: Path) -> Project:
    project = small_project(path, params=GREEDY_PARAMS, optuna_params=GREEDY, config=CONFIG)
    generator = np.random.default_rng(0)
    np.save(path / "x.npy", generator.normal(size=(80, 2, 16384)).astype(np.float32))
    np.save(path / "t.npy", generator.normal(size=(80, 2)).astype(np.float32))
    return project


def tune_with(project: Project, mib: int, *arguments: str) -> str:
    """Run the study with so many MiB more than the program; return what it said."""
    script = Path(__file__).with_name("limited_memory.py")
    done = subprocess.run(
        [sys.executable, script, str(mib), "tune", *arguments],
        cwd=project.path,
        env=environment_with({}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.stderr


# The batch of 56 takes 900 to 1,000 MiB as a whole, 500 to 600 MiB in halves. Its arrays are large
# enough to be mapped one by one: the gaps that many small ones leave would count as memory as well.
ENOUGH_FOR_HALVES, TOO_LITTLE = 750, 400
needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to RLIMIT_AS")


@needs_limits
@pytest.mark.slow
def test_memory_that_runs_out_fails_the_trial_and_the_study_goes_on(tmp_path: Path) -> None:
    project = greedy_project(tmp_path)

    tune_with(project, ENOUGH_FOR_HALVES, "--n-trials", "2")

    trials = by_value(project, "training.batch_size")
    assert (trials[4].state.name, trials[56].state.name) == ("COMPLETE", "FAIL")
    error = trials[56].user_attrs["error"]
    assert error.startswith("out of memory on cpu: a smaller training.batch_size")
    assert f"failed: {error}" in log_of(project, trials[56])
    assert "allocate memory" in log_of(project, trials[56])
    assert not (folder_of(project, trials[56]) / "checkpoints").exists()


@needs_limits
@pytest.mark.slow
def test_what_does_not_fit_as_a_whole_is_trained_in_halves(tmp_path: Path) -> None:
    project = greedy_project(tmp_path)

    said = tune_with(project, ENOUGH_FOR_HALVES, "failures.out_of_memory=half_batch")

    trials = by_value(project, "training.batch_size")
    assert (trials[4].state.name, trials[56].state.name) == ("COMPLETE", "COMPLETE")
    again = "out of memory on cpu: a smaller training.batch_size"
    assert f"trial {trials[56].number}: {again}" in said
    assert "runs once more from the start, each batch in 2 parts" in log_of(project, trials[56])
    parts = {
        size: project.yaml(folder_of(project, trial) / "config.yaml")["batch_parts"]
        for size, trial in trials.items()
    }
    assert parts == {4: 1, 56: 2}
    metrics = project.json(folder_of(project, trials[56]) / "metrics.json")
    assert metrics["val_mse"] == trials[56].value


@needs_limits
@pytest.mark.slow
def test_what_does_not_fit_in_halves_either_fails(tmp_path: Path) -> None:
    project = greedy_project(tmp_path)

    policy = (
        "failures.out_of_memory=half_batch",
        "params_to_tune.training.batch_size.choices=[56]",
    )
    said = tune_with(project, TOO_LITTLE, *policy, "--n-trials", "1")

    (trial,) = project.trials("s")
    assert trial.state.name == "FAIL"
    assert "it also ran out with each batch in 2 parts" in trial.user_attrs["error"]
    assert "no trial succeeded" in said


def test_a_study_of_pruned_trials_alone_is_no_failure_but_says_that_nothing_is_complete(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path)
    project.write(
        config=CONFIG,
        params="objective: fit:run\nmodel: {rate: 1.0}\n",
        optuna_params="study: {name: hopeless, n_trials: 2, metric: loss, direction: minimize,\n"
        "  pruner: {name: ThresholdPruner, kwargs: {upper: 1.0}}}\n"
        "params_to_tune: {model.rate: {low: 2.0, high: 3.0}}\n",
    )
    (tmp_path / "fit.py").write_text(
        "def run(trial):\n"
        "    rate = trial.config['model']['rate']\n"
        "    trial.report(1, loss=rate)\n"
        "    assert trial.should_prune()\n"
        "    return rate\n"
    )
    result = project.ok("tune")
    last = result.out.splitlines()[-1]
    assert "no trial is complete yet, so best will have nothing; every trial that ran" in last
    assert project.tunectl("best").code == 5
