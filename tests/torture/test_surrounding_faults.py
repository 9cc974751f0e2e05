"""What the surroundings can do to a study: clocks, pipes, bare environments, crowds of readers."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import optuna
import pytest
from torture_project import (
    TUNECTL,
    Unbroken,
    assert_sound,
    copy_of,
    facts,
    shell,
    start,
    summary,
    unbroken_study,
    wait_for,
)

from forked_tunectl import ForkedTunectl, forked_tunectl

pytestmark = pytest.mark.slow

READS = int(os.environ.get("TUNECTL_READS", "60"))
READERS = 2
DAY_S = 24 * 3600
# Loads a study again and again as `tunectl summary --json` does, without what a start costs.
READ = """
import json, sys
from pathlib import Path
from tunectl.artifacts.atomic import to_json
from tunectl.reports.summary import summarise
from tunectl.studies.lifecycle import load_study
from tunectl.studies.storage import open_storage

url = f"sqlite:///{sys.argv[1]}/optuna/study.db"
for _ in range(int(sys.argv[2])):
    storage = open_storage(url, create=False)
    summary = summarise(load_study(storage, "short"), url, Path(sys.argv[1]))
    document = json.loads(to_json(summary.to_document()))
    assert sum(document["states"].values()) == document["n_trials"] == len(document["trials"])
    for trial in document["trials"]:
        assert (trial["value"] is not None) == (trial["state"] == "complete"), trial
    storage.engine.dispose()
"""


@pytest.fixture(scope="module")
def tunectl() -> ForkedTunectl:
    return forked_tunectl()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    return unbroken_study(tmp_path_factory)


@pytest.fixture
def folder(unbroken: Unbroken, tmp_path: Path) -> Path:
    return copy_of(unbroken.untouched, tmp_path / "project")


# -- clocks --------------------------------------------------------------------------------------


def faked_clock(offset_s: int) -> dict[str, str]:
    """Return an environment in which the clock is wrong; skip the test where that is impossible."""
    found = importlib.util.find_spec("libfaketime")
    if found is None or found.origin is None:
        pytest.skip("libfaketime is not installed")
    library = Path(found.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
    environment = {
        "LD_PRELOAD": str(library),
        "FAKETIME": f"{offset_s:+d}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # it never jumps when a clock is set
    }
    look = [sys.executable, "-c", "import time; print(time.time())"]
    done = subprocess.run(
        look, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or abs(float(done.stdout) - time.time() - offset_s) > DAY_S / 2:
        pytest.skip(f"libfaketime does not work here: {done.stderr}")
    return environment


def test_a_clock_that_jumps_a_day_forward_and_back_changes_nothing_but_times(
    tunectl: ForkedTunectl, folder: Path, unbroken: Unbroken
) -> None:
    # Trial 0 begins tomorrow, is interrupted, goes on today; trial 1 was yesterday.
    process = start(folder, "--until", "1", environment=faked_clock(+DAY_S))
    wait_for(folder, "outputs/*/*/checkpoints/epoch-*", process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) in (0, 143)  # it may have come to its end just before
    assert tunectl(folder, "tune", "--until", "1").code == 0
    assert start(folder, environment=faked_clock(-DAY_S)).wait(120) == 0

    assert facts(folder) == unbroken.facts
    assert_sound(folder)
    trials = summary(folder)["trials"]
    assert all(0 <= trial["duration_s"] < DAY_S / 2 for trial in trials)
    days = [datetime.fromisoformat(trial["started_at"]) for trial in trials]
    assert (days[0] - days[1]).total_seconds() > 1.5 * DAY_S
    assert "Traceback" not in (folder / "log.txt").read_text()


# -- nobody listens ------------------------------------------------------------------------------


def test_a_reader_that_goes_away_stops_no_study(folder: Path, unbroken: Unbroken) -> None:
    done = shell(folder, '"$TUNECTL" tune 2>&1 | head -1; echo "${PIPESTATUS[@]}"')

    assert done.stdout == "study short: 2 trials to run, minimize val_mse\n0 0\n"
    assert done.stderr == ""
    assert facts(folder) == unbroken.facts


def test_a_reader_that_has_seen_enough_gets_no_message(unbroken: Unbroken) -> None:
    for command in ("summary --json", "--help", "trial list"):
        done = shell(
            unbroken.finished, f'"$TUNECTL" {command} | head -c 10; echo "${{PIPESTATUS[@]}}"'
        )
        assert done.stdout[10:].splitlines()[-1] == "0 0", command
        assert done.stderr == ""


def test_results_that_cannot_be_written_are_an_error_and_lost_messages_are_none(
    folder: Path, unbroken: Unbroken
) -> None:
    done = shell(unbroken.finished, '"$TUNECTL" summary --json > /dev/full; echo $?')
    assert done.stdout == "1\n"
    assert done.stderr == "error: standard output cannot be written: No space left on device\n"

    done = shell(folder, '"$TUNECTL" tune 2> /dev/full > out.txt; echo $?')
    assert done.stdout == "0\n"
    assert "best trial" in (folder / "out.txt").read_text()
    assert facts(folder) == unbroken.facts


def test_closed_standard_streams_do_no_harm(folder: Path, unbroken: Unbroken) -> None:
    done = shell(folder, '"$TUNECTL" tune <&- >&- 2>&-; echo $?; "$TUNECTL" summary >&-; echo $?')

    assert (done.stdout, done.stderr) == ("0\n0\n", "")
    assert facts(folder) == unbroken.facts
    assert_sound(folder)


# -- bare environments ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        'env -i PATH="$PATH" LC_ALL=POSIX PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 '
        'setsid --wait "$TUNECTL" tune < /dev/null',
        pytest.param(
            'HOME=/nonexistent XDG_CACHE_HOME= LANG=C "$TUNECTL" tune', marks=pytest.mark.long
        ),
    ],
    ids=["an empty one without a terminal", "one without a home"],
)
def test_a_study_needs_nothing_of_its_environment(
    folder: Path, unbroken: Unbroken, line: str
) -> None:
    named = (folder / "params.yaml").read_text().replace("[a, b]", "[größe, b]")
    (folder / "params.yaml").write_text(named, encoding="utf-8")

    done = shell(folder, line)

    assert done.returncode == 0, done
    assert done.stderr.splitlines()[0] == "study short: 2 trials to run, minimize val_mse"
    assert all(word in done.stdout for word in ("best trial", "tunectl best --export"))
    assert "Traceback" not in done.stderr
    assert [one["values"] for one in facts(folder)] == [one["values"] for one in unbroken.facts]


# -- crowds --------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_crowd_of_readers_sees_valid_documents_and_does_not_disturb_a_running_study(
    folder: Path, unbroken: Unbroken
) -> None:
    process = start(folder, "--until", "100000")
    wait_for(folder, "optuna/studies/short/study_summary.json", process)
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READ, str(folder), str(READS // READERS)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(READERS)
    ]
    shown = [
        subprocess.run([TUNECTL, *words, "--json"], cwd=folder, capture_output=True, check=True)
        for words in (("summary",), ("study", "list"), ("best",), ("trial", "show", "0"))
    ]
    said = [reader.communicate(timeout=600)[1] for reader in readers]
    while sum(one["state"] == "complete" for one in summary(folder)["trials"]) < 2:
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)

    assert process.wait(120) == 143
    assert said == [""] * READERS
    assert [json.loads(done.stdout)["schema_version"] for done in shown] == [1] * len(shown)
    log = (folder / "log.txt").read_text()
    assert not any(word in log for word in ("error", "warning", "locked", "Traceback")), log
    assert facts(folder)[:2] == unbroken.facts
    assert_sound(folder)


def test_an_infinite_value_of_another_program_never_becomes_the_best(
    tunectl: ForkedTunectl, unbroken: Unbroken, tmp_path: Path
) -> None:
    folder = copy_of(unbroken.finished, tmp_path / "project")
    study = optuna.load_study(study_name="short", storage=f"sqlite:///{folder}/optuna/study.db")
    before = json.loads(tunectl(folder, "best", "--json").out)
    study.add_trial(optuna.trial.create_trial(value=float("-inf")))

    assert study.best_trial.number == len(unbroken.facts)  # so Optuna sees it
    assert json.loads(tunectl(folder, "best", "--json").out) == before
    ended = tunectl(folder, "tune", "--n-trials", "1")
    assert ended.code == 0, ended
    assert summary(folder)["best"]["value"] > 0
