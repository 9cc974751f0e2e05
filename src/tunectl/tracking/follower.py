"""The process that mirrors a study while it runs, and what it and the coordinator say.

It stands apart from the training: importing MLflow, an outage, a slow disk are its own affair.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
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
from tunectl.tracking.service import reason_of

RETRY_S = 15.0
# What is made for a best trial is wasted if the next one follows at once.
IDLE_S = 2.0
# What is left of a program that was stopped or killed does not stay for longer.
ALONE_S = 20.0
PAUSE_S = 0.5
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
        folder: An empty folder for models that are being made; whoever ends later removes it.
    """

    tree: ProjectTree
    storage_url: str
    study: str
    destination: Destination
    folder: Path


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

    A coordinator that is gone without a word is one that was killed; what MLflow shows as running
    is put right all the same.

    Args:
        descriptor: The socket's file descriptor.
        summarise: Makes the summary document of a study and its project folder.
    """
    connection = Connection(descriptor)
    with suppress(EOFError, OSError):  # the coordinator is gone before it has begun
        os.nice(NICENESS)
        order = connection.recv()
        try:
            Follower(order, connection, summarise).run()
        finally:
            shutil.rmtree(order.folder, ignore_errors=True)


class Follower:
    """Looks at a study whenever it is told to.

    Args:
        order: What is mirrored, and where to.
        connection: To the coordinator.
        summarise: As for `follow`.
    """

    def __init__(self, order: Follow, connection: Connection, summarise: Summarise) -> None:
        self._order = order
        self._connection = connection
        self._summarise = summarise
        self._publisher = Publisher(order.folder)
        self._session: Session | None = None
        self._tried_at_s = float("-inf")
        self._has_warned = False

    def run(self) -> None:
        """Follow the study to its end."""
        over: Over | None = None
        while over is None:
            self._look()
            over = self._wait()
        if over.in_a_hurry:
            self._leave()
        else:
            self._finish()

    def _wait(self) -> Over | None:
        """Return the next message that matters: many looks are as good as one."""
        try:
            if not self._connection.poll(IDLE_S):
                self._prepare()
            message = self._connection.recv()
            while isinstance(message, Look) and self._connection.poll(0):
                message = self._connection.recv()
        except (EOFError, OSError):
            return Over(in_a_hurry=True)
        return message if isinstance(message, Over) else None

    def _look(self) -> None:
        if self._session is None and time.monotonic() - self._tried_at_s < RETRY_S:
            return
        self._tried_at_s = time.monotonic()
        with self._warning():
            is_first = self._session is None
            session = self._open()
            self._tell_of(session.update(whole=is_first, is_going_on=True))

    def _finish(self) -> None:
        with self._warning():
            session = self._open()
            self._tell_of(session.update(whole=True))
            registering = self._order.destination.register_best
            self._tell(Done(self._publisher.publish(session, registering=registering)))

    def _leave(self) -> None:
        """Put right first what MLflow shows as running; trials may take a moment to end."""
        end = threading.Timer(ALONE_S, self._give_up)
        end.daemon = True
        end.start()
        with self._warning():
            session = self._open()
            session.update(whole=False)
            self._tell_of(session.update(whole=True))
            self._tell(Done())
            while session.has_live_trials:
                time.sleep(PAUSE_S)
                session.update(whole=False)
        end.cancel()

    def _give_up(self) -> None:
        shutil.rmtree(self._order.folder, ignore_errors=True)
        os._exit(1)

    def _open(self) -> Session:
        if self._session is None:
            self._session = Session(self._mirror())
        return self._session

    @contextmanager
    def _warning(self) -> Iterator[None]:
        """Tell of whatever goes wrong in the block, and begin anew the next time."""
        try:
            yield
        except TunectlError as error:
            self._session = None
            self._warn(str(error))
        except Exception as error:  # a mirror that ends without a word would never be missed
            self._session = None
            self._warn(f"the mirror in MLflow failed: {type(error).__name__}: {reason_of(error)}")

    def _prepare(self) -> None:
        """Make the model of the best trial so far while nothing else is to be done."""
        if self._session is not None:
            with suppress(TunectlError):
                self._publisher.prepare(self._session)

    def _warn(self, text: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._tell(Trouble(text))

    def _tell_of(self, report: MirrorReport) -> None:
        try:
            report.check(self._order.destination)
        except TrackingError as error:
            self._warn(str(error))
        else:
            self._has_warned = False
        self._tell(UpToDate(report))

    def _tell(self, message: Told) -> None:
        with suppress(OSError):  # nobody listens any more
            self._connection.send(message)

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
