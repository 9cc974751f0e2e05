"""The worker's side of an executor of processes: what runs in each process that `tune` starts.

The coordinator is heard on a thread of its own, so that a word from it, or its death, is known
while a trial runs. A worker that has lost its coordinator leaves a checkpoint and goes.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection

from tunectl.errors import StorageError, TunectlError
from tunectl.objectives.base import Rehearsable
from tunectl.objectives.registry import find_objective
from tunectl.running.executors.channel import (
    Failed,
    Finished,
    Message,
    Order,
    Permit,
    PermitReturned,
    PermitWanted,
    Rate,
    Said,
    Stop,
    TryOut,
)
from tunectl.running.launch import furnish
from tunectl.running.work import open_claims, work
from tunectl.studies.budget import Unlimited
from tunectl.studies.lifecycle import load_study
from tunectl.studies.storage import open_storage

log = logging.getLogger(__name__)

# How long a worker without a coordinator may take to leave a checkpoint. It may be killed at any
# time without harm, and whoever starts the study again should not meet it.
ORPHAN_S = 2.0


def serve(descriptor: int, told: Callable[[], bool]) -> bool:
    """Work for the coordinator at the other end of a socket, to the end.

    Args:
        descriptor: The socket's file descriptor.
        told: Whether this process itself has been told to stop.

    Returns:
        Whether the work is done: False if it was left because this process was told to stop.
    """
    connection = Connection(descriptor)
    try:
        order = connection.recv()
        while isinstance(order, TryOut):
            connection.send(_try_out(order))
            order = connection.recv()
    except (EOFError, OSError):
        return True  # the coordinator wanted no more than that
    assert isinstance(order, Order)
    line = Line(connection)
    logging.getLogger("tunectl").handlers = [LogToLine(line)]
    try:
        exhausted = _work(order, line, told)
    except TunectlError as error:
        line.send(Failed(type(error), str(error)))
    except Exception as error:
        log.debug("a worker failed", exc_info=True)
        line.send(Failed(RuntimeError, f"{type(error).__name__}: {error}"))
    else:
        if told():
            return False  # the coordinator takes it for what it is: a worker less
        line.send(Finished(exhausted))
    return True


def _try_out(wanted: TryOut) -> Rate | Failed:
    objective = find_objective(wanted.config.run)
    assert isinstance(objective, Rehearsable)
    config = wanted.config
    try:
        rate = objective.rate(
            config.run, config.runtime, wanted.project, wanted.device, wanted.seconds
        )
    except Exception as error:  # whatever it is, so many at once are too many
        return Failed(RuntimeError, f"{type(error).__name__}: {error}")
    return Rate(rate)


def _work(order: Order, line: Line, told: Callable[[], bool]) -> bool:
    storage = open_storage(order.storage_url, create=False)
    if storage is None:
        raise StorageError("the database is gone")
    place = furnish(
        load_study(storage, order.study, order.settings),
        order.settings,
        order.tree,
        order.storage_url,
        observers=(line.send,),
        should_stop=lambda: told() or line.stopped,
        device=order.device,
    )
    permits = line if order.until is None else Unlimited()
    return work(place, open_claims(place, order.until, permits))


class Line:
    """The worker's end of the socket, and its permits.

    Args:
        connection: The socket, the order taken off it.
    """

    def __init__(self, connection: Connection) -> None:
        self.stopped = False
        self._connection = connection
        self._sending = threading.Lock()
        self._answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="coordinator", daemon=True).start()

    def send(self, message: Message) -> None:
        """Tell the coordinator something. If it is gone, `_listen` knows what to do."""
        with self._sending:
            try:
                self._connection.send(message)
            except OSError:
                self.stopped = True

    def take(self) -> bool:
        """Ask for leave to run one more trial."""
        self.send(PermitWanted())
        return self._answers.get()

    def give_back(self) -> None:
        """Return a permit that no trial was found for."""
        self.send(PermitReturned())

    def _listen(self) -> None:
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                break
            if isinstance(message, Permit):
                self._answers.put(message.granted)
            elif isinstance(message, Stop):
                self.stopped = True
        self.stopped = True
        self._answers.put(False)
        end = threading.Timer(ORPHAN_S, os._exit, (1,))
        end.daemon = True
        end.start()


class LogToLine(logging.Handler):
    """Sends the worker's log to the coordinator, which alone has the terminal.

    Args:
        line: The worker's end of the socket.
    """

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        """Send the line of a record, its traceback with it."""
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        self._line.send(Said(record.levelno, text))
