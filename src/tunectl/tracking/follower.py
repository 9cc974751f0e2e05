"""The process that mirrors a study while it runs, and what it and the coordinator say.

It stands apart from the training: importing MLflow, an outage, a slow disk are its own affair.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import optuna

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.errors import StorageError, TrackingError, TunectlError
from tunectl.studies.lifecycle import load_study
from tunectl.studies.storage import open_storage
from tunectl.tracking.destination import Destination
from tunectl.tracking.mirror import Mirror, MirrorReport, Session
from tunectl.tracking.publish import Published, Publisher

RETRY_S = 15.0
# What is made for a best trial is wasted if the next one follows at once.
IDLE_S = 2.0
NICENESS = 10

Summarise = Callable[[optuna.Study, Path], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Follow:
    """The first message: all that the process has to know.

    Args:
        tree: Where the project keeps its files.
        storage_url: The database's URL, which may hold a password and so is on no command line.
        study: The study's name.
        destination: The MLflow.
    """

    tree: ProjectTree
    storage_url: str
    study: str
    destination: Destination


@dataclass(frozen=True)
class Look:
    """A trial has begun or ended."""


@dataclass(frozen=True)
class Over:
    """No more trials come.

    Args:
        in_a_hurry: Whether the program has been told to stop, so that no model is logged.
    """

    in_a_hurry: bool = False


@dataclass(frozen=True)
class Trouble:
    """MLflow was not brought up to date."""

    text: str


@dataclass(frozen=True)
class UpToDate:
    """MLflow holds the study's runs."""

    report: MirrorReport


@dataclass(frozen=True)
class Done:
    """The last message: all is done, the model too.

    Args:
        published: The model and its registration, None where there is no model.
    """

    published: Published | None = None


Told = Trouble | UpToDate | Done


def follow(descriptor: int, summarise: Summarise) -> None:
    """Mirror a study until the coordinator at the other end of a socket says that it is over.

    Args:
        descriptor: The socket's file descriptor.
        summarise: Makes the summary document of a study and its project folder.
    """
    connection = Connection(descriptor)
    with suppress(EOFError, OSError):  # the coordinator is gone: the next call catches up
        os.nice(NICENESS)
        order = connection.recv()
        with tempfile.TemporaryDirectory(prefix="tunectl-mlflow-") as folder:
            _Follower(order, connection, summarise, Path(folder)).run()


class _Follower:
    def __init__(
        self, order: Follow, connection: Connection, summarise: Summarise, folder: Path
    ) -> None:
        self._order = order
        self._connection = connection
        self._summarise = summarise
        self._publisher = Publisher(folder)
        self._session: Session | None = None
        self._tried_at_s = float("-inf")
        self._has_warned = False

    def run(self) -> None:
        over: Over | None = None
        while over is None:
            self._look()
            over = self._wait()
        self._finish(over)

    def _wait(self) -> Over | None:
        """Return the next message that matters: many looks are as good as one."""
        if not self._connection.poll(IDLE_S):
            self._prepare()
        message = self._connection.recv()
        while isinstance(message, Look) and self._connection.poll(0):
            message = self._connection.recv()
        return message if isinstance(message, Over) else None

    def _look(self) -> None:
        if self._session is None and time.monotonic() - self._tried_at_s < RETRY_S:
            return
        self._tried_at_s = time.monotonic()
        try:
            if self._session is None:
                self._session = Session(self._mirror())
                report = self._session.update(whole=True, is_going_on=True)
            else:
                report = self._session.update(whole=False, is_going_on=True)
        except (TrackingError, StorageError) as error:
            self._session = None
            self._warn(str(error))
        else:
            self._has_warned = False
            self._connection.send(UpToDate(report))

    def _finish(self, over: Over) -> None:
        try:
            session = self._session or Session(self._mirror())
            self._connection.send(UpToDate(session.update(whole=True)))
            self._has_warned = False
            published = None
            if not over.in_a_hurry:
                registering = self._order.destination.register_best
                published = self._publisher.publish(session, registering=registering)
        except (TrackingError, StorageError) as error:
            self._warn(str(error))
        else:
            self._connection.send(Done(published))

    def _prepare(self) -> None:
        """Make the model of the best trial so far while nothing else is to be done."""
        if self._session is not None:
            with suppress(TunectlError):
                self._publisher.prepare(self._session)

    def _warn(self, text: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._connection.send(Trouble(text))

    def _mirror(self) -> Mirror:
        order = self._order
        return open_mirror(
            order.storage_url, order.study, order.tree, order.destination, self._summarise
        )


def open_mirror(
    url: str, name: str, tree: ProjectTree, destination: Destination, summarise: Summarise
) -> Mirror:
    """Return the mirror of a stored study.

    Args:
        url: The database's URL.
        name: The study's name.
        tree: Where the project keeps its files.
        destination: The MLflow.
        summarise: Makes the summary document of a study and its project folder.

    Raises:
        StorageError: the database is gone.
        StudyNotFoundError: there is no such study.
    """
    storage = open_storage(url, create=False)
    if storage is None:
        raise StorageError("the database is gone")

    def summary() -> Mapping[str, Any]:
        # Read anew: ended trials that were read before lack the ids of their runs.
        return summarise(load_study(open_storage(url, create=False), name), tree.project)

    return Mirror(
        study=load_study(storage, name),
        storage=storage,
        storage_url=url,
        tree=tree,
        destination=destination,
        summarise=summary,
    )
