"""Being told to stop, or killed: everything is saved, and the same trial goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from cli_project import TUNECTL, environment_with, wait_for_file, wait_until
from objective_cases import function_project
from warm_project import WarmProject, small_project

EPOCHS = 40
LONG = f"""\
study: {{name: long, n_trials: 1}}
params_to_tune:
  training.learning_rate: {{type: float, low: 1.0e-3, high: 1.0e-2}}
base_params: {{training: {{epochs: {EPOCHS}}}}}
"""
PARAMS = """\
dataset: {source: npy, x_path: x.npy, t_path: t.npy, drop_channels: [], target_names: [a, b]}
model: {hidden: 4}
"""


def end(process: subprocess.Popen[str], number: int) -> tuple[int, str]:
    """Send a signal; return the exit code and what it said since."""
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in out + err
    return process.returncode, err


@pytest.mark.slow
def test_a_trial_keeps_its_number_of_threads_where_it_goes_on_with_fewer(tmp_path: Path) -> None:
    wide = PARAMS.replace("hidden: 4", "hidden: 128") + "training: {batch_size: 28}\n"
    many = LONG.replace(f"epochs: {EPOCHS}", "epochs: 400")
    project = small_project(tmp_path, params=wide, optuna_params=many)
    with project.started("tune", "runtime.max_threads=2") as process:
        wait_for_file(project, "outputs/*/*/checkpoints/*")
        end(process, signal.SIGTERM)

    project.ok("tune", "--until", "1", "runtime.max_threads=1")

    (trial,) = project.trials("long")
    log = project.path / trial.user_attrs["output_dir"] / "logs" / "trial.log"
    begun = [line for line in log.read_text(encoding="utf-8").splitlines() if "cnn1d on" in line]
    assert len(begun) == 2
    assert all("on cpu with 2 threads" in line for line in begun)


@pytest.mark.slow
def test_a_study_that_is_stopped_again_and_again_goes_on_with_the_same_trial(
    tmp_path: Path,
) -> None:
    project = small_project(tmp_path, params=PARAMS, optuna_params=LONG)
    with project.started("tune") as process:
        info = wait_for_file(project, "outputs/*/*/trial_info.yaml")
        code, said = end(process, signal.SIGINT)

    assert code == 130
    assert "stopping after the batch or step under way; Ctrl-C once more ends at once" in said
    assert "stopped; everything is saved. Go on with: tunectl study resume long" in said
    (before,) = project.trials("long")
    assert before.state.name == "RUNNING"
    running = project.yaml(info)
    assert (running["state"], running["number"]) == ("running", 0)
    assert (running["params"], running["value"]) == (before.params, None)
    assert running["finished_at"] is None
    summary = project.ok("summary", "--json").document()
    assert (summary["states"]["running"], summary["best"]) == (1, None)
    assert project.tunectl("best").code == 5

    for name in ("config", "params", "optuna_params"):  # the stored configuration is enough
        (project.path / f"{name}.yaml").unlink()
    for number, expected in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        with project.started("study", "resume", "long") as process:
            wait_until(process, "trial 0 was interrupted and is taken up again")
            code, _ = end(process, number)
        assert code == expected
        assert [trial.state.name for trial in project.trials("long")] == ["RUNNING"]

    project.ok("study", "resume", "long")

    (after,) = project.trials("long")
    assert after.state.name == "COMPLETE"
    assert after.params == before.params
    assert after.user_attrs["output_dir"] == before.user_attrs["output_dir"]
    assert sorted(after.intermediate_values) == list(range(1, EPOCHS + 1))
    assert project.yaml(info)["state"] == "complete"
    metrics = project.json(info.parent / "metrics.json")
    assert metrics["histories"]["val_mse"] == list(after.intermediate_values.values())
    assert not (info.parent / "checkpoints").exists()

    whole = small_project(tmp_path / "whole", params=PARAMS, optuna_params=LONG)
    whole.ok("tune")
    (unbroken,) = whole.trials("long")
    assert (after.params, after.values) == (unbroken.params, unbroken.values)
    assert after.intermediate_values == unbroken.intermediate_values
    weights = "weights/model_simplecnn_real.pth"
    mine = torch.load(info.parent / weights, weights_only=True)
    theirs = torch.load(whole.path / unbroken.user_attrs["output_dir"] / weights, weights_only=True)
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("numbers", "code"),
    [("HUP", 143), ("INT INT", 130), ("TERM TERM", 143)],
)
def test_a_running_trial_obeys_at_once(tmp_path: Path, numbers: str, code: int) -> None:
    project = small_project(tmp_path, params=PARAMS, optuna_params=LONG)
    with project.started("-v", "tune", "training.epochs=1000000") as process:
        wait_until(process, "trial 0 epoch 1")
        for name in numbers.split():  # two without a pause are one that was sent twice
            process.send_signal(getattr(signal, f"SIG{name}"))
        begun_s = time.monotonic()
        ended, said = end(process, 0)

    assert time.monotonic() - begun_s < 20  # a busy machine; two seconds or a batch are promised
    assert ended == code
    assert "stopped; everything is saved. Go on with: tunectl study resume long" in said
    assert next(project.path.glob("outputs/*/*/checkpoints/epoch-*"))


@pytest.mark.slow
def test_nothing_can_be_deleted_under_a_running_study(tmp_path: Path) -> None:
    project = function_project(tmp_path)
    with project.started("tune", "training.pause_s=0.1", "training.epochs=1000000") as process:
        info = wait_for_file(project, "outputs/*/*/trial_info.yaml")
        results = [
            project.tunectl("study", "delete", "s", "--yes", "--artifacts"),
            project.tunectl("tune", "--fresh"),
        ]
        end(process, signal.SIGINT)

    for result in results:
        assert result.code == 7
        assert "study 's' is running in" in result.err
    assert info.is_file()
    assert len(project.trials("s")) == 1


def test_a_signal_in_a_place_that_cannot_raise_is_not_lost(tmp_path: Path) -> None:
    program = """
import os, signal, sys, time
from tunectl.cli.signals import Terminated, set_up_signals

class Held:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[1]))
        time.sleep(0.01)

set_up_signals()
try:
    held = Held()
    del held  # what is raised here is printed by Python and forgotten
    time.sleep(60)
except (KeyboardInterrupt, Terminated) as end:
    print(type(end).__name__)
"""
    for number, name in ((signal.SIGTERM, "Terminated"), (signal.SIGINT, "KeyboardInterrupt")):
        done = subprocess.run(
            [sys.executable, "-c", program, str(int(number))],
            env=environment_with({}),
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert (done.stdout, done.stderr) == (f"{name}\n", "")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_a_command_that_only_reads_ends_quietly_when_told_to(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    project = WarmProject(tmp_path)
    os.mkfifo(tmp_path / "config.yaml")  # reading it waits for somebody to write

    # Opening it waits for the reader, so the command is under way.
    with project.started("summary") as process, (tmp_path / "config.yaml").open("w"):
        result = end(process, number)

    assert result == (code, "")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_a_signal_while_the_program_is_still_being_loaded_ends_it_quietly(
    number: signal.Signals, code: int
) -> None:
    program = """
import os, sys

class Signalled:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[2]:
            os.kill(os.getpid(), int(sys.argv[1]))

sys.meta_path.insert(0, Signalled())
from tunectl.__main__ import main
main()
"""
    for first_import in ("tunectl.cli.app", "typer", "tunectl.cli.signals"):
        done = subprocess.run(
            [sys.executable, "-c", program, str(int(number)), first_import],
            env=environment_with({}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_the_package_can_be_run_as_the_command_can() -> None:
    version = [
        subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout
        for command in ([TUNECTL], [sys.executable, "-m", "tunectl"])
    ]
    assert version[0] == version[1]
