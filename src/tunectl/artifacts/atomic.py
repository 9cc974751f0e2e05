"""Files that a reader never sees half-written: written beside their place, synced, renamed.

This module knows bytes and paths, not what they mean.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# What `tempfile` makes of the prefix and suffix that are given to it, and `replace_link` of a name.
_LEFTOVER = re.compile(r"\..+-[a-z0-9_]{8}(\.[A-Za-z0-9]+(-wal|-shm|-journal)?)?")
_LEFTOVER_LINK = re.compile(r"\..+-\d+")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well it takes `path`'s place.

    Args:
        path: The file's final place; its folder must exist.

    Yields:
        A path with the same suffix, in the same folder, for the block to write.

    Raises:
        OSError: writing, syncing or renaming failed; `path` is then as it was, or the new one where
            only its folder could not be synced.
    """
    with _naming(path):
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
        )
        os.close(handle)
        beside = Path(name)
        try:
            yield beside
            beside.chmod(0o666 & ~_umask())
            with beside.open("rb") as written:
                os.fsync(written.fileno())
            beside.replace(path)
            _sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise


def _sync_folder(folder: Path) -> None:
    """Let a file's new name be there after a power cut too, where the system can do that."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def leftovers(folder: Path) -> list[Path]:
    """Return what `replacing` and `replace_link` left in a folder when their process was killed.

    Something that is being written at this moment looks the same.

    Args:
        folder: Where to look, and not in the folders within; it need not exist.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    return [path for path in entries if _is_leftover(path)]


def free_name(path: Path) -> Path:
    """Return a path that nothing stands at: the one given, or the same with `-2`, `-3` … added."""
    free, number = path, 1
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, document: object) -> None:
    """Write `document` as strict JSON (NaN and infinities become null), atomically."""
    write_text(path, to_json(document) + "\n")


def write_yaml(path: Path, document: Mapping[str, Any]) -> None:
    """Write `document` as block-style YAML in its own order, atomically."""
    write_text(path, to_yaml(document))


def to_json(document: object) -> str:
    """Return strict, indented JSON; numbers that JSON does not have become null."""
    return json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False)


def to_yaml(document: object) -> str:
    """Return block-style YAML that reads back as the same values."""
    import yaml  # JSON is written by commands that should be quick

    return yaml.safe_dump(
        _plain(document), sort_keys=False, allow_unicode=True, default_flow_style=False
    )


def replace_link(link: Path, target: Path) -> None:
    """Make `link` a relative symbolic link to `target`, atomically.

    Args:
        link: Where the link is to stand; a link that stands there is replaced.
        target: An existing folder.

    Raises:
        FileExistsError: something other than a link stands at `link`; it is left alone.
        OSError: the link could not be made.
    """
    if link.exists() and not link.is_symlink():
        raise FileExistsError(f"{link} is not a link, so it is left as it is")
    relative = os.path.relpath(target, link.parent)
    beside = link.with_name(f".{link.name}-{os.getpid()}")
    with _naming(link):
        with suppress(FileNotFoundError):
            beside.unlink()
        beside.symlink_to(relative, target_is_directory=True)
        beside.replace(link)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an error name the file that was to be written, not the one beside it or none at all."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _is_leftover(path: Path) -> bool:
    # A lock's name may look the same, such as `.mlflow-registry.lock`: whoever removes one that is
    # held lets a second process in.
    if not path.name.startswith(".") or path.suffix == ".lock":
        return False
    try:
        mode = path.lstat().st_mode
    except OSError:  # renamed just now
        return False
    if stat.S_ISLNK(mode):
        return _LEFTOVER_LINK.fullmatch(path.name) is not None
    return stat.S_ISREG(mode) and _LEFTOVER.fullmatch(path.name) is not None


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
