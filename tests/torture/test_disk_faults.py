"""What a disk, a file system or a colleague with `rm` can do to a study: told, and nothing lost."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from torture_project import (
    Unbroken,
    Write,
    assert_sound,
    contents,
    copy_of,
    facts,
    start,
    summary,
    traced_writes,
    unbroken_study,
    wait_for,
)

from forked_tunectl import ForkedTunectl, forked_tunectl

pytestmark = pytest.mark.slow

HELD_S = float(os.environ.get("TUNECTL_HELD_S", "6"))  # longer than SQLite's drivers wait
KILLED = -9
FULL = "the disk is full"


@pytest.fixture(scope="module")
def tunectl() -> ForkedTunectl:
    return forked_tunectl()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    return unbroken_study(tmp_path_factory)


@pytest.fixture(scope="module")
def writes(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Write]:
    return traced_writes(tmp_path_factory)


@contextmanager
def mounted(*arguments: str | Path) -> Iterator[Path]:
    """Mount something for as long as the block runs; the last argument is where."""
    target = Path(arguments[-1])
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"nothing may be mounted here: {done.stderr.strip()}")
    try:
        yield target
    finally:
        subprocess.run(["umount", "--lazy", target], check=True)


# -- full and read-only --------------------------------------------------------------------------


def test_a_full_disk_is_named_and_with_room_the_study_goes_on_as_if_nothing_had_been(
    tunectl: ForkedTunectl, unbroken: Unbroken, tmp_path: Path
) -> None:
    place = tmp_path / "small"
    place.mkdir()
    codes = []
    with mounted("-t", "tmpfs", "-o", "size=128k", "tmpfs", place):
        folder = copy_of(unbroken.untouched, place / "project")
        for size in ("128k", "320k", "640k", "64m"):
            subprocess.run(["mount", "-o", f"remount,size={size}", place], check=True)
            ended = tunectl(folder, "tune")
            codes.append(ended.code)
            assert ended.code == 0 or ended.says(FULL), ended
            assert_sound(folder)

        assert codes[-1] == 0
        assert codes.count(7) == len(codes) - 1
        assert facts(folder) == unbroken.facts


def test_a_limit_of_file_sizes_is_named_and_without_it_the_study_goes_on(
    tunectl: ForkedTunectl, unbroken: Unbroken, tmp_path: Path
) -> None:
    folder = copy_of(unbroken.untouched, tmp_path / "project")
    for limit in (20_000, 100_000, 180_000):
        ended = tunectl(folder, "tune", file_limit=limit)
        assert ended.code == 7, ended
        assert ended.says("a file would become larger than the limit of"), ended
        assert_sound(folder)

    assert tunectl(folder, "tune").code == 0
    assert facts(folder) == unbroken.facts


def test_a_read_only_project_can_be_read_and_is_otherwise_left_as_it_is(
    tunectl: ForkedTunectl, unbroken: Unbroken, tmp_path: Path
) -> None:
    folder = copy_of(unbroken.finished, tmp_path / "project")
    before, shown = contents(folder), tunectl(folder, "summary", "--json").out
    with mounted("--bind", folder, folder):
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)

        refused = tunectl(folder, "tune", "--until", "5")

        assert refused.code == 7, refused
        assert refused.says("[Rr]ead-only"), refused
        assert tunectl(folder, "summary", "--json").out == shown
        assert tunectl(folder, "best", "--json").code == 0
    assert contents(folder) == before


def test_a_file_in_the_place_of_a_folder_is_named_before_a_trial_is_asked_for(
    tunectl: ForkedTunectl, unbroken: Unbroken, tmp_path: Path
) -> None:
    for name in ("outputs", "optuna"):
        folder = copy_of(unbroken.untouched, tmp_path / name)
        (folder / name).write_text("somebody's notes")

        ended = tunectl(folder, "tune")

        assert ended.code == 7, ended
        assert ended.says(str(folder / name)), ended
        assert (folder / name).read_text() == "somebody's notes"
        assert not list(folder.glob("o*/**/trial_info.yaml"))


# -- the database --------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["all", "after the first page", "in the middle"])
def test_a_damaged_database_is_named_and_left_as_it_is(
    tunectl: ForkedTunectl, unbroken: Unbroken, tmp_path: Path, place: str
) -> None:
    folder = copy_of(unbroken.finished, tmp_path / "project")
    database = folder / "optuna" / "study.db"
    content = database.read_bytes()
    start, end = {
        "all": (0, len(content)),
        "after the first page": (4096, len(content)),
        "in the middle": (len(content) // 3, len(content) * 2 // 3),
    }[place]
    database.write_bytes(content[:start] + b"\xa5" * (end - start) + content[end:])
    before = contents(folder)

    for command in (("tune", "--until", "5"), ("summary",), ("study", "resume", "short")):
        ended = tunectl(folder, *command)
        assert ended.code == 7, ended
        assert ended.says("the database is damaged|is not a database"), ended

    assert contents(folder) == before


def test_garbage_in_the_place_of_the_database_is_never_overwritten(
    tunectl: ForkedTunectl, unbroken: Unbroken, tmp_path: Path
) -> None:
    folder = copy_of(unbroken.untouched, tmp_path / "project")
    (folder / "optuna").mkdir()
    (folder / "optuna" / "study.db").write_bytes(b"my thesis, the only copy\n" * 400)
    before = contents(folder)

    for command in (("tune",), ("tune", "--fresh"), ("summary",), ("study", "list")):
        ended = tunectl(folder, *command)
        assert ended.code == 7, ended
        assert ended.says("is not a database"), ended

    assert contents(folder) == before


def test_a_database_that_another_process_locks_is_waited_for(
    unbroken: Unbroken, tmp_path: Path, tunectl: ForkedTunectl
) -> None:
    folder = copy_of(unbroken.untouched, tmp_path / "project")
    assert tunectl(folder, "tune", "--until", "1").code == 0
    database = folder / "optuna" / "study.db"

    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        process = start(folder)
        time.sleep(HELD_S)
        assert process.poll() is None, (folder / "log.txt").read_text()
        other.execute("ROLLBACK")

    assert process.wait(120) == 0, (folder / "log.txt").read_text()
    assert facts(folder) == unbroken.facts


def test_a_database_that_stays_locked_ends_the_run_with_its_reason(
    unbroken: Unbroken, tmp_path: Path, tunectl: ForkedTunectl
) -> None:
    folder = copy_of(unbroken.finished, tmp_path / "project")
    url = "sqlite:///optuna/study.db?timeout=0.5"

    with closing(sqlite3.connect(folder / "optuna" / "study.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        ended = tunectl(folder, "tune", "--until", "3", "--storage", url)

    assert ended.code == 7, ended
    assert ended.says("another process keeps the database locked"), ended
    assert facts(folder) == unbroken.facts


# -- what a trial leaves -------------------------------------------------------------------------


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_trial_goes_on_from_the_checkpoint_before_a_truncated_one_or_begins_anew(
    tunectl: ForkedTunectl,
    unbroken: Unbroken,
    writes: Sequence[Write],
    tmp_path: Path,
    damaged: int,
) -> None:
    folder = copy_of(unbroken.untouched, tmp_path / "project")
    first = next(w for w in writes if w.call == "rename" and "/checkpoints/" in w.text)
    # Told to stop just when it has written its first checkpoint, it leaves another one.
    assert tunectl(folder, "tune", inject=first.broken("signal=SIGTERM")).code == 143
    checkpoints = sorted(folder.glob("outputs/*/*/checkpoints/*"))
    assert len(checkpoints) == 2
    for checkpoint in checkpoints[2 - damaged :]:
        os.truncate(checkpoint, checkpoint.stat().st_size // 2)

    assert tunectl(folder, "tune").code == 0

    assert facts(folder) == unbroken.facts
    (log,) = [file for file in folder.glob("outputs/*/*/logs/trial.log") if _is_of(file, 0)]
    assert (f"goes on from {checkpoints[0].name}" in log.read_text()) == (damaged == 1)


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.long)])
def test_a_trial_whose_directory_is_deleted_under_way_fails_with_that_reason_and_the_study_goes_on(
    unbroken: Unbroken, tmp_path: Path, workers: str
) -> None:
    folder = copy_of(unbroken.untouched, tmp_path / "project")
    process = start(folder, "training.epochs=150", "--until", workers, "--workers", workers)
    checkpoint = wait_for(folder, "outputs/*/*/checkpoints/epoch-*", process)
    checkpoint.parent.parent.rename(tmp_path / "gone")

    assert process.wait(300) == 0

    trials = sorted(summary(folder)["trials"], key=lambda trial: trial["state"])
    assert [trial["state"] for trial in trials] == [*["complete"] * int(workers), "failed"]
    reason = f"its directory was deleted while it ran: {checkpoint.parent.parent}"
    assert trials[-1]["error"] == reason
    said = (folder / "log.txt").read_text()
    assert reason in said
    assert "Traceback" not in said
    assert_sound(folder)


def test_an_interrupted_trial_whose_directory_is_gone_or_half_gone_is_run_all_the_same(
    tunectl: ForkedTunectl, unbroken: Unbroken, writes: Sequence[Write], tmp_path: Path
) -> None:
    first = next(w for w in writes if w.call == "rename" and "/checkpoints/" in w.text)
    for lost in ((".",), ("logs", "weights", "checkpoints"), ("config.yaml",)):
        folder = copy_of(unbroken.untouched, tmp_path / "project")
        assert tunectl(folder, "tune", inject=first.broken("signal=SIGKILL")).code == KILLED
        (directory,) = folder.glob("outputs/2*/*")
        for name in lost:
            subprocess.run(["rm", "-r", (directory / name).resolve()], check=True)

        ended = tunectl(folder, "tune")

        assert ended.code == 0, ended
        assert facts(folder) == unbroken.facts
        assert_sound(folder)


def test_links_to_the_best_trial_that_lead_outside_are_replaced_and_never_followed(
    tunectl: ForkedTunectl, unbroken: Unbroken, tmp_path: Path
) -> None:
    folder = copy_of(unbroken.finished, tmp_path / "project")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "metrics.json").write_text("precious")
    links = [folder / "outputs" / "optuna_best", folder / "optuna" / "studies" / "short" / "best"]
    for link in links:
        link.unlink()
        link.symlink_to(outside, target_is_directory=True)

    assert tunectl(folder, "tune").code == 0

    best = folder / summary(folder)["best"]["output_dir"]
    assert [link.resolve() for link in links] == [best.resolve()] * 2
    for link in links:
        link.unlink()
        link.symlink_to(outside, target_is_directory=True)
    assert tunectl(folder, "study", "delete", "short", "--yes", "--artifacts").code == 0
    assert contents(outside) == {"metrics.json": b"precious"}
    assert not list(folder.glob("outputs/2*"))


def test_a_folder_in_the_place_of_a_link_to_the_best_trial_is_left_alone(
    tunectl: ForkedTunectl, unbroken: Unbroken, tmp_path: Path
) -> None:
    folder = copy_of(unbroken.finished, tmp_path / "project")
    places = [folder / "outputs" / "optuna_best", folder / "optuna" / "studies" / "short" / "best"]
    for place in places:
        place.unlink()
        place.mkdir()
        (place / "notes.txt").write_text("precious")

    ended = tunectl(folder, "tune")
    assert ended.code == 0, ended
    assert ended.says("is not a link, so it is left as it is"), ended
    assert tunectl(folder, "study", "delete", "short", "--yes", "--artifacts").code == 0

    assert [contents(place) for place in places] == [{"notes.txt": b"precious"}] * 2


def _is_of(log: Path, number: int) -> bool:
    """Whether a trial's log is that of a certain trial."""
    return f" trial {number} of study " in log.read_text()
