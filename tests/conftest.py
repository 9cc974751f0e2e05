"""What several tests need: settings, and the URL of a real SQLite file."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from postgresql_server import Server, running_server
from tunectl.config.schema import Settings, Surroundings
from tunectl.config.search_schema import Search
from tunectl.config.signal_run import TrainingRun

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Before PyTorch is loaded: two test processes with as many threads as cores wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell lets its background jobs ignore Ctrl-C, as nohup does a hang-up, and so does what they
# start; several tests send these.
HEARD: dict[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGHUP: signal.SIG_DFL,
}
for number, handler in HEARD.items():
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)

# No test depends on speed, on a busy machine either.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture
def make_settings() -> Callable[..., Settings]:
    """Return a maker of settings: a search space by dotted key, and what differs."""

    def make(
        space: Mapping[str, Any] | None = None,
        *,
        constraints: Sequence[str] = (),
        run: TrainingRun | None = None,
        **study: Any,
    ) -> Settings:
        default = {"training.learning_rate": {"type": "float", "low": 1e-4, "high": 1.0}}
        search = {
            "study": study,
            "params_to_tune": default if space is None else space,
            "constraints": constraints,
        }
        return Settings(
            surroundings=Surroundings(),
            run=run or TrainingRun(),
            search=Search.model_validate(search),
        )

    return make


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Return the URL of a SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'optuna' / 'study.db'}"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """Return a PostgreSQL server."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return a headless browser."""
    from browser import running_browser

    with running_browser() as opened:
        yield opened


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mount something on a folder while the block lasts; skip the test where that is forbidden."""
    mount = ["mount", *options, str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode != 0:
        pytest.skip("mounting is not allowed")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def read_only() -> Callable[[Path], AbstractContextManager[None]]:
    """Return what makes a folder read-only while a block lasts, for root as well."""

    @contextmanager
    def make_read_only(folder: Path) -> Iterator[None]:
        with mounted(folder, "--bind", str(folder)):
            remount = ["mount", "-o", "remount,ro,bind", str(folder)]
            subprocess.run(remount, check=True)
            yield

    return make_read_only


@pytest.fixture
def small_disk() -> Callable[[Path, int], AbstractContextManager[None]]:
    """Return what lays a disk of so many kilobytes over an empty folder while a block lasts."""

    @contextmanager
    def make_small_disk(folder: Path, size_kb: int) -> Iterator[None]:
        with mounted(folder, "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs"):
            yield

    return make_small_disk


@pytest.fixture
def old_database(tmp_path: Path) -> Path:
    """Return a SQLite file with a study `old` that Optuna 2.10 wrote."""
    file = tmp_path / "optuna" / "study.db"
    file.parent.mkdir()
    script = Path(__file__).parent / "data" / "optuna-2.10.sql"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(script.read_text(encoding="utf-8"))
    return file
