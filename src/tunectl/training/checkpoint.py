"""Checkpoints of a training: complete when they exist, checked when read, the last two kept.

A checkpoint is one file: the SHA-256 digest of what follows, then PyTorch's own format of plain
tensors and numbers, so that loading one runs no code. It is written beside its place and renamed.
How often one is written is a share of the training's time, not a number of epochs.
"""

from __future__ import annotations

import hashlib
import io
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from tunectl.artifacts import atomic
from tunectl.training.device import RandomStates, random_states
from tunectl.training.loop import BestEpoch, EpochPosition, TrainingState

KEPT = 2
SHARE = 0.02
_NAME = re.compile(r"epoch-(\d{6})-batch-(\d{6})\.pt")
_DIGEST_SIZE = hashlib.sha256().digest_size


class CheckpointClock:
    """Says when the next checkpoint is due, so that all of them cost a set share of the time.

    Args:
        share: Of the training's time, from 0 to 1.
    """

    def __init__(self, share: float = SHARE) -> None:
        self._share = share
        self._last_end = time.monotonic()
        self._cost_s = 0.0

    def is_due(self, *, least_s: float = 0.0) -> bool:
        """Whether enough was trained since the last checkpoint to pay for another.

        Args:
            least_s: Seconds that have to lie between two, whatever they cost.
        """
        trained_s = time.monotonic() - self._last_end
        return trained_s >= least_s and trained_s * self._share >= self._cost_s

    def save(self, folder: Path, state: TrainingState) -> None:
        """Write a checkpoint and remember what it cost.

        Raises:
            OSError: it could not be written; the earlier ones are as they were.
        """
        start = time.monotonic()
        save_checkpoint(folder, state)
        self._last_end = time.monotonic()
        self._cost_s = self._last_end - start


def save_checkpoint(folder: Path, state: TrainingState) -> Path:
    """Write all that a training needs to go on, and remove all but the last two.

    Args:
        folder: Where the training's checkpoints stand; made if missing.
        state: The training, between two steps.

    Raises:
        OSError: it could not be written; the earlier ones are as they were.
    """
    buffer = io.BytesIO()
    torch.save(_to_plain(state), buffer)
    payload = buffer.getvalue()
    folder.mkdir(exist_ok=True)
    path = folder / f"epoch-{state.epoch:06}-batch-{state.position.batch:06}.pt"
    with atomic.replacing(path) as beside:
        beside.write_bytes(hashlib.sha256(payload).digest() + payload)
    for old in _checkpoints(folder)[KEPT:]:
        with suppress(OSError):
            old.unlink()
    return path


def restore_latest(folder: Path, state: TrainingState) -> Path | None:
    """Put the newest sound checkpoint into a training that has just been started.

    Args:
        folder: Where the training's checkpoints stand.
        state: A new training of the same configuration; changed in place.

    Returns:
        The file that was used, None where there is no sound one, and the training begins anew.
    """
    for path in _checkpoints(folder):
        plain = _read(path)
        if plain is not None:
            _from_plain(plain, state)
            return path
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


def _to_plain(state: TrainingState) -> dict[str, Any]:
    best, states = state.best, random_states(_device_of(state))
    return {
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "epoch": state.epoch,
        "histories": state.histories,
        "best": None
        if best is None
        else {
            "epoch": best.epoch,
            "value": best.value,
            "metrics": dict(best.metrics),
            "weights": best.weights,
        },
        "batch": state.position.batch,
        "losses": state.position.losses,
        "sizes": state.position.sizes,
        "random": {"cpu": states.cpu, "gpu": states.gpu},
        "trained_s": state.trained_s,
    }


def _from_plain(plain: Mapping[str, Any], state: TrainingState) -> None:
    state.model.load_state_dict(plain["model"])
    state.optimizer.load_state_dict(plain["optimizer"])
    state.epoch = plain["epoch"]
    state.histories = plain["histories"]
    state.best = None if plain["best"] is None else BestEpoch(**plain["best"])
    state.trained_s = plain["trained_s"]
    # An epoch that has not begun draws its own random states from the seed.
    under_way = plain["batch"] > 0
    state.position = EpochPosition(
        batch=plain["batch"],
        losses=[loss.to(_device_of(state)) for loss in plain["losses"]],
        sizes=plain["sizes"],
        random=RandomStates(**plain["random"]) if under_way else None,
    )


def _device_of(state: TrainingState) -> torch.device:
    return next(state.model.parameters()).device
