"""The one way to MLflow: its client, made so that it neither waits for minutes nor races.

The boundary at which MLflow's errors become ours. It knows nothing of studies.
"""

from __future__ import annotations

import logging
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from tunectl.artifacts.study_dir import folder_name
from tunectl.errors import NotFoundError, TrackingError
from tunectl.tracking.destination import Destination, quieten, redacted

if TYPE_CHECKING:
    from mlflow import MlflowClient

ANSWER_S = 3.0
LONGEST_REASON = 300


@contextmanager
def mlflow_errors(destination: Destination, missing: str | None = None) -> Iterator[None]:
    """Translate whatever MLflow says within the block into an error of ours, passwords left out.

    Args:
        destination: The MLflow.
        missing: What to say where MLflow does not have what was asked for.

    Raises:
        NotFoundError: MLflow does not have it, and `missing` was given.
        TrackingError: it cannot be reached, or it refuses something.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        if missing and getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST":
            raise NotFoundError(missing) from error
        raise TrackingError(f"MLflow at {destination.shown_uri}: {reason_of(error)}") from error


@contextmanager
def noting_refusal(destination: Destination) -> Iterator[list[str]]:
    """Let what MLflow refuses within the block pass, unless it is MLflow as a whole that fails.

    Yields:
        A list that holds the reason afterwards, empty where nothing was refused.
    """
    from mlflow.exceptions import MlflowException

    refusal: list[str] = []
    try:
        yield refusal
    except (MlflowException, OSError) as error:
        if getattr(error, "error_code", None) == "TEMPORARILY_UNAVAILABLE":
            raise
        if destination.is_server:
            _wait_for_answer(destination.uri)
        refusal.append(reason_of(error))


def reason_of(error: Exception) -> str:
    """Return what an error says in a line that is not too long, passwords left out."""
    text = redacted(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"


def connect(destination: Destination) -> MlflowClient:
    """Return a client of an MLflow that has answered.

    Raises:
        TrackingError: it does not answer, or a local store cannot be made.
    """
    quieten()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    with mlflow_errors(destination):
        if destination.is_server:
            _wait_for_answer(destination.uri)
        uris = {"tracking_uri": destination.uri, "registry_uri": destination.uri}
        database = destination.database
        if database is None:
            return mlflow.MlflowClient(**uris)
        database.parent.mkdir(parents=True, exist_ok=True)
        # Creating tables from several processes at once crashes some of them.
        with FileLock(f"{database}.lock"):
            if not database.exists() or not database.stat().st_size:
                _make_store(database, destination.artifacts or database.parent)
            client = mlflow.MlflowClient(**uris)
            client.search_experiments(max_results=1)
            return client


def find_experiment(client: MlflowClient, destination: Destination) -> str:
    """Return the id of the destination's experiment, which is made if there is none.

    Raises:
        TrackingError: it was deleted in MLflow.
    """
    from mlflow.exceptions import MlflowException

    name, place = destination.experiment, None
    if destination.artifacts is not None:
        place = (destination.artifacts / folder_name(name)).as_uri()
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process was faster
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"MLflow at {destination.shown_uri}: the experiment {name!r} was deleted there; "
            "restore it, or give another mlflow.experiment_name"
        )
    return str(found.experiment_id)


def _wait_for_answer(uri: str) -> None:
    """Make sure that a server answers at all: a stopped one would hold up every later call."""
    import requests

    try:
        requests.get(uri, timeout=ANSWER_S, stream=True).close()
    except requests.exceptions.SSLError:
        return  # it answers; whether its certificate is good is MLflow's to say
    except requests.exceptions.InvalidURL as error:  # it quotes a part of the password
        raise OSError(
            "the address cannot be read; in a password, / is written %2F, and @ %40"
        ) from error
    except requests.exceptions.Timeout as error:
        raise OSError(f"no answer within {ANSWER_S:g} s") from error
    except requests.exceptions.ConnectionError as error:
        raise OSError("it cannot be reached") from error


def _make_store(database: Path, artifacts: Path) -> None:
    """Make a store beside its place and put it there whole: MLflow cannot use half of one."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    beside = database.with_name(f"{database.name}.new")
    for leftover in (beside, beside.with_name(f"{beside.name}-journal")):
        leftover.unlink(missing_ok=True)
    store = SqlAlchemyStore(f"sqlite:///{beside}", artifacts.as_uri())  # type: ignore[no-untyped-call]
    store.engine.dispose()
    with closing(sqlite3.connect(beside)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for a writer
    beside.replace(database)
