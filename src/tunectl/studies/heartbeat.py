"""Signs of life in the database, for machines that cannot see each other's locks.

While a trial runs, its worker writes the time into Optuna's table of heartbeats every minute. The
time is the database's own, in UTC, and so is the one that it is compared with: the clocks of the
workers' machines do not matter. A SQLite file on a network file system has no clock of its own, so
there those of the machines count, and they should agree to within a minute.

A SQLite file on a local disk has no heartbeats: whoever can open it can see the locks.
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
import threading
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import TracebackType

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import (
    ColumnElement,
    DateTime,
    Engine,
    Integer,
    column,
    func,
    insert,
    select,
    table,
    type_coerce,
    update,
)
from sqlalchemy.exc import IntegrityError

from tunectl.studies.file_systems import Mounts, current_mounts, mount_of

log = logging.getLogger(__name__)

HEARTBEAT_S = 60.0
# Whoever has not been heard of for three beats is gone.
GRACE_S = 3 * HEARTBEAT_S
# After an error, so that a database that is back is not left waiting.
RETRY_S = 5.0
# The thread may be waiting for a database that does not answer.
JOIN_S = 2.0

_BEATS = table("trial_heartbeats", column("trial_id", Integer), column("heartbeat", DateTime))


class Heartbeats:
    """The heartbeats in a database.

    Args:
        engine: The database, None for one that keeps none.
        mounts: Says what is mounted where.
    """

    def __init__(self, engine: Engine | None, mounts: Mounts = current_mounts) -> None:
        self._engine = engine
        self._mounts = mounts

    @functools.cached_property
    def are_needed(self) -> bool:
        """Whether other machines can reach the database."""
        if self._engine is None:
            return False
        if self.are_of_a_server:
            return True
        mount = mount_of(Path(str(self._engine.url.database)), self._mounts())
        return mount is not None and mount.is_network

    @property
    def are_of_a_server(self) -> bool:
        """Whether the database is a server, which has a clock of its own."""
        return self._engine is not None and self._engine.dialect.name != "sqlite"

    def beat(self, trial_id: int) -> None:
        """Write that a trial is alive now.

        Raises:
            SQLAlchemyError: the database cannot be written.
        """
        if self._engine is None:
            return
        now, one = _now(self._engine), _BEATS.c.trial_id == trial_id
        # Two first beats at once, or a study that has been deleted.
        with suppress(IntegrityError), self._engine.begin() as connection:
            if not connection.execute(update(_BEATS).where(one).values(heartbeat=now)).rowcount:
                connection.execute(insert(_BEATS).values(trial_id=trial_id, heartbeat=now))

    def ages_s(self, trial_ids: Collection[int]) -> dict[int, float]:
        """Return how many seconds ago trials were last heard of; those never heard of are left out.

        An age is negative where the database's clock has been put back since.

        Raises:
            SQLAlchemyError: the database cannot be read.
        """
        if self._engine is None or not trial_ids:
            return {}
        now = type_coerce(_now(self._engine), DateTime).label("now")
        query = select(_BEATS.c.trial_id, _BEATS.c.heartbeat, now)
        with self._engine.connect() as connection:
            rows = connection.execute(query.where(_BEATS.c.trial_id.in_(list(trial_ids)))).all()
        return {trial_id: _seconds(beat, now) for trial_id, beat, now in rows}


def heartbeats_of(study: optuna.Study) -> Heartbeats:
    """Return the heartbeats of the database that a study is stored in."""
    storage = study._storage
    backend = getattr(storage, "_backend", storage)  # Optuna puts a cache before it
    return Heartbeats(backend.engine if isinstance(backend, RDBStorage) else None)


def is_silent(age_s: float) -> bool:
    """Whether a heartbeat of that age means that nobody is left to make another one.

    One from the future means it too: a worker that lives has written a new one since the database's
    clock was put back.
    """
    return abs(age_s) > GRACE_S


def beating(trial: optuna.Trial) -> AbstractContextManager[object]:
    """Return what keeps telling the database that a trial is alive, for as long as a block runs.

    Returns:
        Something that does nothing where no other machine can ask.
    """
    heartbeats = heartbeats_of(trial.study)
    if not heartbeats.are_needed:
        return nullcontext()
    return Heart(heartbeats, trial._trial_id, trial.number)


class Heart:
    """A thread that writes a trial's heartbeats.

    Args:
        heartbeats: Those of the database.
        trial_id: The trial in the database.
        number: The trial's number, for messages.
        every_s: Time between two beats.
        retry_s: Time after one that failed.
    """

    def __init__(
        self,
        heartbeats: Heartbeats,
        trial_id: int,
        number: int,
        *,
        every_s: float = HEARTBEAT_S,
        retry_s: float = RETRY_S,
    ) -> None:
        self._heartbeats = heartbeats
        self._trial_id = trial_id
        self._number = number
        self._every_s = every_s
        self._retry_s = retry_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Heart:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join(JOIN_S)

    def _run(self) -> None:
        failed = False
        while True:
            try:
                self._heartbeats.beat(self._trial_id)
                failed = False
            except Exception as error:  # a database that is away for a while costs no trial
                if not failed:
                    log.warning(
                        "the database did not hear that trial %d is alive: %s; trying again",
                        self._number,
                        _first_line(error),
                    )
                failed = True
            if self._stopped.wait(self._retry_s if failed else self._every_s):
                return


def _now(engine: Engine) -> ColumnElement[dt.datetime]:
    """Return the database's present time in UTC.

    Optuna's own heartbeats are in the time zone of the session, in which an hour is missing once a
    year.
    """
    if engine.dialect.name == "postgresql":
        return func.timezone("UTC", func.now())
    if engine.dialect.name in ("mariadb", "mysql"):
        return func.utc_timestamp()
    return func.current_timestamp()


def _seconds(beat: dt.datetime, now: dt.datetime) -> float:
    return (now - beat).total_seconds()


def _first_line(error: Exception) -> str:
    text = str(getattr(error, "orig", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__
