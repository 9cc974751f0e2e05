"""Which worker ran which trial when.

Optuna's own figure gives each trial a line of its own, whoever ran it.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib import dates
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from optuna.trial import FrozenTrial

from tunectl.reports.figures.case import FigureCase, shorten
from tunectl.reports.figures.look import STATE_COLOURS, drawing, new_figure, style, tidy
from tunectl.studies.claimant import worker_of
from tunectl.studies.ranking import STATE_NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure as Interactive

TITLE = "Who ran which trial"
NARROWEST_NUMBERED, MOST_EDGED = 0.02, 300
HEIGHT = 0.78
UNKNOWN = "not known"
TIME_FORMATS: Any = {
    "formats": ["%Y", "%b %d", "%b %d", "%H:%M", "%H:%M", "%H:%M:%S"],
    "zero_formats": ["", "%Y", "%b %d", "%b %d", "%H:%M", "%H:%M:%S"],
    "offset_formats": ["", "%Y", "%Y", "%Y-%m-%d", "%Y-%m-%d", "%Y-%m-%d"],
}
Span = tuple[dt.datetime, dt.datetime]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One trial's time.

    Args:
        number: The trial's number.
        state: Its state by name.
        lane: Which line it stands on, from 0.
        start: When it began, local time.
        end: When it ended; now for a running one.
    """

    number: int
    state: str
    lane: int
    start: dt.datetime
    end: dt.datetime


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """All trials on their lines.

    Args:
        bars: One for each trial that has begun.
        lanes: What each line is.
    """

    bars: Sequence[Bar]
    lanes: Sequence[str]


def lack_of_timeline(case: FigureCase) -> str | None:
    """Say what is missing for a timeline."""
    return None if timeline_of(case).bars else "no trial has begun yet"


def draw_timeline(case: FigureCase) -> Figure:
    """Draw a line for each worker, with Matplotlib."""
    timeline = timeline_of(case)
    with drawing():
        figure = new_figure(10, 1.7 + 0.42 * len(timeline.lanes))
        axes = figure.subplots()
        _draw_bars(axes, timeline)
        axes.set_yticks(range(len(timeline.lanes)), timeline.lanes)
        axes.set_ylim(len(timeline.lanes) - 0.45, -0.55)
        locator: Any = dates.AutoDateLocator(minticks=3, maxticks=9)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, **TIME_FORMATS))  # type: ignore[no-untyped-call]
        axes.set_xlabel("local time")
        axes.set_title(f"{TITLE}: {case.name}", loc="left")
        tidy(axes)
        axes.grid(visible=False, axis="y")
        handles = [Patch(color=STATE_COLOURS[state], label=state) for state in _states(timeline)]
        figure.legend(handles=handles, loc="outside lower right", ncols=5, frameon=False)
    return figure


def show_timeline(case: FigureCase) -> Interactive:
    """Draw the same with Plotly."""
    from plotly import graph_objects as plotly

    timeline = timeline_of(case)
    figure = plotly.Figure()
    edge = 0.5 if len(timeline.bars) <= MOST_EDGED else 0
    for state in _states(timeline):
        bars = [bar for bar in timeline.bars if bar.state == state]
        figure.add_trace(
            plotly.Bar(
                x=[(bar.end - bar.start).total_seconds() * 1000 for bar in bars],
                y=[bar.lane for bar in bars],
                base=[bar.start.isoformat(timespec="milliseconds") for bar in bars],
                customdata=[[bar.number, (bar.end - bar.start).total_seconds()] for bar in bars],
                hovertemplate="trial %{customdata[0]}: %{base|%H:%M:%S}, %{customdata[1]:.1f} s"
                f"<extra>{state}</extra>",
                orientation="h",
                name=state,
                marker={"color": STATE_COLOURS[state], "line": {"width": edge, "color": "white"}},
            )
        )
    style(figure, TITLE, height=170 + 36 * len(timeline.lanes), barmode="overlay")
    figure.update_layout(showlegend=True)
    figure.update_xaxes(type="date", title_text="local time")
    figure.update_yaxes(
        tickvals=list(range(len(timeline.lanes))), ticktext=list(timeline.lanes),
        range=[len(timeline.lanes) - 0.5, -0.5], automargin=True, showgrid=False,
    )  # fmt: skip
    return figure


def timeline_of(case: FigureCase) -> Timeline:
    """Return the trials by worker.

    Processes of one machine that never ran at the same time share a line: a study that cron takes
    up each night has as many lines as it had workers at once, not one for each night.
    """
    now = dt.datetime.now()
    begun = [trial for trial in case.trials if trial.datetime_start is not None]
    groups: dict[str, dict[object, list[FrozenTrial]]] = defaultdict(lambda: defaultdict(list))
    for trial in begun:
        worker = worker_of(trial)
        host = UNKNOWN if worker is None else worker[0]
        # Of an unknown worker each trial is packed for itself.
        process = trial.number if worker is None else ("process", worker[1])
        groups[host][process].append(trial)
    bars: list[Bar] = []
    lanes: list[str] = []
    for host in sorted(groups):
        spans = {name: _span(trials, now) for name, trials in groups[host].items()}
        places, count = _pack(spans)
        for name, trials in groups[host].items():
            lane = len(lanes) + places[name]
            bars += [_bar(trial, lane, now) for trial in trials]
        word = shorten(host, 24)
        lanes += [f"{word}, worker {i + 1}" if count > 1 else word for i in range(count)]
    return Timeline(bars=sorted(bars, key=lambda bar: bar.number), lanes=lanes)


def _draw_bars(axes: Axes, timeline: Timeline) -> None:
    edge = 0.6 if len(timeline.bars) <= MOST_EDGED else 0
    for state in _states(timeline):
        bars = [bar for bar in timeline.bars if bar.state == state]
        starts, ends = _days(bar.start for bar in bars), _days(bar.end for bar in bars)
        # All in one: Matplotlib takes a millisecond for each bar of its own.
        drawn = PolyCollection(
            [_corners(*one) for one in zip(starts, ends, (b.lane for b in bars), strict=True)],
            facecolor=STATE_COLOURS[state], edgecolor="white", linewidth=edge,
        )  # fmt: skip
        drawn.sticky_edges.x.append(min(starts))
        axes.add_collection(drawn)
    axes.autoscale_view()
    room = NARROWEST_NUMBERED * (max(b.end for b in timeline.bars) - _start(timeline))
    for bar in timeline.bars:
        if bar.end - bar.start < room:
            continue
        (middle,) = _days([bar.start + (bar.end - bar.start) / 2])
        place: Any = {"ha": "center", "va": "center", "clip_on": True}
        axes.text(middle, bar.lane, str(bar.number), color="white", fontsize=8, **place)


def _corners(start: float, end: float, lane: int) -> list[tuple[float, float]]:
    top, bottom = lane - HEIGHT / 2, lane + HEIGHT / 2
    return [(start, top), (end, top), (end, bottom), (start, bottom)]


def _start(timeline: Timeline) -> dt.datetime:
    return min(bar.start for bar in timeline.bars)


def _days(moments: Iterable[dt.datetime]) -> list[float]:
    """Return moments as Matplotlib counts time."""
    return [float(day) for day in dates.date2num(list(moments))]  # type: ignore[no-untyped-call]


def _bar(trial: FrozenTrial, lane: int, now: dt.datetime) -> Bar:
    start, end = _span([trial], now)
    state = STATE_NAMES[trial.state]
    return Bar(number=trial.number, state=state, lane=lane, start=start, end=end)


def _span(trials: Iterable[FrozenTrial], now: dt.datetime) -> Span:
    starts = [t.datetime_start for t in trials if t.datetime_start is not None]
    ends = [t.datetime_complete or now for t in trials]
    return min(starts), max(*starts, *ends)


def _pack(spans: dict[object, Span]) -> tuple[dict[object, int], int]:
    """Put spans on as few lines as there are at once; return each one's line, and their number."""
    places: dict[object, int] = {}
    free_from: list[dt.datetime] = []
    for name, (start, end) in sorted(spans.items(), key=lambda item: item[1]):
        lane = next((i for i, free in enumerate(free_from) if free <= start), len(free_from))
        free_from[lane : lane + 1] = [end]
        places[name] = lane
    return places, len(free_from)


def _states(timeline: Timeline) -> list[str]:
    present = {bar.state for bar in timeline.bars}
    return [state for state in STATE_COLOURS if state in present]
