"""What coordinator and worker process say to each other, over a socket of their own.

One socket per worker: a worker that is killed in the middle of a message spoils no other's. Each
side notices at once when the other is gone, since the operating system closes its end.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.config.schema import Settings, TrialConfig
from tunectl.running.events import Event

# -- what the coordinator says -------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Order:
    """The first message: all that a worker has to know.

    Args:
        tree: Where things are written.
        storage_url: The database's URL, which may hold a password and so is on no command line.
        study: The study's name.
        settings: What its trials run with, the number of threads settled.
        device: The device that its trials run on.
        until: Finished trials that the study is to have, None to ask for each trial.
        worker: Its place among the workers, counted from 1.
    """

    tree: ProjectTree
    storage_url: str
    study: str
    settings: Settings
    device: str
    until: int | None
    worker: int


@dataclass(frozen=True, kw_only=True)
class TryOut:
    """Instead of an order, any number of times: train a little, to see how fast it goes.

    Args:
        project: Absolute path of the project folder.
        config: What is trained.
        device: The device that it is trained on.
        seconds: How long.
    """

    project: Path
    config: TrialConfig
    device: str
    seconds: float


@dataclass(frozen=True)
class Permit:
    """The answer to `PermitWanted`: whether one more trial may be run."""

    granted: bool


@dataclass(frozen=True)
class Stop:
    """Leave a checkpoint and go."""


# -- what the worker says, besides events --------------------------------------------------------


@dataclass(frozen=True)
class PermitWanted:
    """May one more trial be run?"""


@dataclass(frozen=True)
class PermitReturned:
    """There was no trial for the last permit."""


@dataclass(frozen=True)
class Finished:
    """The last message of a worker that has nothing more to do, or was told to stop."""

    exhausted: bool


@dataclass(frozen=True)
class Failed:
    """The last message of a worker that cannot go on."""

    kind: type[Exception]
    text: str


@dataclass(frozen=True)
class Rate:
    """The answer to `TryOut`: training steps per second."""

    steps_per_s: float


@dataclass(frozen=True)
class Said:
    """A line of the worker's log."""

    level: int
    text: str


Message = Event | PermitWanted | PermitReturned | Finished | Failed | Said


def pair() -> tuple[Connection, socket.socket]:
    """Return the coordinator's end, and the worker's for its new process to inherit."""
    ours, theirs = socket.socketpair()
    return Connection(ours.detach()), theirs
