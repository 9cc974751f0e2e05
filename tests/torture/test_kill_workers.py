"""Workers, their coordinator or all of them killed at any moment: the study is as if nothing was.

What a random sampler proposes and what a threshold prunes depend on the trial alone, so the study
by two workers has to be, to the last bit, the one that a single process makes in peace.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import optuna
import psutil
import pytest
from test_kill import KILLS, facts, make_project

TUNECTL = str(Path(sys.executable).with_name("tunectl"))
STRIKES = KILLS or 3
EPOCHS = (1000, 3000) if KILLS else (40, 120)
TIMES = 10 if KILLS else 1
T = TypeVar("T")
SEARCH = f"""\
study:
  name: torture
  n_trials: 12
  max_retries: 1000
  sampler: {{name: RandomSampler}}
  pruner: {{name: ThresholdPruner, kwargs: {{upper: 0.6, n_warmup_steps: 20}}}}
params_to_tune:
  training.learning_rate: {{type: float, low: 1.0e-4, high: 1.0e-1, log: true}}
  training.epochs: {{type: int, low: {EPOCHS[0]}, high: {EPOCHS[1]}}}
  model.use_residual: {{type: categorical, choices: [true, false]}}
"""
TINY = """\
study: {name: torture, n_trials: 40, pruner: {name: NopPruner}, sampler: {name: RandomSampler}}
params_to_tune:
  training.learning_rate: {type: float, low: 1.0e-4, high: 1.0e-1, log: true}
base_params: {training: {epochs: 1}}
"""
SLOW = """\
study: {name: torture, n_trials: 1, max_retries: 2}
params_to_tune:
  training.learning_rate: {type: float, low: 1.0e-4, high: 1.0e-1, log: true}
"""
# An epoch takes seconds, so that a worker that is killed has come no further than the one before.
HEAVY = ("model.hidden=256", "training.epochs=100", "training.batch_size=1")


def project(folder: Path, search: str) -> Path:
    made = make_project(folder)
    (made / "optuna_params.yaml").write_text(search)
    return made


@contextmanager
def started(folder: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `tune` in a group of its own, all of which is gone at the end of the block."""
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [TUNECTL, "tune", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return []
    return found


def strike(
    process: subprocess.Popen[bytes], target: str, number: int, chance: random.Random
) -> None:
    """Send a signal to the coordinator, to one of its workers or to all of them at once."""
    workers = workers_of(process)
    with suppress(ProcessLookupError):
        if target == "group":
            os.killpg(process.pid, number)
        elif target == "coordinator":
            process.send_signal(number)
        elif workers:
            os.kill(chance.choice(workers).pid, number)
    if target != "worker":
        process.wait(60)
        assert not psutil.wait_procs(workers, timeout=60)[1], "workers outlive their coordinator"


def harry(folder: Path, target: str, number: int) -> int:
    """Strike again and again, with the same line run again, until the study is done in spite.

    Returns:
        How often it was struck.
    """
    chance = random.Random(f"{target} {number}")
    left = STRIKES
    while left > 0:
        with started(folder, "--workers", "2") as process:
            while left > 0 and process.poll() is None:
                time.sleep(chance.uniform(1.0, 5.0))
                strike(process, target, number, chance)
                left -= 1
            if process.wait(1200) == 0:
                return STRIKES - left
            assert process.returncode in (-number, 130, 143)
    return STRIKES


CASES: list[Any] = [
    pytest.param(target, number, marks=[pytest.mark.long] * (target != "worker"))
    for target in ("coordinator", "worker", "group")
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
    if KILLS or number == signal.SIGKILL
]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = project(tmp_path_factory.mktemp("unbroken") / "project", SEARCH)
    with started(folder) as process:
        assert process.wait(1200) == 0
    return facts(folder)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "number"), CASES)
def test_two_workers_killed_again_and_again_make_the_study_of_one_left_in_peace(
    tmp_path: Path, unbroken: list[dict[str, Any]], target: str, number: signal.Signals
) -> None:
    folder = project(tmp_path / "project", SEARCH)
    assert harry(folder, target, number) >= KILLS
    with started(folder, "--workers", "2") as process:
        assert process.wait(1200) == 0

    assert {one["state"] for one in unbroken} == {"COMPLETE", "PRUNED"}
    assert facts(folder) == unbroken
    assert "Traceback" not in (folder / "log.txt").read_text()


@pytest.mark.long
@pytest.mark.parametrize("_", range(TIMES))
def test_four_processes_of_two_workers_make_exactly_the_trials_asked_for(
    tmp_path: Path, _: int
) -> None:
    folder = project(tmp_path / "project", TINY)
    with ExitStack() as stack:
        line = ("--workers", "2", "--until", "40")
        processes = [stack.enter_context(started(folder, *line)) for _ in range(4)]
        assert [process.wait(1200) for process in processes] == [0] * 4

    trials = study_of(folder).get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 40
    assert len({trial.user_attrs["output_dir"] for trial in trials}) == 40
    assert len(list((folder / "outputs").glob("*/*/trial_info.yaml"))) == 40
    assert len({trial.params["training.learning_rate"] for trial in trials}) == 40
    assert not re.search("locked|Traceback|error", said(folder)), said(folder)


@pytest.mark.slow
@pytest.mark.long
def test_a_trial_that_kills_its_worker_at_the_same_place_is_failed_in_the_end(
    tmp_path: Path,
) -> None:
    folder = project(tmp_path / "project", SLOW)
    with started(folder, *HEAVY, "--workers", "2", "--n-trials", "2") as process:
        for deaths in (1, 2, 3):
            wait_for(partial(worker_in, process, folder, 0, deaths)).kill()
            wait_for(partial(has_lost, folder, deaths))
        wait_for(lambda: "trial 0   failed" in said(folder))
        wait_for(partial(worker_in, process, folder, 1, 1))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130

    first, second = study_of(folder).get_trials()
    assert first.state.name == "FAIL"
    assert first.user_attrs["error"].startswith("its worker died 3 times at the same place")
    assert second.state.name == "RUNNING"


def has_lost(folder: Path, workers: int) -> bool:
    return said(folder).count("was lost in trial 0") == workers


def worker_in(
    process: subprocess.Popen[bytes], folder: Path, number: int, attempt: int
) -> psutil.Process | None:
    """Return the worker that trains a trial for the so-manieth time, None while none does."""
    for info in (folder / "outputs").glob("*/*/trial_info.yaml"):
        log = (info.parent / "logs" / "trial.log").read_text()
        if log.count(f"trial {number} of study") != attempt:
            continue
        lock = str(info.with_name(".lock"))
        for worker in workers_of(process):
            with suppress(psutil.Error):
                if lock in [file.path for file in worker.open_files()]:
                    return worker
    return None


def wait_for(look: Callable[[], T | None]) -> T:
    """Wait until there is something to see."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        seen = look()
        if seen:
            return seen
        time.sleep(0.1)
    raise AssertionError("nothing happened")


def said(folder: Path) -> str:
    return (folder / "log.txt").read_text()


def study_of(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="torture", storage=f"sqlite:///{folder}/optuna/study.db")
