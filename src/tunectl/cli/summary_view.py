"""`summary` for people: how far a study is, its best trial, and what it has taught so far."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.columns import Columns
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tunectl.cli.render import best_view, fields, front_view, states_text, trial_table
from tunectl.reports.words import duration, number, value_text

if TYPE_CHECKING:
    from tunectl.reports.bounds import NearBound
    from tunectl.reports.effort import Effort
    from tunectl.reports.importances import Importances
    from tunectl.reports.insights import Insights
    from tunectl.reports.running_now import RunningNow
    from tunectl.reports.summary import StudySummary, TrialSummary

LAST = 10
MOST_IMPORTANCES = 10
MOST_BOUNDS = 5
SPARKS, ASCII_SPARKS = "▁▂▃▄▅▆▇█", "_.-=+*%#"
SPARKLINE_WIDTH = 30
BAR_WIDTH = 20
LONGEST_NAME = 44
_WIDE = 10.0
"""Values that differ by this factor are drawn in their logarithm."""


def summary_view(
    summary: StudySummary,
    insights: Insights,
    top: Sequence[TrialSummary] | None = None,
    *,
    ascii_only: bool = False,
) -> list[Any]:
    """Return a study at a glance.

    Args:
        summary: The study.
        insights: What it has taught so far.
        top: The trials to list instead of the last ones.
        ascii_only: Whether the terminal has no other characters.
    """
    views = [head_view(summary, insights, ascii_only=ascii_only), Text("")]
    if summary.best is None:
        views += [Text("no trial is complete yet", style="dim"), Text("")]
    else:
        views += [*front_view(summary), *best_view(summary.best, summary), Text("")]
    views += _trials_view(summary, top)
    views += lessons_view(summary, insights, ascii_only=ascii_only)
    while views and isinstance(views[-1], Text) and not views[-1].plain:
        views.pop()
    return views


def watch_view(
    summary: StudySummary,
    insights: Insights,
    top: Sequence[TrialSummary] | None = None,
    *,
    ascii_only: bool,
    height: int,
) -> list[Any]:
    """Return a study at a glance for a screen of so many lines: what changes most comes first.

    Args: as `summary_view`, and
        height: Lines of the screen.
    """
    views: list[Any] = [head_view(summary, insights, ascii_only=ascii_only, brief=True), Text("")]
    best = summary.best
    if best is not None:
        title = Text("best  ", style="bold green")
        title.append(f"trial {best.number}: {_values_text(summary, best)}", style="default")
        views.append(title)
        texts = [f"{key} {value_text(value)}" for key, value in sorted(best.params.items())]
        views.append(Padding(Columns(map(Text, texts), padding=(0, 3)), (0, 0, 0, 2)))
        views.append(Text(""))
    views += _trials_view(summary, top, count=min(LAST, max(3, height - 24)))
    most = min(MOST_IMPORTANCES, max(3, height - 20))
    return views + lessons_view(summary, insights, ascii_only=ascii_only, most=most)


def head_view(
    summary: StudySummary, insights: Insights, *, ascii_only: bool, brief: bool = False
) -> Table:
    """Return what the study is, how far it is, what it has cost and what runs now."""
    pairs: dict[str, Any] = {"study": f"{summary.name} ({summary.goal})"}
    if not brief:
        pairs |= {"storage": summary.storage, "created": summary.created_at or "unknown"}
    pairs["trials"] = _states(summary, insights.budget)
    if insights.effort.n_ended:
        pairs["time"] = effort_text(insights.effort)
    histories = list(_history_lines(summary, insights, ascii_only=ascii_only))
    if histories:
        pairs["history"] = Text("\n").join(histories)
    running = [running_text(one, summary.metric) for one in insights.running]
    if running:
        pairs["running"] = Text("\n").join(running)
    return fields(pairs)


def lessons_view(
    summary: StudySummary, insights: Insights, *, ascii_only: bool, most: int = MOST_IMPORTANCES
) -> list[Any]:
    """Return which parameters matter, and which ranges look too narrow."""
    views: list[Any] = []
    for metric, found in zip(summary.metrics, insights.importances, strict=True):
        if found is not None and len(found.shares) > 1:
            title = Text("importances", style="bold")
            title.append(f" for {metric}" if len(summary.metrics) > 1 else "")
            if found.is_rough:
                title.append(f" (rough, from {found.n_trials} completed trials)", style="dim")
            views += [title, importance_table(found, ascii_only=ascii_only, most=most)]
            if found.note:
                views.append(Padding(Text(found.note, style="dim"), (0, 0, 0, 2)))
            views.append(Text(""))
    if insights.near_bounds:
        views.append(Text("ranges that may be too narrow", style="bold yellow"))
        # The surest first: those that most of the best trials have in common.
        ranked = sorted(insights.near_bounds, key=lambda one: -one.near)
        lines = [bound_text(one) for one in ranked[:MOST_BOUNDS]]
        if len(ranked) > MOST_BOUNDS:
            lines.append(Text(f"and {len(ranked) - MOST_BOUNDS} more", style="dim"))
        views += [Padding(line, (0, 0, 0, 2)) for line in lines]
    return views


def effort_text(effort: Effort) -> str:
    """Return what a study has cost and what its pruner has saved."""
    text = f"{duration(effort.used_s)} used"
    if effort.saved_s <= 0:
        return text
    trials = "1 trial" if effort.n_pruned == 1 else f"{effort.n_pruned} trials"
    share = f"{100 * effort.saved_share:.0f} %"
    return f"{text}, about {duration(effort.saved_s)} ({share}) saved by pruning {trials}"


def running_text(running: RunningNow, metric: str) -> Text:
    """Return a line about a trial that runs now."""
    of = f"/{running.planned}" if running.planned else ""
    if running.is_interrupted:
        line = f"trial {running.number}: interrupted in epoch {running.epochs + 1}{of}"
        return Text(f"{line}; the next call takes it up", style="yellow")
    where = f" on {running.host}" if running.host else ""
    line = f"trial {running.number}{where}: epoch {running.epochs}{of}"
    if running.value is not None:
        line += f", {metric} {number(running.value)}"
    return Text(f"{line}, for {duration(running.spent_s)}", style="cyan")


def importance_table(
    found: Importances, *, ascii_only: bool, most: int = MOST_IMPORTANCES
) -> Table:
    """Return a bar for each of the parameters that matter most."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    shown = list(found.shares.items())[:most]
    largest = shown[0][1]
    for name, share in shown:
        bar = ("#" if ascii_only else "█") * round(BAR_WIDTH * share / largest)
        label = f"  {shortened(name, LONGEST_NAME, ascii_only=ascii_only)}"
        table.add_row(Text(label), Text(bar, style="cyan"), f"{100 * share:.0f} %")
    rest = len(found.shares) - len(shown)
    if rest:
        left = sum(list(found.shares.values())[most:])
        table.add_row(Text(f"  and {rest} more", style="dim"), "", f"{100 * left:.0f} %")
    return table


def bound_text(found: NearBound) -> Text:
    """Return why a range may be too narrow, and what to do about it."""
    scale = ", on its log scale" if found.log else ""
    end = f"{found.side} of {value_text(found.bound)}"
    line = Text().append(found.name, style="bold")
    if found.best is not None:
        line.append(f": the best value, {value_text(found.best)}, is near its {end}{scale}")
        if found.near > 1:
            verb = "is" if found.near == 2 else "are"
            line.append(f", as {verb} {found.near - 1} of the {found.of - 1} next best")
    else:
        line.append(f": {found.near} of the {found.of} best trials are near its {end}{scale}")
    how = "raise" if found.side == "high" else "lower"
    return line.append(f"; {how} params_to_tune.{found.name}.{found.side}")


def sparkline(values: Sequence[float], width: int, *, ascii_only: bool) -> str:
    """Return values as a line of blocks, in their logarithm where they are of several magnitudes.

    Args:
        values: Finite numbers in the order of time; of several that share a column the last counts.
        width: Columns at most.
        ascii_only: Whether there are no blocks.
    """
    if not values:
        return ""
    marks = ASCII_SPARKS if ascii_only else SPARKS
    if len(values) > width:
        values = [values[(column + 1) * len(values) // width - 1] for column in range(width)]
    if is_logarithmic(values):
        values = [math.log(value) for value in values]
    low, high = min(values), max(values)
    # Halves first: the difference of two huge numbers is not finite.
    span = high / 2 - low / 2
    if span <= 0:
        return marks[len(marks) // 2 - 1] * len(values)
    last = len(marks) - 1
    return "".join(marks[round((value / 2 - low / 2) / span * last)] for value in values)


def is_logarithmic(values: Sequence[float]) -> bool:
    """Whether values are positive and of several orders of magnitude."""
    return min(values) > 0 and max(values) / min(values) >= _WIDE


def shortened(name: str, most: int, *, ascii_only: bool) -> str:
    """Return a dotted key with its beginning left out where it is too long: the end tells more."""
    dots = "..." if ascii_only else "…"
    return name if len(name) <= most else dots + name[len(dots) - most :]


def _states(summary: StudySummary, budget: int | None) -> Text:
    text = states_text(summary.states)
    finished = summary.states["complete"] + summary.states["pruned"]
    if budget is not None and finished < budget:
        text.append(f"; {finished} of {budget} finished", style="dim")
    return text


def _history_lines(
    summary: StudySummary, insights: Insights, *, ascii_only: bool
) -> Iterator[Text]:
    """Yield the best value so far of each metric as a curve, with its ends."""
    for metric, history in zip(summary.metrics, insights.histories, strict=True):
        if len(history) < 2:
            continue
        values = [point.best for point in history]
        line = Text(sparkline(values, SPARKLINE_WIDTH, ascii_only=ascii_only), style="green")
        ends = f"best {metric} {number(values[0])} to {number(values[-1])}"
        if values[0] == values[-1]:
            ends = f"best {metric} {number(values[0])} throughout"
        elif is_logarithmic(values):
            ends += " (log)"
        yield line.append(f"  {ends}", style="default")


def _trials_view(
    summary: StudySummary, top: Sequence[TrialSummary] | None, count: int = LAST
) -> list[Any]:
    if top is not None:
        title, chosen = "the best trial", top
        if len(top) > 1:
            title = f"the {len(top)} best trials"
    else:
        ended = [trial for trial in summary.trials if trial.finished_at is not None]
        latest = sorted(ended, key=lambda one: (one.finished_at or "", one.number))
        chosen = latest[-count:]
        title = f"the last {len(chosen)} of {len(ended)} trials that have ended"
        if len(chosen) == len(ended):
            title = "trials"
    if not chosen:
        return []
    return [Text(title, style="bold"), trial_table(chosen, summary, short=True), Text("")]


def _values_text(summary: StudySummary, trial: TrialSummary) -> str:
    pairs = zip(summary.metrics, trial.values, strict=False)
    return ", ".join(f"{metric} {number(value)}" for metric, value in pairs)
