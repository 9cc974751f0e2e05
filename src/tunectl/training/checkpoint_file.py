"""Files of checkpoints: complete when they exist, checked when read, the last two kept.

A checkpoint is one file: the SHA-256 digest of what follows, then PyTorch's own format of plain
tensors and numbers, so that loading one runs no code. It is written beside its place and renamed.
What is in it is the business of whoever writes it.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from tunectl.artifacts import atomic

KEPT = 2
_NAME = re.compile(r"epoch-(\d{6})-batch-(\d{6})\.pt")
_DIGEST_SIZE = hashlib.sha256().digest_size


def write_checkpoint(folder: Path, epoch: int, batch: int, plain: Mapping[str, Any]) -> Path:
    """Write a checkpoint, and remove all but the last two.

    Args:
        folder: Where a training's checkpoints stand; made if missing.
        epoch: Epochs done.
        batch: Batches done of the epoch under way.
        plain: Tensors, numbers, text, lists and mappings.

    Raises:
        OSError: it could not be written; the earlier ones are as they were.
    """
    buffer = io.BytesIO()
    torch.save(plain, buffer)
    payload = buffer.getvalue()
    folder.mkdir(exist_ok=True)
    path = folder / f"epoch-{epoch:06}-batch-{batch:06}.pt"
    with atomic.replacing(path) as beside:
        beside.write_bytes(hashlib.sha256(payload).digest() + payload)
    for old in _checkpoints(folder)[KEPT:]:
        with suppress(OSError):
            old.unlink()
    return path


def read_latest(folder: Path) -> tuple[Path, Mapping[str, Any]] | None:
    """Return the newest sound checkpoint and its file, None where there is none."""
    for path in _checkpoints(folder):
        plain = _read(path)
        if plain is not None:
            return path, plain
    return None


def _checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints, the newest first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: path.name, reverse=True)


def _read(path: Path) -> Mapping[str, Any] | None:
    """Return what a checkpoint holds, None for a damaged one."""
    try:
        content = path.read_bytes()
        digest, payload = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
        if hashlib.sha256(payload).digest() != digest:
            return None
        # Whoever goes on may have another GPU, or none: everything is moved where it belongs.
        plain: Mapping[str, Any] = torch.load(
            io.BytesIO(payload), map_location="cpu", weights_only=True
        )
    except Exception:  # whatever is wrong with it, the one before may be sound
        return None
    return plain
