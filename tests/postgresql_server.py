"""A real PostgreSQL server for tests, run from the programs in the package `pgserver`."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

PASSWORD = "s3cret-Pa55"


class Server:
    """A running server, reached by a socket in its own folder.

    Args:
        folder: The folder.
        server: What `pgserver` returned.
    """

    def __init__(self, folder: Path, server: Any) -> None:
        self.server = server
        self._folder = folder
        self._numbers = itertools.count(1)

    def new_database(self) -> str:
        """Make an empty database; return its URL, which has a password in it."""
        name = f"studies_{next(self._numbers)}"
        engine = create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self._url(name)

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres:{PASSWORD}@/{database}?host={self._folder}"


@contextmanager
def running_server() -> Iterator[Server]:
    """Run a server for as long as the block runs; skip the test where none can be started."""
    # Not a folder of pytest's, which no other user may enter: as root the server is another one.
    folder = Path(tempfile.mkdtemp(prefix="tunectl-pg-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pgserver = pytest.importorskip("pgserver", exc_type=ImportError)
            try:
                server = pgserver.get_server(folder / "data", cleanup_mode="delete")
            except Exception as error:
                pytest.skip(f"no PostgreSQL server can be started here: {error}")
        try:
            yield Server(folder / "data", server)
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
