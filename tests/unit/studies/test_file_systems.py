from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tunectl.studies import file_systems
from tunectl.studies.file_systems import Mount, current_mounts, mount_of

MOUNTS = [
    Mount(point=Path("/"), kind="ext4"),
    Mount(point=Path("/home"), kind="autofs"),
    Mount(point=Path("/home"), kind="nfs4"),
    Mount(point=Path("/home/me/scratch"), kind="xfs"),
    Mount(point=Path("/homes"), kind="tmpfs"),
]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/study.db", "ext4"),
        ("/home/me/study.db", "nfs4"),
        ("/home/me/scratch/optuna/study.db", "xfs"),
        ("/homes/study.db", "tmpfs"),
        ("/", "ext4"),
    ],
)
def test_a_path_lies_on_the_mount_with_the_longest_fitting_path(path: str, kind: str) -> None:
    mount = mount_of(Path(path), MOUNTS)

    assert mount is not None
    assert mount.kind == kind


def test_a_link_lies_where_it_leads(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "optuna").symlink_to(disk)
    mounts = [Mount(point=Path("/"), kind="ext4"), Mount(point=disk.resolve(), kind="lustre")]

    mount = mount_of(tmp_path / "optuna" / "study.db", mounts)

    assert mount is not None
    assert mount.kind == "lustre"


def test_where_nothing_is_known_nothing_is_said() -> None:
    assert mount_of(Path("/srv/study.db"), []) is None


@pytest.mark.parametrize(
    "kind",
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "fuse.sshfs",
        "9p",
        "afs",
        "lustre",
        "gpfs",
        "beegfs",
        "ceph",
        "fuse.glusterfs",
    ],
)
def test_file_systems_that_machines_share_are_known(kind: str) -> None:
    assert Mount(point=Path("/"), kind=kind).is_network


@pytest.mark.parametrize(
    "kind",
    [
        "ext4",
        "xfs",
        "btrfs",
        "zfs",
        "apfs",
        "tmpfs",
        "overlay",
        "fuseblk",
        "fuse.gocryptfs",
        "fuse.mergerfs",
    ],
)
def test_those_of_one_machine_are_told_apart(kind: str) -> None:
    assert not Mount(point=Path("/"), kind=kind).is_network


def test_this_machine_says_what_is_mounted(tmp_path: Path) -> None:
    assert mount_of(tmp_path, current_mounts()) is not None


def test_a_path_with_a_space_is_read_as_it_is() -> None:
    found = file_systems._mount_in("server:/data /mnt/my\\040data nfs4 rw,relatime 0 0")

    assert found == Mount(point=Path("/mnt/my data"), kind="nfs4")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="its file is Linux's")
def test_the_file_of_linux_says_what_its_library_says() -> None:
    assert current_mounts() == file_systems._mounts_elsewhere()
