"""`summary --watch`: the study at a glance again and again, while other processes run it.

It reads only, holds no transaction between two looks, and does not read what cannot have changed.
What goes wrong on the way is said and tried again; it ends when it is told to.
"""

from __future__ import annotations

import dataclasses
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from tunectl.cli.output import show, stderr, stdout
from tunectl.cli.session import Store, insights_of, load_chosen
from tunectl.cli.summary_view import summary_view, watch_view
from tunectl.errors import StorageError, StudyNotFoundError

if TYPE_CHECKING:
    import optuna

    from tunectl.reports.insights import Insights
    from tunectl.reports.summary import StudySummary
    from tunectl.studies.changes import Stamp

EVERY_S = 2.0
# A screen is drawn as often, so that running times move; a database is read as often as wanted.
TICK_S = 1.0
# What is older says so.
READ_AGAIN_S = 10.0
# Reading takes at most a fifth of the time, however large the study.
REST = 4.0
# Another process is waited for so long: a signal is not heard meanwhile.
PATIENCE_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was seen of a study.

    Args:
        summary: The study, None where there is none to be seen.
        insights: What it has taught, None likewise.
        trouble: Why there is nothing newer to be seen, None if there is no reason.
        at: When, in seconds since 1970.
    """

    summary: StudySummary | None = None
    insights: Insights | None = None
    trouble: str | None = None
    at: float

    @property
    def essence(self) -> object:
        """What has to change for the study to be worth printing once more."""
        if self.summary is None:
            return self.trouble
        front = [trial.number for trial in self.summary.front]
        return tuple(self.summary.states.items()), front, self.summary.created_at


class Watcher:
    """Looks at a study as often as it is asked, and reads it when it may have changed.

    Args:
        open_store: Opens the project's database for reading.
        name: The study's name, None for the one meant where none is named.
    """

    def __init__(self, open_store: Callable[[], Store], name: str | None) -> None:
        self._open_store = open_store
        self._name = name
        self._store: Store | None = None
        self._study: optuna.Study | None = None
        self._stamp: Stamp | None = None
        self._not_before = 0.0
        self._seen: Look | None = None

    def look(self) -> Look:
        """Return what is to be seen now.

        Raises:
            UsageError: there are several studies and none is named.
            StorageError: the database cannot be read, and never could since the beginning.
        """
        started = time.monotonic()
        if self._seen is not None and started < self._not_before:
            return self._seen
        try:
            found = self._read()
        except StudyNotFoundError as error:
            self._forget()
            found = Look(trouble=f"{error}; waiting for it", at=time.time())
        except StorageError as error:
            if self._seen is None:
                raise
            self._forget()
            found = dataclasses.replace(self._seen, trouble=f"{error}; trying again")
        self._not_before = time.monotonic() + REST * (time.monotonic() - started)
        self._seen = found
        return found

    def _read(self) -> Look:
        from tunectl.studies.changes import stamp_of

        now = time.time()
        if self._store is None:
            self._store = self._open_store()
        stamp = stamp_of(self._store.url)
        seen = self._seen
        if stamp is not None and seen is not None and seen.trouble is None:
            # Of a worker that has died the database says nothing.
            is_idle = seen.insights is not None and not seen.insights.running
            if is_idle and stamp.is_as_at(self._stamp):
                return seen
            if stamp.is_of_another_file(self._stamp):
                self._forget()
                self._store = self._open_store()
        self._stamp = stamp
        summary, insights = self._summarise(self._store)
        if seen is not None and seen.summary and summary.created_at != seen.summary.created_at:
            # Another study under the same name, of which Optuna remembers the first one's trials.
            self._forget()
            self._store = self._open_store()
            summary, insights = self._summarise(self._store)
        return Look(summary=summary, insights=insights, at=now)

    def _summarise(self, store: Store) -> tuple[StudySummary, Insights]:
        from tunectl.reports.summary import summarise
        from tunectl.studies.storage import storage_errors

        with storage_errors(store.url):
            if self._study is None:
                self._study = load_chosen(store, self._name)
            summary = summarise(self._study, store.shown_url, store.project)
            insights = insights_of(store, self._study)
        self._let_go(store)
        return summary, insights

    def _let_go(self, store: Store) -> None:
        """Close the file: an open one keeps others from changing its kind of journal."""
        if store.storage is not None and store.storage.engine.dialect.name == "sqlite":
            store.storage.engine.dispose()

    def _forget(self) -> None:
        if self._store is not None and self._store.storage is not None:
            with suppress(Exception):  # whatever is wrong with it, it is not wanted any more
                self._store.storage.engine.dispose()
        self._store = self._study = self._stamp = None


def watch(
    open_store: Callable[[], Store], name: str | None, every_s: float, top: int | None = None
) -> None:
    """Show a study until somebody says stop: on a terminal in place, else when it has changed.

    Args:
        open_store: Opens the project's database for reading.
        name: The study's name, None for the one meant where none is named.
        every_s: Seconds between two looks.
        top: How many of the best trials to list instead of the last ones.

    Raises: as `Watcher.look`.
    """
    watcher, console = Watcher(open_store, name), stdout()
    first = watcher.look()  # what is wrong with the command is said before the screen is taken
    if console.is_terminal and not console.is_dumb_terminal:
        _on_screen(console, watcher, first, every_s, top)
    else:
        _in_lines(console, watcher, first, every_s, top)


def _on_screen(
    console: Console, watcher: Watcher, look: Look, every_s: float, top: int | None
) -> None:
    with Live(console=console, screen=True, auto_refresh=False) as live:
        due = time.monotonic() + every_s
        while True:
            live.update(_page(look, console, top), refresh=True)
            time.sleep(min(TICK_S, every_s))
            if time.monotonic() >= due:
                look = watcher.look()
                due = time.monotonic() + every_s


def _in_lines(
    console: Console, watcher: Watcher, look: Look, every_s: float, top: int | None
) -> None:
    shown: object = None
    troubles: str | None = None
    with _pipe_watched() as wait:
        while True:
            if look.trouble is not None and look.trouble != troubles:
                stderr().print(Text(look.trouble, style="yellow"), soft_wrap=True)
            troubles = look.trouble
            if look.summary is not None and look.insights is not None and look.essence != shown:
                shown = look.essence
                ascii_only = console.options.ascii_only
                best = None if top is None else look.summary.top(top)
                views = summary_view(look.summary, look.insights, best, ascii_only=ascii_only)
                show(Text(f"--- {_moment(look.at)} ---"), *views, Text(""))
            if wait(every_s):
                return
            look = watcher.look()


def _page(look: Look, console: Console, top: int | None) -> Group:
    """Return what fills the screen."""
    now = time.time()
    age_s = max(0.0, now - look.at)
    read = f", read at {_moment(look.at)}" if age_s > READ_AGAIN_S else ""
    head = Text(f"{_moment(now)}{read}; Ctrl-C ends it", style="dim", no_wrap=True)
    views: list[Any] = [head]
    if look.trouble is not None:
        views.append(Text(look.trouble, style="yellow"))
    if look.summary is not None and look.insights is not None:
        insights = look.insights.aged(age_s)
        ascii_only = console.options.ascii_only
        best = None if top is None else look.summary.top(top)
        height = console.size.height
        views += watch_view(look.summary, insights, best, ascii_only=ascii_only, height=height)
    return Group(*views)


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


@contextmanager
def _pipe_watched() -> Iterator[Callable[[float], bool]]:
    """Give a function that waits so many seconds and says whether nobody reads any more.

    A pipe that is closed shows when something is written; that may be hours later.
    """
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)

    def wait(seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        if poll.poll(1000 * seconds):
            return True
        time.sleep(max(0.0, deadline - time.monotonic()))
        return False

    yield wait
