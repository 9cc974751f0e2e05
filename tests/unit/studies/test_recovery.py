"""What becomes of trials that the database calls running: the table in `recovery.py`, line by line.

The database is a SQLite file on a local disk; `tests/cli/test_cli_postgresql.py` has a server.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import optuna
import pytest

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import Settings
from tunectl.errors import StorageError, UsageError
from tunectl.studies.budget import Claim, Claims, Nothing, Unlimited
from tunectl.studies.claim_lock import claim_lock
from tunectl.studies.claimant import claimant
from tunectl.studies.directories import Places, directory_of
from tunectl.studies.lifecycle import create_study
from tunectl.studies.recovery import Standing, interrupted_trials, release, running_trials
from tunectl.studies.removal import remove_study
from tunectl.studies.storage import open_storage

Make = Callable[..., Settings]
ELSEWHERE = {"host": "elsewhere", "machine": "another", "boot": "another"}


class Site:
    """A project folder with a study, whose trials are claimed and left alone.

    Args:
        path: The folder.
        settings: Those of the study.
        url: Its database; one of its own by default.
    """

    def __init__(self, path: Path, settings: Settings, url: str | None = None) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.tree = ProjectTree.of(path, settings.surroundings)
        self.url = url or f"sqlite:///{path}/study.db"
        storage = open_storage(self.url, create=True)
        assert storage is not None
        self.storage = storage
        if url is None:
            create_study(storage, settings)
        self.study = optuna.load_study(study_name="s", storage=storage)

    def claims(self) -> Claims:
        return Claims(
            self.study,
            until=9,
            permits=Unlimited(),
            project=self.path,
            outputs_root=self.tree.outputs_root,
            lock=claim_lock(self.url, "s", self.tree.study("s")),
        )

    def claim(self, held: ExitStack) -> Claim:
        """Claim a trial as a worker does that has just begun it."""
        claim = held.enter_context(self.claims().next())
        assert isinstance(claim, Claim)
        info = {"study": "s", "number": claim.trial.number, "state": "running"}
        claim.directory.write_info(info)
        return claim

    def leave(self, **claimed_by: Any) -> TrialDir:
        """Claim a trial and let go of it; return its directory.

        Args:
            claimed_by: What is recorded of the claimant in place of the truth.
        """
        with ExitStack() as held:
            claim = self.claim(held)
            stored = {**claimant("s", self.path), **claimed_by}
            claim.trial.set_user_attr("claimed_by", stored)
            return claim.directory

    def beat(self, ago: str) -> None:
        """Record a heartbeat of the only trial, so long ago by the database's clock."""
        with closing(sqlite3.connect(self.path / "study.db")) as connection:
            connection.execute(
                "INSERT INTO trial_heartbeats (trial_id, heartbeat) VALUES (1, datetime('now', ?))",
                (ago,),
            )
            connection.commit()

    def standing(self) -> Standing:
        (found,) = running_trials(self.study, self.path)
        assert found.is_interrupted == bool(interrupted_trials(self.study, self.path))
        return found.standing


@pytest.fixture
def site(tmp_path: Path, make_settings: Make) -> Site:
    return Site(tmp_path / "site", make_settings(name="s"))


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_trial_whose_lock_is_held_is_running(site: Site, held: ExitStack) -> None:
    site.claim(held)

    assert site.standing() is Standing.LIVE


def test_a_trial_whose_lock_is_free_is_interrupted(site: Site) -> None:
    site.leave()

    assert site.standing() is Standing.INTERRUPTED


def test_a_trial_that_was_never_claimed_is_interrupted(site: Site) -> None:
    site.study.ask()

    assert site.standing() is Standing.INTERRUPTED


def test_a_claim_that_was_cut_off_before_it_had_a_directory_is_interrupted(site: Site) -> None:
    trial = site.study.ask()
    trial.set_user_attr("claimed_by", {**claimant("s", site.path), **ELSEWHERE})

    assert site.standing() is Standing.INTERRUPTED


def test_a_trial_whose_directory_was_deleted_is_interrupted(site: Site) -> None:
    shutil.rmtree(site.leave().path)

    assert site.standing() is Standing.INTERRUPTED


def test_the_deleted_directory_of_a_container_may_only_be_out_of_sight(site: Site) -> None:
    shutil.rmtree(site.leave(host="0123456789ab", project="/work").path)

    assert site.standing() is Standing.ELSEWHERE


def test_a_container_with_a_new_name_takes_up_what_it_left(site: Site) -> None:
    site.leave(host="0123456789ab")

    assert site.standing() is Standing.INTERRUPTED


def test_a_machine_that_was_started_again_takes_up_what_it_left(site: Site) -> None:
    site.leave(boot="the last one")

    assert site.standing() is Standing.INTERRUPTED


def test_a_local_database_and_its_folder_that_came_from_another_machine_are_ours(
    site: Site,
) -> None:
    site.leave(**ELSEWHERE)

    assert site.standing() is Standing.INTERRUPTED


@pytest.mark.parametrize(
    ("ago", "standing"),
    [
        ("-10 seconds", Standing.ELSEWHERE),
        ("-170 seconds", Standing.ELSEWHERE),
        ("-200 seconds", Standing.STALE),
        ("+10 seconds", Standing.ELSEWHERE),
        ("+1 day", Standing.STALE),  # the database's clock was put back a day
    ],
)
def test_another_machine_is_judged_by_its_last_heartbeat(
    site: Site, ago: str, standing: Standing
) -> None:
    site.leave(**ELSEWHERE)
    site.beat(ago)

    assert site.standing() is standing


def test_a_held_lock_is_stronger_than_any_heartbeat(site: Site, held: ExitStack) -> None:
    claim = site.claim(held)
    claim.trial.set_user_attr("claimed_by", {**claimant("s", site.path), **ELSEWHERE})
    site.beat("-1 day")

    assert site.standing() is Standing.ELSEWHERE


def test_on_this_machine_a_free_lock_is_stronger_than_any_heartbeat(site: Site) -> None:
    site.leave()
    site.beat("-1 second")

    assert site.standing() is Standing.INTERRUPTED


def test_another_project_folder_here_is_judged_by_its_locks(
    site: Site, held: ExitStack, tmp_path: Path, make_settings: Make
) -> None:
    other = Site(tmp_path / "other", make_settings(name="s"), site.url)
    site.claim(held)

    assert other.standing() is Standing.LIVE
    held.close()
    assert other.standing() is Standing.INTERRUPTED


def test_a_copied_project_folder_sees_the_lock_in_the_first_one(
    site: Site, held: ExitStack, tmp_path: Path, make_settings: Make
) -> None:
    claim = site.claim(held)
    shutil.copytree(site.path, tmp_path / "copy")
    copy = Site(tmp_path / "copy", make_settings(name="s"), site.url)

    assert copy.standing() is Standing.LIVE
    assert claim.trial.number == 0


def test_a_trial_that_began_elsewhere_in_the_same_second_is_another_one(
    site: Site, held: ExitStack, tmp_path: Path, make_settings: Make
) -> None:
    other = Site(tmp_path / "other", make_settings(name="s"), site.url)
    left = site.leave(project="/nowhere")
    twin = TrialDir(other.path / left.path.relative_to(site.path))
    shutil.copytree(left.path, twin.path)
    for path in (left.info_file, twin.info_file):
        path.unlink()

    with other.claims().next() as claim:
        assert isinstance(claim, Claim)
        assert claim.adopted
        assert claim.directory.path not in (left.path, twin.path)


def test_a_folder_that_cannot_be_locked_says_nothing(site: Site) -> None:
    directory = site.leave(**ELSEWHERE)
    (directory.path / ".lock").unlink(missing_ok=True)
    (directory.path / ".lock").mkdir()
    site.beat("-10 seconds")

    assert site.standing() is Standing.ELSEWHERE


def test_a_trial_that_cannot_be_judged_is_taken_up_once_it_is_released(site: Site) -> None:
    left = site.leave(host="a-container", project="/data/project")
    shutil.rmtree(left.path)
    assert site.standing() is Standing.ELSEWHERE

    assert release(site.study, 0, site.path) is Standing.ELSEWHERE

    assert site.standing() is Standing.INTERRUPTED
    with site.claims().next() as claim:
        assert isinstance(claim, Claim)
        assert (claim.trial.number, claim.adopted) == (0, True)
        assert site.standing() is Standing.LIVE


def test_a_trial_that_was_heard_of_is_not_released(site: Site) -> None:
    site.leave(**ELSEWHERE)
    site.beat("-10 seconds")

    with pytest.raises(UsageError, match=r"it was heard of 1\d s ago; after 180 s of silence"):
        release(site.study, 0, site.path)

    assert site.standing() is Standing.ELSEWHERE


def test_a_moved_project_folder_goes_on_where_it_was(
    site: Site, tmp_path: Path, make_settings: Make
) -> None:
    left = site.leave()
    site.storage.remove_session()
    moved = tmp_path / "moved"
    site.path.rename(moved)
    site = Site(moved, make_settings(name="s"), f"sqlite:///{moved}/study.db")

    with site.claims().next() as claim:
        assert isinstance(claim, Claim)
        assert claim.directory.path == moved / left.path.relative_to(tmp_path / "site")
        attrs = site.study.get_trials()[0].user_attrs
        now = {"since_s": attrs["claimed_by"]["since_s"]}
        assert attrs["claimed_by"] == {**claimant("s", moved), **now}
        assert attrs["output_dir"] == str(claim.directory.path.relative_to(moved))


def test_the_time_that_a_trial_has_had_is_that_since_its_claim_in_any_time_zone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = site.leave(since_s=time.time() - 100.0)
    left.log_file.parent.mkdir(exist_ok=True)
    left.log_file.write_text("it had begun")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        # First by a coordinator that has seen its worker die; the claims after it add nothing.
        for claimed in (site.claims().interrupted(0), site.claims().next(), site.claims().next()):
            with claimed as claim:
                assert isinstance(claim, Claim)
                assert claim.trial.user_attrs["spent_s"] == pytest.approx(100.0, abs=20.0)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_trial_that_is_alive_elsewhere_counts_as_running(site: Site) -> None:
    site.leave(**ELSEWHERE)
    site.beat("-10 seconds")
    claims = Claims(
        site.study,
        until=1,
        permits=Unlimited(),
        project=site.path,
        outputs_root=site.tree.outputs_root,
        lock=claim_lock(site.url, "s", site.tree.study("s")),
    )

    with claims.next() as found:
        assert found == Nothing(wait=True)


def test_a_study_that_is_alive_elsewhere_cannot_be_deleted(site: Site) -> None:
    site.leave(**ELSEWHERE, project="/data/project")
    site.beat("-10 seconds")

    with pytest.raises(StorageError, match="running in /data/project on elsewhere; stop it first"):
        remove_study(site.storage, site.url, site.study, site.tree, artifacts=False)


def test_where_a_directory_is_depends_on_who_asks(
    site: Site, tmp_path: Path, make_settings: Make
) -> None:
    other = Site(tmp_path / "other", make_settings(name="s"), site.url)
    left = site.leave()
    (trial,) = site.study.get_trials()
    recorded = str(left.path.relative_to(site.path))

    assert Places(site.path).of(trial) == recorded
    assert Places(other.path).of(trial) == str(left.path)
    assert directory_of(trial, other.path) == left
    away = {**claimant("s", Path("/work")), **ELSEWHERE}
    site.study._storage.set_trial_user_attr(trial._trial_id, "claimed_by", away)
    (trial,) = other.study.get_trials()
    assert Places(other.path).of(trial) == f"elsewhere:/work/{recorded}"
    assert directory_of(trial, other.path) is None
    assert Places(site.path).of(trial) == recorded  # its own name is in it


def test_what_identifies_a_machine_is_not_told_to_others(site: Site) -> None:
    site.leave()
    stored = json.dumps(site.study.get_trials()[0].user_attrs["claimed_by"])

    for file in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"):
        if Path(file).is_file() and Path(file).read_text().strip():
            assert Path(file).read_text().strip() not in stored
