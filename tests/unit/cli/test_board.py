"""The live display, drawn for terminals of any size from events that are fed by hand."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.pruners import MedianPruner
from rich.console import Console

from tunectl.cli.board import Board, roughly
from tunectl.cli.progress import LineProgress, follow
from tunectl.config.search_schema import Direction
from tunectl.running.events import (
    EpochEnded,
    Event,
    StudyStarted,
    TrialEnded,
    TrialStarted,
    WorkerLost,
)
from tunectl.running.outlook import Outlook
from tunectl.studies.budget import Budget


def started(workers: int = 2, direction: Direction = "minimize") -> StudyStarted:
    return StudyStarted(
        study="s",
        metrics=["val_mse"],
        directions=[direction],
        planned=20,
        best_value=0.5,
        workers=workers,
    )


def trial(number: int, *, adopted: bool = False, epochs: int | None = 50) -> TrialStarted:
    return TrialStarted(
        number=number, parameters={}, epochs=epochs, adopted=adopted, directory=Path()
    )


def epoch(number: int, epoch: int, value: float, best: float | None = None) -> EpochEnded:
    return EpochEnded(number=number, epoch=epoch, value=value, best=value if best is None else best)


def ended(number: int, value: float | None = 0.25) -> TrialEnded:
    return TrialEnded(
        number=number,
        state="failed" if value is None else "complete",
        value=value,
        epochs=50,
        duration_s=12.0,
        error="it broke" if value is None else None,
        directory=Path(),
        is_best=value is not None,
    )


def outlook_of(direction: Direction = "minimize") -> Outlook:
    """Return what can be said of a call whose study has a median of 0.3 at each epoch."""
    study = optuna.create_study(direction=direction, pruner=MedianPruner(0, 0))
    curve = dict.fromkeys(range(1, 51), 0.3)
    study.add_trial(optuna.trial.create_trial(value=0.3, intermediate_values=curve))
    return Outlook(study, Budget(until=20), "sqlite:///s.db")


def drawn(
    *events: Event,
    width: int = 80,
    height: int = 24,
    direction: Direction = "minimize",
    encoding: str = "utf-8",
) -> list[str]:
    """Return the lines that the display has after some events."""
    outlook = outlook_of(direction)
    board = Board(outlook)
    for event in events:
        outlook(event)
        board(event)
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=out, width=width, height=height)
    with console.capture() as captured:
        console.print(board)
    return captured.get().splitlines()


def test_a_trial_has_a_line_with_epoch_metric_best_and_what_the_pruner_compares_with() -> None:
    heading, line, idle, whole = drawn(started(), trial(7), epoch(7, 25, 0.4, best=0.2))

    assert heading.split() == ["trial", "epoch", "val_mse", "best", "pruned", "above"]
    assert line.split() == ["7", "━" * 12 + "─" * 12, "25/50", "0.4", "0.2", "0.3"]
    assert idle.split() == ["-", "waiting"]
    assert whole.startswith("study") and "1/20" in whole and "best val_mse 0.5" in whole


def test_where_more_is_better_a_trial_is_pruned_below() -> None:
    heading = drawn(started(1, "maximize"), trial(0), epoch(0, 1, 0.4), direction="maximize")[0]
    assert heading.endswith("pruned below")


def test_a_trial_keeps_its_line_until_it_ends_and_a_lost_one_goes() -> None:
    events: list[Event] = [started(), trial(1), trial(2), ended(1), trial(3)]
    assert [line.split()[0] for line in drawn(*events)[1:3]] == ["3", "2"]

    lost = WorkerLost(worker=1, number=3, reason="killed")
    again = drawn(*events, lost, trial(3, adopted=True))
    assert "is taken up again" in again[1]


@pytest.mark.parametrize("width", [20, 31, 32, 40, 60, 80, 200])
@pytest.mark.parametrize("height", [5, 6, 10, 24])
@pytest.mark.parametrize("workers", [1, 2, 16])
def test_every_terminal_gets_lines_that_fit_and_as_many_at_any_time(
    width: int, height: int, workers: int
) -> None:
    numbers = range(99, 99 + workers)
    stages: list[list[Event]] = [
        [started(workers)],
        [started(workers), *map(trial, numbers)],
        [started(workers), *map(trial, numbers), *(epoch(n, 17, 1.2345e-5) for n in numbers)],
        [started(workers), *map(trial, numbers), *map(ended, numbers)],
    ]
    pictures = [drawn(*events, width=width, height=height) for events in stages]

    assert len({len(lines) for lines in pictures}) == 1
    for lines in pictures:
        assert len(lines) < height
        assert all(len(line) <= width for line in lines)
        assert lines[-1].startswith("study")
    if width >= 20:
        assert "17/50" in "\n".join(pictures[2])


def test_workers_that_do_not_fit_are_counted() -> None:
    lines = drawn(started(16), *map(trial, range(16)), width=80, height=12)

    assert lines[-2] == "... and 8 more"
    assert [line.split()[0] for line in lines[1:-2]] == [str(number) for number in range(8)]


def test_a_terminal_without_blocks_gets_plain_characters() -> None:
    lines = drawn(started(1), trial(0), epoch(0, 25, 0.4), encoding="ascii")
    assert "############............" in lines[1]
    assert all(line.isascii() for line in lines)


def test_nothing_is_drawn_before_the_study_begins() -> None:
    assert drawn() == []


def test_an_estimate_has_no_more_digits_than_it_is_worth() -> None:
    assert [roughly(s) for s in (0.4, 42.4, 59.9, 150, 3599, 3700, 90_000)] == [
        "0 s",
        "42 s",
        "1 min",
        "2 min",
        "1 h 0 min",
        "1 h 2 min",
        "25 h 0 min",
    ]


def lines_of(console: Console, *events: Event, verbosity: int = 0) -> list[str]:
    """Return what is said without a terminal."""
    display, observer = follow(console, outlook_of(), quiet=False, verbosity=verbosity)
    assert isinstance(observer, LineProgress)
    with display:
        for event in events:
            observer(event)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


EVENTS = (started(), trial(3, adopted=True), epoch(3, 1, 0.5), epoch(3, 2, 0.75, 0.5), ended(3))


def test_without_a_terminal_there_is_a_line_for_each_trial_and_with_v_for_each_epoch() -> None:
    plain = lines_of(Console(file=io.StringIO(), width=200), *EVENTS)
    verbose = lines_of(Console(file=io.StringIO(), width=200), *EVENTS, verbosity=1)

    assert plain == [
        "study s: 20 trials to run by 2 workers, minimize val_mse, best so far 0.5",
        "trial 3 was interrupted and is taken up again",
        "[1/20] trial 3   complete val_mse 0.25, 50 epochs in 12.0 s  best",
    ]
    epochs = [
        "trial 3 epoch 1/50: val_mse 0.5, best 0.5",
        "trial 3 epoch 2/50: val_mse 0.75, best 0.5",
    ]
    assert verbose == [*plain[:2], *epochs, plain[2]]


def test_what_failed_is_not_counted_where_the_study_is_to_have_so_many() -> None:
    failed = replace(ended(3), state="failed", value=None, is_best=False, error="no luck")
    for counts, numbers in ((False, ["[0/20]", "[1/20]"]), (True, ["[1/20]", "[2/20]"])):
        begun = replace(started(), counts_failed=counts)
        console = Console(file=io.StringIO(), width=200)
        _, first, second = lines_of(console, begun, failed, ended(4))
        assert [first.split()[0], second.split()[0]] == numbers


def test_a_dumb_terminal_gets_lines_and_quiet_nothing() -> None:
    dumb = Console(file=io.StringIO(), force_terminal=True, width=200, _environ={"TERM": "dumb"})
    assert len(lines_of(dumb, *EVENTS)) == 3

    quiet = Console(file=io.StringIO(), force_terminal=True)
    display, observer = follow(quiet, outlook_of(), quiet=True)
    with display:
        for event in EVENTS:
            observer(event)
    assert isinstance(quiet.file, io.StringIO)
    assert quiet.file.getvalue() == ""


def test_a_terminal_shows_what_happened_and_is_left_clean() -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=80, height=24, _environ={})
    display, observer = follow(screen, outlook_of(), quiet=False)
    with display:
        for event in (*EVENTS, ended(4, None)):
            observer(event)

    assert isinstance(screen.file, io.StringIO)
    seen = screen.file.getvalue()
    for text in ("20 trials to run", "taken up again", "0.25", "it broke"):
        assert text in seen
    assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h") == 1  # the cursor
    assert seen.endswith("\x1b[2K")  # the display's own lines are erased
