"""Checkpoints of a training: what is in one, and when the next is due.

How often one is written is a share of the training's time, not a number of epochs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tunectl.training.checkpoint_file import read_latest, write_checkpoint
from tunectl.training.device import RandomStates, random_states
from tunectl.training.state import BestEpoch, EpochPosition, TrainingState

SHARE = 0.005
"""Of the training's time that goes into checkpoints."""


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
    return write_checkpoint(folder, state.epoch, state.position.batch, _to_plain(state))


def restore_latest(folder: Path, state: TrainingState) -> Path | None:
    """Put the newest sound checkpoint into a training that has just been started.

    Args:
        folder: Where the training's checkpoints stand.
        state: A new training of the same configuration; changed in place.

    Returns:
        The file that was used, None where there is no sound one, and the training begins anew.
    """
    found = read_latest(folder)
    if found is None:
        return None
    path, plain = found
    _from_plain(plain, state)
    return path


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
        "norms": state.position.norms,
        "schedule": state.schedule.state_dict() if state.schedule is not None else None,
        "random": {"cpu": states.cpu, "gpu": states.gpu},
        "trained_s": state.trained_s,
    }


def _from_plain(plain: Mapping[str, Any], state: TrainingState) -> None:
    state.model.load_state_dict(plain["model"])
    state.optimizer.load_state_dict(plain["optimizer"])
    if state.schedule is not None:
        state.schedule.load_state_dict(plain["schedule"])
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
        norms=[norm.to(_device_of(state)) for norm in plain.get("norms", [])],
        random=RandomStates(**plain["random"]) if under_way else None,
    )


def _device_of(state: TrainingState) -> torch.device:
    return next(state.model.parameters()).device
