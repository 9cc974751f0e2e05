"""The kinds of figure in the order in which they are drawn, each by both libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from matplotlib.figure import Figure

from tunectl.reports.figures import (
    confusion,
    history,
    importances,
    of_trial,
    pairs,
    parallel,
    pareto,
    progress,
    slices,
    timeline,
)
from tunectl.reports.figures.case import FigureCase
from tunectl.reports.figures.look import drawing
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
        draw: Draws it with Matplotlib; see `static`.
        show: Draws it with Plotly; see `interactive`.
    """

    name: KindName
    title: str
    reading: str
    scope: Literal["study", "metric", "trial"]
    lack: Callable[[FigureCase], str | None]
    draw: Callable[[FigureCase], Figure]
    show: Callable[[FigureCase], Interactive]

    def static(self, case: FigureCase) -> Figure:
        """Return the figure drawn with Matplotlib; only where nothing is missing for it.

        It belongs to nobody, pyplot neither, and is saved within `look.drawing`.
        """
        with drawing():
            return self.draw(case)

    def interactive(self, case: FigureCase) -> Interactive:
        """Return the figure drawn with Plotly; only where nothing is missing for it."""
        with drawing():
            return self.show(case)


KINDS: tuple[Kind, ...] = (
    Kind(
        name=KindName.HISTORY,
        title=history.TITLE,
        reading="Each point is a trial; the line is the best completed one so far, and where it "
        "has been level for long, more trials will hardly help.",
        scope="metric",
        lack=history.lack_of_history,
        draw=history.draw_history,
        show=history.show_history,
    ),
    Kind(
        name=KindName.IMPORTANCES,
        title=importances.TITLE,
        reading="The longer the bar, the more it depended on this parameter whether a trial was "
        "among the best; a rough guide with fewer than some fifty trials.",
        scope="metric",
        lack=importances.lack_of_importances,
        draw=importances.draw_importances,
        show=importances.show_importances,
    ),
    Kind(
        name=KindName.PARALLEL,
        title=parallel.TITLE,
        reading="Each line is a completed trial, dark for a good one: where the dark lines meet on "
        "an axis, good trials agree on that parameter.",
        scope="metric",
        lack=slices.lack_of_slice,
        draw=parallel.draw_parallel,
        show=parallel.show_parallel,
    ),
    Kind(
        name=KindName.SLICE,
        title=slices.TITLE,
        reading="One panel for each parameter, the most important first: a clear floor of the "
        "points shows where good values lie, and yellow points are the latest trials.",
        scope="metric",
        lack=slices.lack_of_slice,
        draw=slices.draw_slice,
        show=slices.show_slice,
    ),
    Kind(
        name=KindName.CONTOUR,
        title=pairs.CONTOUR_TITLE,
        reading="Values between the trials are filled in by averaging, so trust the shape only "
        "where there are points.",
        scope="metric",
        lack=pairs.lack_of_contour,
        draw=pairs.draw_contour,
        show=pairs.show_contour,
    ),
    Kind(
        name=KindName.RANK,
        title=pairs.RANK_TITLE,
        reading="The colour is a trial's rank among all, so that a few very bad trials do not "
        "hide how the others differ.",
        scope="metric",
        lack=pairs.lack_of_pairs,
        draw=pairs.draw_rank,
        show=pairs.show_rank,
    ),
    Kind(
        name=KindName.INTERMEDIATE,
        title=progress.TITLE,
        reading="Each line is a trial by epoch: orange ones ended where the pruner stopped them, "
        "and none of them should have been on its way below the black one.",
        scope="study",
        lack=progress.lack_of_progress,
        draw=progress.draw_progress,
        show=progress.show_progress,
    ),
    Kind(
        name=KindName.EDF,
        title=history.EDF_TITLE,
        reading="How large a share of the completed trials is as good as a value or better; of "
        "two studies the one whose line rises first is the better one.",
        scope="metric",
        lack=history.lack_of_edf,
        draw=history.draw_edf,
        show=history.show_edf,
    ),
    Kind(
        name=KindName.TIMELINE,
        title=timeline.TITLE,
        reading="A line for each worker, a bar for each trial; gaps are times in which a worker "
        "had nothing to do or the study was not running.",
        scope="study",
        lack=timeline.lack_of_timeline,
        draw=timeline.draw_timeline,
        show=timeline.show_timeline,
    ),
    Kind(
        name=KindName.PARETO,
        title=pareto.TITLE,
        reading="The diamonds are the trials to choose from: for every other trial there is one "
        "at least as good in all metrics.",
        scope="study",
        lack=pareto.lack_of_front,
        draw=pareto.draw_front,
        show=pareto.show_front,
    ),
    Kind(
        name=KindName.LEARNING_CURVES,
        title=of_trial.CURVES_TITLE,
        reading="Training loss and metric by epoch; a metric that rises again while the loss "
        "falls has begun to overfit, and the dashed line is the epoch that was kept.",
        scope="trial",
        lack=of_trial.lack_of_curves,
        draw=of_trial.draw_curves,
        show=of_trial.show_curves,
    ),
    Kind(
        name=KindName.PREDICTED,
        title=of_trial.PREDICTED_TITLE,
        reading="One panel for each target, in its own unit: on the dashed line a prediction of "
        "the test split is exact.",
        scope="trial",
        lack=of_trial.lack_of_predictions,
        draw=of_trial.draw_predicted,
        show=of_trial.show_predicted,
    ),
    Kind(
        name=KindName.RESIDUALS,
        title=of_trial.RESIDUALS_TITLE,
        reading="Predicted minus true by the true value: a slope or a bow shows where the model "
        "is wrong in a regular way, which R² alone hides.",
        scope="trial",
        lack=of_trial.lack_of_predictions,
        draw=of_trial.draw_residuals,
        show=of_trial.show_residuals,
    ),
    Kind(
        name=KindName.CONFUSION,
        title=confusion.TITLE,
        reading="Each row is a class of the test split, and dark is what most of its images were "
        "taken for: what lies beside the diagonal shows which classes are mixed up.",
        scope="trial",
        lack=confusion.lack_of_confusion,
        draw=confusion.draw_confusion,
        show=confusion.show_confusion,
    ),
)
