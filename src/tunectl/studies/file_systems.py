"""On which kind of file system a path lies, and whether other machines write to it too.

SQLite's write-ahead log is shared memory between the processes of one machine, so it does not work
on a network file system, and file locks may not work there either.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# As the operating systems name them; `fuse.` stands before those that are programs.
_NETWORK = re.compile(
    r"(fuse\.)?(9p|acfs|afp\w*|afs|auristorfs|beegfs\w*|ceph\w*|cifs|coda|cvmfs2?|davfs2?|fakeowner"
    r"|fhgfs|gcsfuse|geesefs|gfs2?|glusterfs|goofys|gpfs|grpcfuse|juicefs|lizardfs|lustre|mfs"
    r"|moosefs|mount-s3|ncpf?s?|nfs[34]?|ocfs2|orangefs|osxfs|panfs|prl_fs|pvfs2|quobyte|rclone"
    r"|s3fs|saunafs|seaweedfs|smb\w*|sshfs|vboxsf|virtiofs|vmhgfs(-fuse)?|webdav|weka\w*)",
    re.IGNORECASE,
)
_MOUNTS = Path("/proc/self/mounts")
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A file system in the tree.

    Args:
        point: Absolute path of its root.
        kind: What the operating system calls it, for example `ext4` or `fuse.sshfs`.
    """

    point: Path
    kind: str

    @property
    def is_network(self) -> bool:
        """Whether other machines may write to it at the same time."""
        return _NETWORK.fullmatch(self.kind) is not None


Mounts = Callable[[], Sequence[Mount]]


def current_mounts() -> list[Mount]:
    """Return what is mounted now, in the order of mounting; nothing where none can tell."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError:
        return _mounts_elsewhere()
    return [_mount_in(line) for line in lines if line.count(" ") >= 2]


def _mount_in(line: str) -> Mount:
    """Return the mount of a line, in which a space in a path is written as three digits."""
    _, point, kind, *_ = line.split(" ")
    return Mount(point=Path(_ESCAPED.sub(lambda one: chr(int(one[1], 8)), point)), kind=kind)


def _mounts_elsewhere() -> list[Mount]:
    """Return what is mounted where there is no such file, as on macOS."""
    import psutil

    try:
        partitions = psutil.disk_partitions(all=True)
    except (OSError, RuntimeError):  # a container without /proc
        return []
    return [Mount(point=Path(one.mountpoint), kind=one.fstype) for one in partitions]


def mount_of(path: Path, mounts: Sequence[Mount]) -> Mount | None:
    """Return the mount that a path lies on.

    Args:
        path: Absolute path; it need not exist. Links in it are followed.
        mounts: What is mounted, in the order of mounting.

    Returns:
        The one with the longest fitting path, of equals the last, which hides those before it; None
        where none fits.
    """
    resolved = path.resolve()
    found: Mount | None = None
    for mount in mounts:
        if resolved.is_relative_to(mount.point) and (
            found is None or len(mount.point.parts) >= len(found.point.parts)
        ):
            found = mount
    return found
