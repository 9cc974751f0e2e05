"""A study that a script drives: `trial ask`, `report`, `should-prune`, `tell`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cli_project import CONFIG, TUNECTL, Project, environment_with
from optuna.trial import TrialState
from warm_project import WarmProject

SEARCH = """\
study:
  name: driven
  metric: loss
  n_trials: 4
  sampler: {name: GridSampler}
  pruner: {name: ThresholdPruner, kwargs: {upper: 10.0}}
params_to_tune:
  model.rate: {type: categorical, choices: [1, 2, 3, 40]}
"""
SCRIPT = """\
#!/bin/sh
# Drives the study to its end.
while :; do
  trial=$(tunectl trial ask --env)
  answer=$?
  [ "$answer" = 0 ] || break
  eval "$trial"
  grep -q "rate: $TUNECTL_PARAM_MODEL_RATE" "$TUNECTL_PARAMS_FILE" || exit 9
  tunectl trial report "$TUNECTL_NUMBER" 1 "$TUNECTL_PARAM_MODEL_RATE" extra=2 || exit 8
  if tunectl trial should-prune "$TUNECTL_NUMBER"; then
    tunectl trial tell "$TUNECTL_NUMBER" --state pruned || exit 7
  elif [ $? != 10 ]; then
    exit 6
  else
    tunectl trial tell "$TUNECTL_NUMBER" || exit 5
  fi
done
echo "the last answer was $answer"
"""


def driven_project(path: Path, **files: str) -> Project:
    """Return a project with an empty study that is driven from outside."""
    project = WarmProject(path)
    params = "objective: script\nmodel: {rate: 1}\n"
    project.write(**{"config": CONFIG, "params": params, "optuna_params": SEARCH, **files})
    project.ok("study", "create")
    return project


@pytest.mark.slow
def test_a_script_drives_a_study_to_its_end(tmp_path: Path) -> None:
    search = SEARCH.replace("[1, 2, 3, 40]", "[2, 40]").replace("n_trials: 4", "n_trials: 2")
    project = driven_project(tmp_path, optuna_params=search)
    (tmp_path / "drive.sh").write_text(SCRIPT)
    path = f"{TUNECTL.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "drive.sh"],
        cwd=tmp_path,
        env=environment_with({"PATH": path}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "the last answer was 10"), done
    trials = {one.params["model.rate"]: one for one in project.trials("driven")}
    ends = {rate: (one.state.name, one.value) for rate, one in trials.items()}
    assert ends == {2: ("COMPLETE", 2.0), 40: ("PRUNED", 40.0)}
    assert all(one.intermediate_values == {1: rate} for rate, one in trials.items())
    directory = Path(trials[2].user_attrs["output_dir"])
    assert project.json(directory / "metrics.json")["histories"] == {"loss": [2.0], "extra": [2.0]}
    assert project.yaml(directory / "trial_info.yaml")["state"] == "complete"
    assert project.json("optuna/study_summary.json")["states"]["complete"] == 1
    assert project.ok("doctor", "--json").document()["sound"]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A study with two trials that a script has, one of which has reported."""
    project = driven_project(tmp_path_factory.mktemp("asked"))
    project.ok("trial", "ask", "--until", "2")
    project.ok("trial", "ask", "--until", "2")
    project.ok("trial", "report", "0", "5", "-1e-3")
    return project


def test_the_budget_counts_trials_that_a_script_has(asked: Project) -> None:
    refused = asked.tunectl("trial", "ask", "--until", "2", "--json")
    assert refused.code == 10
    assert refused.document() == {"schema_version": 1, "trial": None, "reason": "running"}
    assert asked.tunectl("trial", "ask", "--until", "0", "--json").document()["reason"] == "met"


def test_no_worker_runs_such_a_study_and_doctor_says_who_does(asked: Project) -> None:
    refused = asked.tunectl("tune")
    assert (refused.code, "tunectl trial ask" in refused.err) == (2, True)
    findings = asked.ok("doctor", "--json").document()["findings"]
    outside = [one for one in findings if one["code"] == "trial-outside"]
    assert [one["trial"] for one in outside] == [0, 1]
    assert "tunectl trial release 0 --study driven" in outside[0]["message"]


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("report 0 4 1.0", 2, "step 4 came after step 5"),
        ("report 0 6 nan", 2, "no pruner can compare"),
        ("report 0 6 other=1", 2, "loss is not among the values: other"),
        ("report 0 6 1 loss=2 much", 2, "'much' is no value"),
        ("report 9 1 1.0", 3, "no trial 9"),
        ("should-prune 0", 10, ""),
        ("tell 1", 2, "has reported nothing"),
        ("tell 0 other=1", 2, "loss is missing; there is: other"),
        ("tell 0 1 --state failed", 2, "has no value"),
        ("ask --env --json", 2, "exclude each other"),
    ],
)
def test_what_is_wrong_is_said_and_leaves_the_trial_as_it_is(
    asked: Project, line: str, code: int, message: str
) -> None:
    result = asked.tunectl("trial", *line.split())
    assert (result.code, message in result.said) == (code, True), result
    reported = [one.intermediate_values for one in asked.trials("driven")]
    assert reported == [{5: -0.001}, {}]


@pytest.mark.slow
def test_one_whose_script_is_gone_is_given_back_or_ended(tmp_path: Path) -> None:
    project = driven_project(tmp_path)
    first = project.ok("trial", "ask", "--json").document()["trial"]
    project.ok("trial", "report", "0", "3", "7.5")
    (reports,) = project.path.glob("outputs/*/*/logs/reports.jsonl")
    whole = reports.read_bytes()
    reports.write_bytes(whole[:-4])  # as if it had been killed between database and file
    project.ok("trial", "report", "0", "3", "8.5")
    assert reports.read_bytes().endswith(b"\n" + whole)
    project.ok("trial", "release", "0")
    late = project.tunectl("trial", "report", "0", "4", "6.5")
    assert (late.code, "given back" in late.said) == (2, True)
    again = project.ok("trial", "ask", "--json").document()["trial"]
    assert again == {**first, "resumed": True, "last_step": 3}
    report = project.ok("trial", "report", "0", "3", "9.0", "--json").document()
    assert (report["value"], report["should_prune"]) == (7.5, False)
    told = project.ok("trial", "tell", "0", "--state", "failed", "--reason", "gave up", "--json")
    assert (told.document()["state"], told.document()["error"]) == ("failed", "gave up")
    twice = project.tunectl("trial", "tell", "0", "1.0")
    assert (twice.code, "is failed already" in twice.err) == (2, True)


@pytest.mark.slow
def test_a_worker_beside_a_script_leaves_its_trials_alone(tmp_path: Path) -> None:
    params = "objective: {command: [echo, 'loss={model.rate}'], metric: {from: output}}\n"
    project = driven_project(tmp_path, params=params)
    project.ok("trial", "ask")
    project.ok("tune", "--n-trials", "3")
    states = [one.state for one in project.trials("driven")]
    assert states == [TrialState.RUNNING, *[TrialState.COMPLETE] * 3]
    project.ok("trial", "release", "0")
    project.ok("tune")
    (first, *_) = project.trials("driven")
    assert (first.state, first.user_attrs["driven_from_outside"]) == (TrialState.COMPLETE, False)


def test_steps_ascend_in_a_study_of_several_metrics_too(tmp_path: Path) -> None:
    metrics = "metric: [loss, size]\n  direction: [minimize, minimize]"
    pruner = "  pruner: {name: ThresholdPruner, kwargs: {upper: 10.0}}\n"
    search = SEARCH.replace("metric: loss", metrics).replace(pruner, "")
    project = driven_project(tmp_path, optuna_params=search)
    project.ok("trial", "ask")
    project.ok("trial", "report", "0", "5", "loss=2", "size=1")
    refused = project.tunectl("trial", "report", "0", "4", "loss=1", "size=1")
    assert (refused.code, "step 4 came after step 5; steps ascend" in refused.err) == (2, True)
    again = project.ok("trial", "report", "0", "5", "loss=9", "size=1", "--json").document()
    assert again["value"] == 2, "a step that was reported keeps its value"
