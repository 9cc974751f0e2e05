"""A bundle: the best trial as a folder or a zip archive that can be given away.

It puts files together and takes them apart again; it does not know what is in them.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tunectl.artifacts import atomic
from tunectl.errors import ArtifactError, StorageError, UsageError

PARAMS = "params_best.yaml"
PLAN = "model.json"
SCALING = "scaling.json"
WEIGHTS = "model.safetensors"
ONNX = "model.onnx"
CARD = "MODEL_CARD.md"
Content = bytes | Path
"""What is in a file of a bundle, or the file that it is a copy of."""
MARK = PARAMS
"""Every bundle has it; what has not is none, and is never replaced."""

ARCHIVE = ".zip"
# The first moment that a zip archive can tell: a bundle's bytes are not to depend on the clock.
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16
_BLOCK = 1 << 20
_BAD_ARCHIVE = (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError)


def write_bundle(target: Path, files: Mapping[str, Content], root: str) -> Path:
    """Write a bundle beside its place and put it there whole. The same files give the same bytes.

    Args:
        target: A folder, or an archive where it ends in `.zip`; an earlier bundle is replaced.
        files: Path within the bundle → content, or the file to copy.
        root: The folder that an archive unpacks into.

    Returns:
        The bundle's absolute path.

    Raises:
        UsageError: something stands at `target` that is no bundle; it is left alone.
        ArtifactError: a file to copy cannot be read.
        StorageError: it cannot be written.
    """
    target = target.absolute()
    as_archive = target.suffix.lower() == ARCHIVE
    is_taken = target.exists() and not (
        _is_bundle_archive(target) if as_archive else _is_bundle_folder(target)
    )
    if is_taken:
        raise UsageError(f"{target} exists and is no bundle, so it is left as it is")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if as_archive:
            with atomic.replacing(target) as beside:
                _write_archive(beside, files, root)
        else:
            _write_folder(target, files)
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def read_bundle(path: Path, name: str) -> bytes | None:
    """Return a file of a bundle, None where the bundle has no such file.

    Args:
        path: A bundle's folder or archive.
        name: Its path within the bundle.

    Raises:
        UsageError: there is nothing at `path`, or it is no bundle.
        ArtifactError: it is damaged, or cannot be read.
    """
    if not path.exists():
        raise UsageError(f"there is no bundle {path}")
    try:
        if path.is_dir():
            return _file_of_folder(path, name)
        return _file_of_archive(path, name)
    except _BAD_ARCHIVE as error:
        raise ArtifactError(f"{path} is damaged: {error}") from error
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror or error}") from error


def _file_of_folder(path: Path, name: str) -> bytes | None:
    if not (path / MARK).is_file():
        raise UsageError(f"{path} is no bundle: it has no {MARK}")
    file = path / name
    return file.read_bytes() if file.is_file() else None


def _file_of_archive(path: Path, name: str) -> bytes | None:
    if not zipfile.is_zipfile(path):
        raise UsageError(f"{path} is no bundle: neither a folder nor a zip archive")
    with zipfile.ZipFile(path) as archive:
        root = _root_of(archive)
        if root is None:
            raise UsageError(f"{path} is no bundle: it has no {MARK}")
        member = str(root / name)
        return archive.read(member) if member in archive.namelist() else None


def _root_of(archive: zipfile.ZipFile) -> PurePosixPath | None:
    """Return the folder within an archive that holds the bundle, None where there is none."""
    marks = [PurePosixPath(name) for name in archive.namelist() if name.endswith(MARK)]
    roots = [mark.parent for mark in marks if mark.name == MARK and len(mark.parts) <= 2]
    return roots[0] if roots else None


def _is_bundle_folder(target: Path) -> bool:
    is_empty = target.is_dir() and not any(target.iterdir())
    return is_empty or (target / MARK).is_file()


def _is_bundle_archive(target: Path) -> bool:
    try:
        with zipfile.ZipFile(target) as archive:
            return _root_of(archive) is not None
    except (OSError, *_BAD_ARCHIVE):
        return False


def _write_archive(file: Path, files: Mapping[str, Content], root: str) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{root}/{name}", _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever it is written
            entry.external_attr = _MODE
            content = files[name]
            if isinstance(content, bytes):
                archive.writestr(entry, content)
                continue
            with suppress(OSError):
                entry.file_size = (
                    content.stat().st_size
                )  # decides whether the large format is needed
            with _opened(content) as source, archive.open(entry, "w") as target:
                shutil.copyfileobj(source, target, _BLOCK)


def _write_folder(target: Path, files: Mapping[str, Content]) -> None:
    beside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        for name, content in files.items():
            file = beside / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                file.write_bytes(content)
            else:
                with _opened(content) as source, file.open("wb") as copy:
                    shutil.copyfileobj(source, copy, _BLOCK)
        beside.chmod(0o755)
        _swap(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise ArtifactError(f"{file} cannot be read: {error.strerror or error}") from error


def _swap(beside: Path, target: Path) -> None:
    """Put `beside` in `target`'s place; the old bundle is moved away first and then removed."""
    if not target.exists():
        beside.replace(target)
        return
    old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-old-"))
    target.replace(old / "bundle")
    beside.replace(target)
    shutil.rmtree(old, ignore_errors=True)
