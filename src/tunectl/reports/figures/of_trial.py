"""One trial: how it learnt, and what it predicts of the test split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from tunectl.objectives import figures
from tunectl.objectives.signal_summary import unit_of
from tunectl.reports.figures.case import FigureCase
from tunectl.reports.figures.look import (
    BLUE,
    GREY,
    ORANGE,
    drawing,
    faint,
    log_axis,
    new_figure,
    style,
    tidy,
)
from tunectl.reports.figures.names import KindName
from tunectl.reports.figures.record import TrialRecord, Values
from tunectl.training.metrics import target_metrics

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as Interactive

CURVES_TITLE = "Learning curves"
PREDICTED_TITLE = "Predicted over true values"
RESIDUALS_TITLE = "Residuals"
COLUMNS = 3
NO_TRIAL = "no trial is complete yet; --trial N shows one that is not"


def lack_of_curves(case: FigureCase) -> str | None:
    """Say what is missing for learning curves."""
    if case.record is None:
        return NO_TRIAL
    if not any(np.isfinite(values).any() for values in case.record.curves.values()):
        return f"trial {case.record.number} has left no values by epoch"
    return None


def lack_of_predictions(case: FigureCase) -> str | None:
    """Say what is missing for a figure of predictions."""
    if case.record is None:
        return NO_TRIAL
    if not case.record.has_directory:
        return f"the directory of trial {case.record.number} is gone"
    if case.record.confusion is not None:
        return f"trial {case.record.number} tells classes apart; see {KindName.CONFUSION}"
    if case.record.y_pred is None:
        return f"trial {case.record.number} has left no predicted targets of the test split"
    return None


def draw_curves(case: FigureCase) -> Figure:
    """Draw the learning curves, linear and logarithmic, with Matplotlib."""
    record = _record(case)
    with drawing():
        return figures.learning_curves(
            record.curves,
            metric=record.metric,
            best_epoch=record.best_epoch,
            title=title_of(case, CURVES_TITLE),
        )


def show_curves(case: FigureCase) -> Interactive:
    """Draw the same with Plotly."""
    from plotly import graph_objects as plotly
    from plotly.subplots import make_subplots

    record = _record(case)
    wanted = (("train_loss", "training loss", BLUE), (record.metric, record.metric, ORANGE))
    rows = [row for row in wanted if len(record.curves.get(row[0], ()))]
    figure = make_subplots(
        rows=len(rows), cols=2, shared_xaxes=True, vertical_spacing=0.06,
        column_titles=["linear scale", "logarithmic scale"],
    )  # fmt: skip
    for row, (key, label, colour) in enumerate(rows, start=1):
        values = np.asarray(record.curves.get(key, ()), dtype=float)
        is_share = key in figures.SHARES
        log_label, log_values = (f"1 − {label}", 1 - values) if is_share else (label, values)
        for column, name, shown in ((1, label, values), (2, log_label, log_values)):
            where = {"row": row, "col": column}
            y = [float(value) if np.isfinite(value) else None for value in shown]
            line = {"color": colour}
            x = list(range(1, len(y) + 1))
            figure.add_trace(plotly.Scatter(x=x, y=y, mode="lines+markers", line=line), **where)
            figure.update_yaxes(title_text=name, **where)
        positive = [float(value) for value in log_values if value > 0]
        if positive:
            figure.update_yaxes(log_axis(positive), row=row, col=2)
    figure.update_traces(showlegend=False, hovertemplate="epoch %{x}: %{y:.5g}<extra></extra>")
    figure.update_traces(marker={"size": 4})
    figure.update_xaxes(title_text="epoch", row=len(rows))
    style(figure, title_of(case, CURVES_TITLE), height=120 + 220 * len(rows))
    if record.best_epoch is not None:
        figure.add_vline(record.best_epoch, line={"color": GREY, "dash": "dash", "width": 1})
    return figure


def draw_predicted(case: FigureCase) -> Figure:
    """Draw predicted over true values of each target, with Matplotlib."""
    record, y_pred, y_true = _predictions(case)
    with drawing():
        return figures.overview(
            y_pred, y_true, record.target_names, title=title_of(case, PREDICTED_TITLE)
        )


def show_predicted(case: FigureCase) -> Interactive:
    """Draw the same with Plotly."""
    record, y_pred, y_true = _predictions(case)
    r2 = {
        name: row["r2"] for name, row in target_metrics(y_pred, y_true, record.target_names).items()
    }
    scores = ["R² undefined" if one is None else f"R² = {one:.3f}" for one in r2.values()]
    titles = [f"{name}: {score}" for name, score in zip(r2, scores, strict=True)]
    figure = _panels(record, y_true, y_pred, titles, "predicted")
    for index in range(y_true.shape[1]):
        both = np.concatenate([y_true[:, index], y_pred[:, index]])
        low, high = float(both.min()), float(both.max())
        figure.add_shape(
            type="line", x0=low, y0=low, x1=high, y1=high, layer="below",
            line={"color": GREY, "dash": "dash", "width": 1}, **_place(index),
        )  # fmt: skip
    return _styled(figure, case, PREDICTED_TITLE, y_true.shape[1])


def draw_residuals(case: FigureCase) -> Figure:
    """Draw predicted minus true values of each target over the true ones, with Matplotlib."""
    record, y_pred, y_true = _predictions(case)
    count = y_true.shape[1]
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    with drawing():
        figure = new_figure(4.2 * columns + 0.4, 3.2 * rows + 0.6)
        grid = figure.subplots(rows, columns, squeeze=False)
        for index, (axes, name) in enumerate(zip(grid.flat, record.target_names, strict=False)):
            true, rest = y_true[:, index], y_pred[:, index] - y_true[:, index]
            rmse = float(np.sqrt(np.mean(rest.astype(float) ** 2)))
            axes.axhspan(-rmse, rmse, color=BLUE, alpha=0.1, linewidth=0)
            axes.axhline(0, color=GREY, linewidth=1.2, linestyle="--")
            axes.scatter(
                true, rest, s=18, color=BLUE, alpha=max(faint(len(rest)), 0.4), linewidths=0
            )
            axes.set_title(f"{figures.shortened(name)}: RMSE {rmse:.3g}", fontsize=11)
            axes.set_xlabel(f"true{_unit(name)}")
            axes.set_ylabel(f"predicted − true{_unit(name)}")
            tidy(axes)
        for spare in grid.flat[count:]:
            spare.set_axis_off()
        title = f"{title_of(case, RESIDUALS_TITLE)}; shaded: within one RMSE"
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def show_residuals(case: FigureCase) -> Interactive:
    """Draw the same with Plotly."""
    record, y_pred, y_true = _predictions(case)
    rest = y_pred - y_true
    rmse = np.sqrt(np.mean(rest.astype(float) ** 2, axis=0))
    titles = [
        f"{name}: RMSE {one:.3g}" for name, one in zip(record.target_names, rmse, strict=True)
    ]
    figure = _panels(record, y_true, rest, titles, "predicted − true")
    for index, one in enumerate(rmse):
        figure.add_hrect(-one, one, fillcolor=BLUE, opacity=0.1, line_width=0, **_place(index))
        figure.add_hline(0, line={"color": GREY, "dash": "dash", "width": 1}, **_place(index))
    return _styled(figure, case, RESIDUALS_TITLE, len(rmse))


def _record(case: FigureCase) -> TrialRecord:
    assert case.record is not None
    return case.record


def _predictions(case: FigureCase) -> tuple[TrialRecord, Values, Values]:
    record = _record(case)
    assert record.y_pred is not None
    assert record.y_true is not None
    return record, record.y_pred, record.y_true


def title_of(case: FigureCase, what: str) -> str:
    """Return the title of a figure of the trial that is shown."""
    number = _record(case).number
    which = "the best trial, " if number == case.best else "trial "
    return f"{what} of {which}{number}: {case.name}"


def _unit(name: str) -> str:
    unit = unit_of(name)
    return f" ({unit})" if unit else ""


def _place(index: int) -> dict[str, Any]:
    return {"row": index // COLUMNS + 1, "col": index % COLUMNS + 1}


def _panels(
    record: TrialRecord, x: Values, y: Values, titles: list[str], label: str
) -> Interactive:
    """Return a figure of Plotly with a scatter for each target."""
    from plotly import graph_objects as plotly
    from plotly.subplots import make_subplots

    rows = -(-len(titles) // COLUMNS)
    figure = make_subplots(
        rows=rows, cols=COLUMNS, subplot_titles=titles, vertical_spacing=0.32 / max(rows, 2),
        horizontal_spacing=0.09,
    )  # fmt: skip
    for index, name in enumerate(record.target_names):
        figure.add_trace(
            plotly.Scatter(
                x=[float(f"{value:.6g}") for value in x[:, index]],
                y=[float(f"{value:.6g}") for value in y[:, index]],
                mode="markers",
                marker={"color": BLUE, "size": 6, "opacity": max(faint(len(x)), 0.4)},
                hovertemplate="true %{x:.5g}, " + label + " %{y:.5g}<extra></extra>",
                showlegend=False,
            ),
            **_place(index),
        )
        figure.update_xaxes(title_text=f"true{_unit(name)}", title_standoff=4, **_place(index))
        figure.update_yaxes(title_text=f"{label}{_unit(name)}", title_standoff=4, **_place(index))
    return figure


def _styled(figure: Interactive, case: FigureCase, what: str, count: int) -> Interactive:
    rows = -(-count // COLUMNS)
    style(figure, title_of(case, what), height=130 + 310 * rows)
    figure.update_annotations(font_size=12)
    return figure
