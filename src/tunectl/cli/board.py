"""The live display of a call: a line for each worker's trial, and one for the whole call.

It is told events, which costs microseconds, and drawn a few times a second whatever they are.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.text import Text

from tunectl.reports.words import number
from tunectl.running.events import (
    EpochEnded,
    Event,
    StudyStarted,
    TrialEnded,
    TrialStarted,
    WorkerLost,
)

if TYPE_CHECKING:
    from tunectl.running.outlook import Outlook

GAP = "  "
FEWEST_BAR, MOST_BAR = 6, 24
NARROW = 32
"""On fewer columns there are only numbers."""
FLAT = 6
"""On fewer lines there is no heading."""
MOST_NAME = 16
_VALUE = 9


@dataclass(frozen=True, kw_only=True)
class Row:
    """A trial that runs.

    Args:
        number: Its number.
        planned: Epochs that it is to train, None where it has none.
        adopted: Whether it was interrupted and has not yet ended an epoch since.
        epoch: The last epoch that ended.
        value: The metric then.
        best: The trial's best value so far.
        threshold: What the pruner compares that with, None where that is not known.
    """

    number: int
    planned: int | None
    adopted: bool = False
    epoch: int = 0
    value: float | None = None
    best: float | None = None
    threshold: float | None = None


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """What fits into the width: the columns after the trial's number, and the width of the bar."""

    trial: int
    epoch: int
    value: int
    bar: int
    has_threshold: bool
    has_best: bool


class Board:
    """What is to be drawn: an observer of the call, and something that Rich can draw.

    Args:
        outlook: What can be said of the call; it is told every event before the board is.
    """

    def __init__(self, outlook: Outlook) -> None:
        self._outlook = outlook
        self._study: StudyStarted | None = None
        self._best: float | None = None
        # Place → trial: a trial keeps its line to its end.
        self._rows: dict[int, Row] = {}

    def __call__(self, event: Event) -> None:
        """Take down what has happened."""
        if isinstance(event, StudyStarted):
            self._study, self._best = event, event.best_value
        elif isinstance(event, TrialStarted):
            self._remove(event.number)
            place = next(place for place in range(len(self._rows) + 1) if place not in self._rows)
            row = Row(number=event.number, planned=event.epochs, adopted=event.adopted)
            self._rows = {**self._rows, place: row}
        elif isinstance(event, EpochEnded):
            self._move(event)
        elif isinstance(event, TrialEnded):
            self._remove(event.number)
            self._best = event.value if event.is_best else self._best
        elif isinstance(event, WorkerLost):
            self._remove(event.number)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it for the terminal as it is now."""
        if self._study is None:
            return
        width, ascii_only = options.max_width, options.ascii_only
        lines = self._lines(width, console.size.height, ascii_only=ascii_only)
        for line in lines:
            line.truncate(width)
            line.no_wrap = True
        yield Group(*lines)

    def _lines(self, width: int, height: int, *, ascii_only: bool) -> list[Text]:
        """Return as many lines at any time of a call, so that what is above them stays in place."""
        rows, places = self._rows, self._places
        layout = self._layout(width, [self._judged(row) for row in rows.values()])
        # One line stays free for the cursor, and one is that of the whole call.
        space = height - 2
        lines: list[Text] = []
        if height > FLAT and width >= NARROW:
            lines.append(self._heading(layout))
            space -= 1
        shown = places if places <= space else max(0, space - 1)
        for place in range(shown):
            row = rows.get(place)
            if row is None:
                lines.append(Text(f"{'-':>{layout.trial}}{GAP}waiting", style="dim"))
            else:
                lines.append(self._line(self._judged(row), layout, ascii_only=ascii_only))
        if 0 < space < places:
            lines.append(Text(f"... and {places - shown} more", style="dim"))
        return [*lines, self._whole_line(width, ascii_only=ascii_only)]

    @property
    def _places(self) -> int:
        """How many trials run at the same time."""
        assert self._study is not None
        useful = min(self._study.workers, max(1, self._study.planned))
        return max([useful, *(place + 1 for place in self._rows)])

    def _move(self, event: EpochEnded) -> None:
        for place, row in self._rows.items():
            if row.number == event.number:
                self._rows[place] = replace(
                    row, adopted=False, epoch=event.epoch, value=event.value, best=event.best
                )
                return

    def _remove(self, trial: int | None) -> None:
        # A new one, since a thread may be drawing the old one.
        self._rows = {place: row for place, row in self._rows.items() if row.number != trial}

    def _judged(self, row: Row) -> Row:
        """Return a trial with what the pruner compares it with."""
        return replace(row, threshold=self._outlook.threshold(row.epoch))

    @property
    def _is_maximised(self) -> bool:
        return self._study is not None and self._study.directions[0] == "maximize"

    @property
    def _metric(self) -> str:
        return self._study.metrics[0] if self._study is not None else "value"

    def _layout(self, width: int, rows: Sequence[Row]) -> _Layout:
        """Return which columns fit into a width, those that tell most first."""
        trial = max([5, *(len(str(row.number)) for row in rows)])
        epoch = max([5, *(len(_epochs(row, whole=True)) for row in rows)])
        value = max(_VALUE, min(MOST_NAME, len(self._metric)))
        used = trial + len(GAP) + epoch + len(GAP) + value
        knows = any(row.threshold is not None for row in rows)
        limit = len(GAP) + len(self._limit_title)
        best = len(GAP) + _VALUE
        bar = len(GAP) + FEWEST_BAR
        has_threshold = knows and used + limit <= width
        used += limit if has_threshold else 0
        has_bar = used + bar <= width
        has_best = used + best + (bar if has_bar else 0) <= width
        used += best if has_best else 0
        room = width - used - len(GAP)
        return _Layout(
            trial=trial,
            epoch=epoch,
            value=value,
            bar=min(MOST_BAR, room) if has_bar else 0,
            has_threshold=has_threshold,
            has_best=has_best,
        )

    @property
    def _limit_title(self) -> str:
        return "pruned below" if self._is_maximised else "pruned above"

    def _heading(self, layout: _Layout) -> Text:
        cells = [f"{'trial':>{layout.trial}}"]
        if layout.bar:
            cells.append(" " * layout.bar)
        cells += [f"{'epoch':>{layout.epoch}}", f"{self._metric[:MOST_NAME]:>{layout.value}}"]
        if layout.has_best:
            cells.append(f"{'best':>{_VALUE}}")
        if layout.has_threshold:
            cells.append(self._limit_title)
        return Text(GAP.join(cells), style="dim")

    def _line(self, row: Row, layout: _Layout, *, ascii_only: bool) -> Text:
        line = Text(f"{row.number:>{layout.trial}}", style="cyan")
        if layout.bar:
            share = row.epoch / row.planned if row.planned else 0.0
            line.append(GAP).append(bar(share, layout.bar, ascii_only=ascii_only))
        line.append(f"{GAP}{_epochs(row):>{layout.epoch}}", style="default")
        if row.value is None:
            state = "is taken up again" if row.adopted else "starts"
            return line.append(f"{GAP}{state}", style="dim")
        line.append(f"{GAP}{_short(row.value):>{layout.value}}", style="default")
        if layout.has_best:
            line.append(f"{GAP}{_short(row.best):>{_VALUE}}", style="default")
        if layout.has_threshold and row.threshold is not None:
            text = f"{_short(row.threshold):>{len(self._limit_title)}}"
            line.append(f"{GAP}{text}", style="yellow" if self._is_in_danger(row) else "green")
        return line

    def _is_in_danger(self, row: Row) -> bool:
        """Whether a trial's best value is on the wrong side of the pruner's."""
        if row.best is None or row.threshold is None:
            return False
        worse, than = (row.threshold, row.best) if self._is_maximised else (row.best, row.threshold)
        return worse > than

    def _whole_line(self, width: int, *, ascii_only: bool) -> Text:
        """Return the line of the whole call: what fits of its bar, the time left and the best."""
        total, done = self._outlook.total, min(self._outlook.done, self._outlook.total)
        count = f"{done}/{total}"
        parts = [part for part in (self._time_left(), self._best_text()) if part]
        line = Text("study", style="bold")
        if width >= NARROW:
            length = max(FEWEST_BAR, min(MOST_BAR, width // 8))
            share = done / total if total else 0.0
            line.append(GAP).append(bar(share, length, ascii_only=ascii_only))
        line.append(f"{GAP}{count}", style="default")
        for part in parts:
            if line.cell_len + len(GAP) + len(part) <= width:
                line.append(f"{GAP}{part}", style="default")
        return line

    def _best_text(self) -> str:
        return "" if self._best is None else f"best {self._metric} {number(self._best)}"

    def _time_left(self) -> str:
        left = self._outlook.time_left()
        if left is None:
            return ""
        finish = time.strftime("%H:%M", time.localtime(time.time() + left.seconds))
        about = "at most" if left.is_bound else "about"
        return f"{about} {roughly(left.seconds)} left (until {finish})"


def roughly(seconds: float) -> str:
    """Return an estimated duration, with no more digits than it is worth."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def bar(share: float, width: int, *, ascii_only: bool) -> Text:
    """Return a bar of so many columns, filled to a share between 0 and 1."""
    full, empty = ("#", ".") if ascii_only else ("━", "─")
    filled = round(width * min(1.0, max(0.0, share)))
    return Text(full * filled, style="cyan").append(empty * (width - filled), style="dim")


def _epochs(row: Row, *, whole: bool = False) -> str:
    epoch = row.planned if whole and row.planned else row.epoch
    return f"{epoch}/{row.planned}" if row.planned else str(epoch)


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
