"""The kinds of figure in the order in which they are drawn, each by both libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from matplotlib.figure import Figure

from tunectl.reports.figures import history, importances
from tunectl.reports.figures.case import FigureCase
from tunectl.reports.figures.names import KindName

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as Interactive


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of figure.

    Args:
        name: Its name.
        title: What it shows.
        reading: How it is read, a sentence.
        scope: Whether it shows a study, one of its metrics (so that a study of two metrics has
            two) or a single trial.
        lack: Says what is missing for drawing it, None where nothing is.
        static: Draws it with Matplotlib; only where nothing is missing.
        interactive: Draws it with Plotly; likewise.
    """

    name: KindName
    title: str
    reading: str
    scope: Literal["study", "metric", "trial"]
    lack: Callable[[FigureCase], str | None]
    static: Callable[[FigureCase], Figure]
    interactive: Callable[[FigureCase], Interactive]


KINDS: tuple[Kind, ...] = (
    Kind(
        name=KindName.HISTORY,
        title=history.TITLE,
        reading="Each point is a trial; the line is the best completed one so far, and where it "
        "has been level for long, more trials will hardly help.",
        scope="metric",
        lack=history.lack_of_history,
        static=history.draw_history,
        interactive=history.show_history,
    ),
    Kind(
        name=KindName.IMPORTANCES,
        title=importances.TITLE,
        reading="The longer the bar, the more it depended on this parameter whether a trial was "
        "among the best; a rough guide with fewer than some fifty trials.",
        scope="metric",
        lack=importances.lack_of_importances,
        static=importances.draw_importances,
        interactive=importances.show_importances,
    ),
    Kind(
        name=KindName.EDF,
        title=history.EDF_TITLE,
        reading="How large a share of the completed trials is as good as a value or better; of "
        "two studies the one whose line rises first is the better one.",
        scope="metric",
        lack=history.lack_of_edf,
        static=history.draw_edf,
        interactive=history.show_edf,
    ),
)
