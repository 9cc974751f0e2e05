"""A running study on the terminal: a live display where there is one, else plain lines.

Both are observers of `running.events` and write to standard error.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from tunectl.cli.render import STATE_STYLES, duration, number
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


def follow(
    console: Console, *, quiet: bool
) -> tuple[AbstractContextManager[object], Callable[[Event], None]]:
    """Return a display of a running study: what to enter while it runs, and its observer.

    Args:
        console: Standard error.
        quiet: Show nothing.
    """
    if quiet:
        return nullcontext(), lambda _event: None
    if console.is_terminal and not console.is_dumb_terminal:
        live = LiveProgress(console)
        return live.progress, live
    return nullcontext(), LineProgress(console)


class LineProgress:
    """A line when a trial starts and one when it ends.

    Args:
        console: Where the lines go.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._metric = "value"
        self._planned = 0
        self._done = 0

    def __call__(self, event: Event) -> None:
        """Write the event's line, if it has one."""
        if isinstance(event, StudyStarted):
            self._metric, self._planned = event.metrics[0], event.planned
            self._say(Text(started_text(event)))
        elif isinstance(event, TrialStarted) and event.adopted:
            self._say(Text(f"trial {event.number} was interrupted and is taken up again"))
        elif isinstance(event, TrialEnded):
            self._done += 1
            line = Text(f"[{self._done}/{max(self._planned, self._done)}] ")
            self._say(line + ended_text(event, self._metric))
        elif isinstance(event, TrialsAwaited):
            self._say(awaited_text(event))
        elif isinstance(event, WorkerLost):
            self._say(lost_text(event))

    def _say(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)


class LiveProgress:
    """A bar for all trials and one for each that runs; finished trials scroll by above them.

    Args:
        console: The terminal.
    """

    def __init__(self, console: Console) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[note]}", table_column=Column(ratio=1, no_wrap=True)),
            console=console,
            expand=True,
            transient=True,
        )
        self._metric = "value"
        self._best: float | None = None
        self._durations_s: list[float] = []
        self._workers = 1
        self._study: TaskID | None = None
        self._trials: dict[int, TaskID] = {}

    def __call__(self, event: Event) -> None:
        """Move the bars."""
        if isinstance(event, StudyStarted):
            self._metric, self._best = event.metrics[0], event.best_value
            self._workers = event.workers
            self.progress.console.print(Text(started_text(event)))
            self._study = self.progress.add_task("study", total=event.planned, note="")
        elif isinstance(event, TrialStarted):
            self._start(event)
        elif isinstance(event, EpochEnded):
            self._move(event)
        elif isinstance(event, TrialEnded):
            self._end(event)
        elif isinstance(event, TrialsAwaited):
            self.progress.console.print(awaited_text(event))
        elif isinstance(event, WorkerLost):
            self._drop(event.number)
            self.progress.console.print(lost_text(event))

    def _start(self, event: TrialStarted) -> None:
        again = " (taken up again)" if event.adopted else ""
        name = f"trial {event.number}{again}"
        self._drop(event.number)
        self._trials[event.number] = self.progress.add_task(name, total=event.epochs or 0, note="")
        self._note_study()

    def _move(self, event: EpochEnded) -> None:
        if event.number in self._trials:
            note = f"{self._metric} {number(event.value)}"
            self.progress.update(self._trials[event.number], completed=event.epoch, note=note)

    def _drop(self, trial: int | None) -> None:
        if trial in self._trials:
            self.progress.remove_task(self._trials.pop(trial))

    def _end(self, event: TrialEnded) -> None:
        self._drop(event.number)
        if event.is_best:
            self._best = event.value
        self._durations_s.append(event.duration_s)
        self.progress.console.print(ended_text(event, self._metric))
        if self._study is not None:
            self.progress.advance(self._study)
            self._note_study()

    def _note_study(self) -> None:
        if self._study is None:
            return
        note = f"best {self._metric} {number(self._best)}"
        task = next(one for one in self.progress.tasks if one.id == self._study)
        if self._durations_s and task.total:
            mean_s = sum(self._durations_s) / len(self._durations_s)
            left_s = mean_s * max(0.0, task.total - task.completed) / self._workers
            finish = time.strftime("%H:%M", time.localtime(time.time() + left_s))
            note += f", about {duration(left_s)} left (until {finish})"
        self.progress.update(self._study, note=note)


def started_text(event: StudyStarted) -> str:
    """Return the first line of a call."""
    best = "" if event.best_value is None else f", best so far {number(event.best_value)}"
    trials = "1 trial" if event.planned == 1 else f"{event.planned} trials"
    pairs = zip(event.directions, event.metrics, strict=True)
    goal = ", ".join(f"{direction} {metric}" for direction, metric in pairs)
    workers = f" by {event.workers} workers" if event.workers > 1 else ""
    return f"study {event.study}: {trials} to run{workers}, {goal}{best}"


def ended_text(event: TrialEnded, metric: str) -> Text:
    """Return the line of a finished trial."""
    line = Text(f"trial {event.number:<3} ")
    line.append(f"{event.state:<8}", style=STATE_STYLES[event.state])
    if event.value is not None:
        line.append(f" {metric} {number(event.value)},")
    epochs = "1 epoch" if event.epochs == 1 else f"{event.epochs} epochs"
    line.append(f" {epochs} in {duration(event.duration_s)}")
    if event.is_best:
        line.append("  best", style="bold green")
    if event.error:
        line.append(f"  {event.error}", style="red")
    return line


def lost_text(event: WorkerLost) -> Text:
    """Return the line of a worker that is gone."""
    where = "" if event.number is None else f" in trial {event.number}"
    return Text(f"worker {event.worker} was lost{where}: {event.reason}", style="yellow")


def awaited_text(event: TrialsAwaited) -> Text:
    """Return a line for each trial of another call that has to end before this one can."""
    return Text("\n").join(Text(_awaited_line(one)) for one in event.trials)


def _awaited_line(trial: AwaitedTrial) -> str:
    line = f"waiting for trial {trial.number}, which "
    if trial.is_seen:
        return line + "another process runs"
    where = f"runs on {trial.host}" if trial.host else "another process runs"
    if trial.silent_s is not None:
        heard = f"was last heard of {duration(trial.silent_s)} ago"
        return f"{line}{where} and {heard}; it is taken up if that goes on for some minutes"
    way_out = f"if its worker is gone: tunectl trial release {trial.number}"
    return f"{line}{where} as far as can be seen from here; {way_out}"
