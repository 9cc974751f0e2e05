"""A study whose trials are a program of the user's own, written in shell."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from cli_project import CONFIG, Project, wait_for_file
from warm_project import WarmProject

PATIENCE_S = 60.0

TRAIN = """\
#!/bin/sh
# Usage: train.sh --rate R --out DIR
rate=$2 out=$4
[ "$TUNECTL_PARAM_TRAINING_RATE" = "$rate" ] && [ "$TUNECTL_TRIAL_DIR" = "$out" ] || exit 9
grep -q "rate: $rate" "$TUNECTL_PARAMS_FILE" || exit 8
echo "seed $TUNECTL_SEED, resumed $TUNECTL_RESUMED, extra $EXTRA, in $(pwd)"
printf 'no text: \\377\\n' >&2
awk -v rate="$rate" 'BEGIN {
  for (step = 1; step <= 4; step++) {
    printf "tunectl:report step=%d loss=%g twice=%g\\n", step, rate / step, 2 * rate
    fflush()
  }
}' || exit 7
awk -v rate="$rate" 'BEGIN {
  printf "{\\"end\\": {\\"loss\\": %g, \\"accuracy\\": 0.5}}", rate / 4
}' > "$out/result.json"
"""
PARAMS = """\
objective:
  command: [./train.sh, --rate, "{training.rate}", --out, "{trial_dir}", "{print $1}", '{"a": 1}']
  metric: {from: json, key: end.loss}
  env: {EXTRA: "number {number}"}
training: {rate: 1.0}
"""
SEARCH = """\
study:
  name: shell
  metric: loss
  sampler: {name: GridSampler}
  pruner: {name: ThresholdPruner, kwargs: {upper: 10.0}}
params_to_tune:
  training.rate: {type: categorical, choices: [1.0, 2.0, 32.0]}
"""
# How a program can end, each of which is one trial.
ENDS = """\
#!/bin/sh
case $1 in
  good) echo "loss = 9"; echo "loss: 0.25 and more";;
  code) echo "went wrong" >&2; exit 3;;
  signal) kill -SEGV $$;;
  silent) echo "no number here";;
  garbage) echo "loss=abc";;
  nan) echo "loss=nan";;
esac
"""
ENDS_SEARCH = """\
study: {name: ends, metric: loss, sampler: {name: GridSampler}, pruner: {name: NopPruner}}
failures: {diverged: fail, max_consecutive_failures: null}
params_to_tune:
  how: {type: categorical, choices: [good, code, signal, silent, garbage, nan]}
"""
WAITING = """\
#!/bin/sh
# Reports a step, then waits for a file before it comes to its end.
echo $$ > "$TUNECTL_TRIAL_DIR/pid.$TUNECTL_RESUMED"
echo "tunectl:report step=1 loss=5"
trap 'cat "$TUNECTL_STOP_FILE" > "$TUNECTL_CHECKPOINT_DIR/why"; exit 1' TERM
while [ ! -e go ]; do sleep 0.02; done
echo "tunectl:report step=2 loss=4"
echo 4
"""
WAITING_PARAMS = "objective: {command: [./train.sh], metric: {from: exit}, grace_s: 20}\n"
WAITING_SEARCH = """\
study: {name: waiting, metric: loss, n_trials: 1, pruner: {name: NopPruner}}
params_to_tune: {rate: {type: float, low: 0.0, high: 1.0}}
"""


def shell_project(path: Path, script: str, params: str, search: str) -> Project:
    """Return a project with a script `train.sh`, and nothing run yet."""
    project = WarmProject(path)
    project.write(config=CONFIG, params=params, optuna_params=search)
    (path / "train.sh").write_text(script)
    (path / "train.sh").chmod(0o755)
    return project


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished study with two complete trials and a pruned one; to be read only."""
    project = shell_project(tmp_path_factory.mktemp("tuned"), TRAIN, PARAMS, SEARCH)
    project.ok("tune", MY_TOKEN="a-secret-of-mine")
    return project


def by_rate(project: Project) -> dict[float, dict[str, object]]:
    """Return each trial as the summary has it, by its parameter."""
    trials = project.ok("summary", "--json").document()["trials"]
    return {one["params"]["training.rate"]: one for one in trials}


def test_check_says_what_is_replaced_and_leaves_other_braces_alone(tmp_path: Path) -> None:
    project = shell_project(tmp_path, TRAIN, PARAMS, SEARCH)
    assert project.ok("check").out.splitlines()[-1] == (
        "replaced in the command: {training.rate}, {trial_dir}, {number}"
    )
    document = project.ok("check", "--json").document()
    assert document["replaced"] == ["training.rate", "trial_dir", "number"]
    assert document["warnings"] == []


def test_check_names_what_cannot_be_started_and_what_is_mistyped(tmp_path: Path) -> None:
    project = shell_project(tmp_path, TRAIN, PARAMS, SEARCH)
    (tmp_path / "train.sh").chmod(0o644)
    refused = project.tunectl("check")
    assert refused.code == 2
    assert "params.yaml:2: objective.command: train.sh" not in refused.err
    assert "params.yaml:2: objective.command: ./train.sh may not be executed" in refused.err
    project.write(params=PARAMS.replace("./train.sh", "no-such-program"))
    assert "no program no-such-program in the PATH" in project.tunectl("tune").err
    project.write(
        params=PARAMS.replace("./train.sh", "sh").replace("{training.rate}", "{training.rte}")
    )
    assert "did you mean {training.rate}?" in project.ok("check").err


def test_its_metric_its_steps_and_its_output_are_those_of_the_trial(tuned: Project) -> None:
    found = by_rate(tuned)
    assert {rate: one["state"] for rate, one in found.items()} == {
        1.0: "complete",
        2.0: "complete",
        32.0: "pruned",
    }
    one = found[2.0]
    assert (one["value"], one["epochs"]) == (0.5, 4)
    directory = tuned.path / str(one["output_dir"])
    metrics = json.loads((directory / "metrics.json").read_text())
    assert metrics["histories"] == {"loss": [2.0, 1.0, 0.666667, 0.5], "twice": [4.0] * 4}
    assert (metrics["accuracy"], metrics["best_epoch"], metrics["steps"]) == (0.5, 4, [1, 2, 3, 4])
    log = (directory / "logs" / "trial.log").read_text()
    assert f"seed 42, resumed 0, extra number {one['number']}, in {tuned.path}" in log
    assert "err| no text: \\xff" in log
    stored = tuned.trials("shell")[int(str(one["number"]))]
    assert stored.intermediate_values == {1: 2.0, 2: 1.0, 3: 0.666667, 4: 0.5}


def test_one_that_the_pruner_gives_up_is_ended_and_leaves_what_it_reached(tuned: Project) -> None:
    directory = tuned.path / str(by_rate(tuned)[32.0]["output_dir"])
    metrics = json.loads((directory / "metrics.json").read_text())
    assert metrics["histories"]["loss"][0] == 32.0
    assert "told to end (pruned)" in (directory / "logs" / "trial.log").read_text()
    assert not (directory / "stop").exists()


def test_no_variable_of_the_environment_is_written_anywhere(tuned: Project) -> None:
    for file in tuned.path.rglob("*"):
        assert not file.is_file() or b"a-secret-of-mine" not in file.read_bytes(), file


def test_such_a_study_can_be_looked_at_repeated_and_taken_elsewhere(
    tuned: Project, tmp_path: Path
) -> None:
    doctor = tuned.ok("doctor", "--json").document()
    assert [one for one in doctor["findings"] if one["severity"] not in ("ok", "notice")] == []
    number = by_rate(tuned)[2.0]["number"]
    assert "came out the same to the bit" in tuned.ok("trial", "replay", str(number)).out
    assert tuned.ok("best", "--json").document()["metrics"]["accuracy"] == 0.5
    tuned.ok("study", "export", "shell", tmp_path / "shell.jsonl")
    other = WarmProject(tmp_path / "other")
    other.ok("study", "import", tmp_path / "shell.jsonl")
    assert len(other.trials("shell")) == 3
    refused = other.tunectl("study", "resume", "shell", "--n-trials", "1")
    assert refused.code == 2  # a file from elsewhere runs nothing here


def test_each_way_of_going_wrong_fails_its_trial_and_says_why(tmp_path: Path) -> None:
    params = "objective: {command: [./train.sh, '{how}'], metric: {from: output}}\nhow: good\n"
    project = shell_project(tmp_path, ENDS, params, ENDS_SEARCH)
    project.ok("tune", "--n-trials", "6")
    trials = {one.params["how"]: one for one in project.trials("ends")}
    assert trials.pop("good").value == 0.25
    errors = {how: str(one.user_attrs["error"]) for how, one in trials.items()}
    assert {one.state.name for one in trials.values()} == {"FAIL"}
    assert errors["code"] == "./train.sh ended with exit code 3: went wrong"
    assert errors["signal"] == "./train.sh was ended by SIGSEGV"
    assert errors["silent"].startswith("no line of its output has loss")
    assert errors["garbage"].startswith("no line of its output has loss")
    assert errors["nan"] == "loss is nan at the end"


def test_told_to_stop_it_may_save_and_is_taken_up_again(tmp_path: Path) -> None:
    project = shell_project(tmp_path, WAITING, WAITING_PARAMS, WAITING_SEARCH)
    with project.started("tune") as process:
        pid = int(wait_for_text(project, "outputs/*/*/pid.0"))
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
    assert is_gone(pid)
    assert wait_for_text(project, "outputs/*/*/checkpoints/why") == "interrupted"
    (tmp_path / "go").touch()
    project.ok("tune")
    (trial,) = project.trials("waiting")
    assert (trial.state.name, trial.value) == ("COMPLETE", 4.0)
    assert trial.intermediate_values == {1: 5.0, 2: 4.0}
    assert wait_for_file(project, "outputs/*/*/pid.1")


def test_it_does_not_go_on_alone_when_its_worker_is_killed(tmp_path: Path) -> None:
    project = shell_project(tmp_path, WAITING, WAITING_PARAMS, WAITING_SEARCH)
    with project.started("tune") as process:
        pid = int(wait_for_text(project, "outputs/*/*/pid.0"))
        process.kill()
        process.wait(PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while not is_gone(pid):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    (tmp_path / "go").touch()
    project.ok("tune")
    (trial,) = project.trials("waiting")
    assert trial.state.name == "COMPLETE"
    assert trial.intermediate_values == {1: 5.0, 2: 4.0}


def test_one_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    search = WAITING_SEARCH + "failures: {trial_timeout: 0.5, timed_out: fail}\n"
    project = shell_project(tmp_path, WAITING, WAITING_PARAMS, search)
    assert project.tunectl("tune", "--n-trials", "1").code == 1
    (trial,) = project.trials("waiting")
    assert str(trial.user_attrs["error"]).startswith("over its time of 0.5 s after epoch 1")
    assert is_gone(int(wait_for_text(project, "outputs/*/*/pid.0")))


def wait_for_text(project: Project, pattern: str) -> str:
    """Wait for a file with something in it; return that without the end of its line."""
    file = wait_for_file(project, pattern)
    deadline = time.monotonic() + PATIENCE_S
    while not file.read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return file.read_text().strip()


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"
