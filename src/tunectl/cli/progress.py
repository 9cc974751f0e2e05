"""A running study on the terminal: a live display where there is one, else plain lines.

Both are observers of `running.events` and write to standard error.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tunectl.cli.board import Board
from tunectl.cli.render import STATE_STYLES
from tunectl.reports.words import duration, number
from tunectl.running.events import (
    AwaitedTrial,
    EpochEnded,
    Event,
    StudyStarted,
    TrialEnded,
    TrialsAwaited,
    TrialStarted,
    WorkerLost,
)

if TYPE_CHECKING:
    from tunectl.running.outlook import Outlook

DRAWN_HZ = 5.0


def follow(
    console: Console,
    outlook: Outlook,
    *,
    quiet: bool,
    command: Callable[[str], str] = "tunectl {}".format,
    verbosity: int = 0,
) -> tuple[AbstractContextManager[object], Callable[[Event], None]]:
    """Return a display of a running study: what to enter while it runs, and its observer.

    Args:
        console: Standard error.
        outlook: What can be said of the call; it is told every event first.
        quiet: Show nothing but what may hold the call up for ever.
        command: Makes a whole command line of one for this project.
        verbosity: How often -v was given.
    """
    if quiet:
        return nullcontext(), QuietProgress(console, command)
    if console.is_terminal and not console.is_dumb_terminal:
        live = LiveProgress(console, outlook, command)
        return live.live, live
    return nullcontext(), LineProgress(console, command, epochs=verbosity > 0)


class QuietProgress:
    """Nothing, unless the call has to wait for what may never end.

    Args:
        console: Where that is said.
        command: Makes a whole command line of one for this project.
    """

    def __init__(self, console: Console, command: Callable[[str], str]) -> None:
        self._console = console
        self._command = command
        self._study = ""

    def __call__(self, event: Event) -> None:
        """Write the event's line, if it has one."""
        if isinstance(event, StudyStarted):
            self._study = event.study
        elif isinstance(event, TrialsAwaited):
            unseen = [one for one in event.trials if not one.is_seen and one.silent_s is None]
            text = awaited_text(unseen, self._study, self._command)
            if unseen:
                self._console.print(text, soft_wrap=True)


class LineProgress:
    """A line when a trial ends, and for whatever else is worth one.

    Args:
        console: Where the lines go.
        command: Makes a whole command line of one for this project.
        epochs: Whether each epoch is worth one too.
    """

    def __init__(
        self, console: Console, command: Callable[[str], str], *, epochs: bool = False
    ) -> None:
        self._console = console
        self._command = command
        self._study = ""
        self._shows_epochs = epochs
        self._epochs: dict[int, int | None] = {}
        self._metric = "value"
        self._planned = 0
        self._counts_failed = True
        self._done = 0

    def __call__(self, event: Event) -> None:
        """Write the event's line, if it has one."""
        if isinstance(event, StudyStarted):
            self._metric, self._planned = event.metrics[0], event.planned
            self._counts_failed = event.counts_failed
            self._study = event.study
            self._say(Text(started_text(event)))
        elif isinstance(event, TrialStarted):
            self._epochs[event.number] = event.epochs
            if event.adopted:
                self._say(adopted_text(event))
        elif isinstance(event, EpochEnded) and self._shows_epochs:
            self._say(self._epoch_text(event))
        elif isinstance(event, TrialEnded):
            self._done += self._counts_failed or event.state != "failed"
            line = Text(f"[{self._done}/{max(self._planned, self._done)}] ")
            self._say(line + ended_text(event, self._metric))
        elif isinstance(event, TrialsAwaited):
            self._say(awaited_text(event.trials, self._study, self._command))
        elif isinstance(event, WorkerLost):
            self._say(lost_text(event))

    def _epoch_text(self, event: EpochEnded) -> Text:
        planned = self._epochs.get(event.number)
        of = f"/{planned}" if planned else ""
        values = f"{self._metric} {number(event.value)}, best {number(event.best)}"
        return Text(f"trial {event.number} epoch {event.epoch}{of}: {values}", style="dim")

    def _say(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)


class LiveProgress:
    """A line for each running trial and one for all; what has happened scrolls by above them.

    Args:
        console: The terminal.
        outlook: What can be said of the call.
        command: Makes a whole command line of one for this project.
    """

    def __init__(self, console: Console, outlook: Outlook, command: Callable[[str], str]) -> None:
        self._console = console
        self._command = command
        self._study = ""
        self._board = Board(outlook)
        self._metric = "value"
        self.live = Live(self._board, console=console, refresh_per_second=DRAWN_HZ, transient=True)

    def __call__(self, event: Event) -> None:
        """Show what has happened."""
        if isinstance(event, StudyStarted):
            self._metric, self._study = event.metrics[0], event.study
            self._console.print(Text(started_text(event)))
            self._board(event)
            self.live.refresh()  # from here on it has as many lines at any time
            return
        self._board(event)
        if isinstance(event, TrialStarted) and event.adopted:
            self._console.print(adopted_text(event))
        elif isinstance(event, TrialEnded):
            self._console.print(ended_text(event, self._metric))
        elif isinstance(event, TrialsAwaited):
            self._console.print(awaited_text(event.trials, self._study, self._command))
        elif isinstance(event, WorkerLost):
            self._console.print(lost_text(event))


def started_text(event: StudyStarted) -> str:
    """Return the first line of a call."""
    best = "" if event.best_value is None else f", best so far {number(event.best_value)}"
    trials = "1 trial" if event.planned == 1 else f"{event.planned} trials"
    pairs = zip(event.directions, event.metrics, strict=True)
    goal = ", ".join(f"{direction} {metric}" for direction, metric in pairs)
    workers = f" by {event.workers} workers" if event.workers > 1 else ""
    return f"study {event.study}: {trials} to run{workers}, {goal}{best}"


def adopted_text(event: TrialStarted) -> Text:
    """Return the line of an interrupted trial that goes on."""
    return Text(f"trial {event.number} was interrupted and is taken up again")


def ended_text(event: TrialEnded, metric: str) -> Text:
    """Return the line of a finished trial."""
    line = Text(f"trial {event.number:<3} ")
    line.append(f"{event.state:<8}", style=STATE_STYLES[event.state])
    if event.value is not None:
        line.append(f" {metric} {number(event.value)},")
    if event.epochs:
        line.append(" 1 epoch" if event.epochs == 1 else f" {event.epochs} epochs")
    line.append(f" in {duration(event.duration_s)}")
    if event.is_best:
        line.append("  best", style="bold green")
    if event.error:
        line.append(f"  {event.error}", style="red")
    return line


def lost_text(event: WorkerLost) -> Text:
    """Return the line of a worker that is gone."""
    where = "" if event.number is None else f" in trial {event.number}"
    return Text(f"worker {event.worker} was lost{where}: {event.reason}", style="yellow")


def awaited_text(trials: Sequence[AwaitedTrial], study: str, command: Callable[[str], str]) -> Text:
    """Return a line for each trial of another call that has to end before this one can."""
    lines = [Text(_awaited_line(one, study, command)) for one in trials]
    return Text("\n").join(lines)


def _awaited_line(trial: AwaitedTrial, study: str, command: Callable[[str], str]) -> str:
    line = f"waiting for trial {trial.number}, which "
    if trial.is_seen:
        return line + "another process runs"
    if trial.is_outside:
        release = command(f"trial release {trial.number} --study {shlex.quote(study)}")
        return f"{line}a script is to tell the end of; if none does: {release}"
    where = f"runs on {trial.host}" if trial.host else "another process runs"
    if trial.silent_s is not None:
        heard = f"was last heard of {duration(trial.silent_s)} ago"
        return f"{line}{where} and {heard}; it is taken up if that goes on for some minutes"
    release = command(f"trial release {trial.number} --study {shlex.quote(study)}")
    return f"{line}{where} as far as can be seen from here; if its worker is gone: {release}"
