"""Break a short study at its N-th write, for N over all of them: the next run finds all it needs.

`TUNECTL_SWEEP` says how many: `all`, or a number k for every k-th write (`make torture`); a few
where it is not set. Linux only: strace counts the writes and breaks them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from torture_project import (
    Unbroken,
    Write,
    assert_sound,
    copy_of,
    differences,
    facts,
    traced_writes,
    unbroken_study,
)

from forked_tunectl import Ended, ForkedTunectl, forked_tunectl

SWEEP = os.environ.get("TUNECTL_SWEEP", "")
KILLED = -9
CAUSE = {
    "ENOSPC": "the disk is full|the disk reports an error|No space left on device",
    "EIO": "the disk reports an error|Input/output error",
}


@pytest.fixture(scope="module")
def tunectl() -> ForkedTunectl:
    return forked_tunectl()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    return unbroken_study(tmp_path_factory)


@pytest.fixture(scope="module")
def writes(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Write]:
    return traced_writes(tmp_path_factory)


def chosen(writes: Sequence[Write], few: int) -> Sequence[Write]:
    """Return every k-th write, or few of them, spread evenly."""
    step = 1 if SWEEP == "all" else int(SWEEP or len(writes) // few)
    return writes[step // 2 :: step]


def wrongs_after(tunectl: ForkedTunectl, folder: Path, unbroken: Unbroken) -> Iterator[str]:
    """Yield what is wrong once the command has been given again."""
    ended = tunectl(folder, "tune")
    if ended.code != 0:
        yield f"the next run ended with {ended.code}: {ended.err}"
        return
    assert_sound(folder)
    yield from differences(facts(folder), unbroken.facts)
    half = [path for path in folder.glob("outputs/*/*/**/.*") if path.name != ".lock"]
    if half:
        yield f"half files were left: {half}"


@pytest.mark.slow
def test_a_study_killed_at_any_write_becomes_the_study_it_would_have_been(
    tunectl: ForkedTunectl, writes: Sequence[Write], unbroken: Unbroken, tmp_path: Path
) -> None:
    wrong = []
    for write in chosen(writes, 3):
        folder = copy_of(unbroken.untouched, tmp_path / "project")
        point = write.broken("signal=SIGKILL")

        ended = tunectl(folder, "tune", inject=point)

        assert_sound(folder)
        # Checkpoints are a matter of time, so another run may have fewer writes.
        assert ended.code in (KILLED, 0), point
        wrong += [f"{point}: {what}" for what in wrongs_after(tunectl, folder, unbroken)]
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("error", CAUSE)
def test_a_disk_that_fails_at_any_write_ends_the_run_with_its_reason_and_costs_no_trial(
    tunectl: ForkedTunectl,
    writes: Sequence[Write],
    unbroken: Unbroken,
    tmp_path: Path,
    error: str,
) -> None:
    wrong = []
    for write in chosen(writes, 2):
        folder = copy_of(unbroken.untouched, tmp_path / "project")
        point = write.broken(f"error={error}")

        ended = tunectl(folder, "tune", inject=point)

        assert_sound(folder)
        if not _is_right_end(ended, error):
            wrong.append(f"{point}: {ended}")
        wrong += [f"{point}: {what}" for what in wrongs_after(tunectl, folder, unbroken)]
        if len(list(folder.glob("outputs/2*/*"))) != len(unbroken.facts):
            wrong.append(f"{point}: a trial directory without a trial was left")
    assert wrong == []


def _is_right_end(ended: Ended, error: str) -> bool:
    """Whether a run ended as it may: with nothing lost, or saying what is wrong."""
    if ended.code == 0:
        return True  # it could do without, as SQLite can without shortening its log
    if ended.code == 1:
        return "standard output cannot be written" in ended.err
    return ended.code == 7 and re.search(CAUSE[error], ended.err) is not None
