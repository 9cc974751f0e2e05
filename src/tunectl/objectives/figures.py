"""What a trial draws: its learning curves, and predicted over true values of the test split.

It takes arrays and histories, and returns figures or writes them as PNG files. The figures are its
own rather than pyplot's global ones, so that it works without a display and leaves nothing behind.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator
from numpy.typing import NDArray

from tunectl.artifacts import atomic
from tunectl.objectives.signal_summary import unit_of
from tunectl.training.metrics import target_metrics

Values = NDArray[np.floating]

DPI = 100
BLUE, ORANGE, GREY = "#1f5fa8", "#d1661d", "#8a8a8a"
OVERVIEW_COLUMNS = 3
MOST_NUMBERED = 30
SHARES = ("val_r2", "val_acc", "val_f1", "val_precision", "val_recall")
"""Metrics that are best at 1."""
TITLE_WIDTH = 6.0
"""Inches in which a title finds room."""
LONGEST_STEM, LONGEST_TITLE = 40, 28


class _PlainLog(LogFormatter):
    """Plain numbers on a log axis; those between powers of ten only where these are few."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def draw_learning_curves(
    path: Path,
    histories: Mapping[str, Sequence[float]],
    *,
    metric: str,
    best_epoch: int | None,
) -> None:
    """Write the learning curves; see `learning_curves`.

    Args:
        path: The PNG file.
        histories: `train_loss` and the metric, one value per epoch.
        metric: The study's metric.
        best_epoch: 1-based, marked; None if there is none.
    """
    _save(learning_curves(histories, metric=metric, best_epoch=best_epoch), path)


def learning_curves(
    histories: Mapping[str, Sequence[float]],
    *,
    metric: str,
    best_epoch: int | None,
    title: str | None = None,
) -> Figure:
    """Draw training loss and validation metric by epoch, each on a linear and on a log scale.

    The two have axes of their own: the loss carries weights and units that the metric does not.
    R² may be negative and is better when larger, so the log scale shows 1 − R²; so it is with
    accuracies and the like.

    Args:
        histories: `train_loss` and the metric, one value per epoch.
        metric: The study's metric.
        best_epoch: 1-based, marked; None if there is none.
        title: What stands above it, None for nothing.
    """
    wanted = (("train_loss", "training loss", BLUE), (metric, metric, ORANGE))
    rows = [row for row in wanted if len(histories.get(row[0], ()))] or wanted[1:]
    figure = _figure(11, 3.2 * len(rows) if len(rows) > 1 else 3.8)
    axes = figure.subplots(len(rows), 2, sharex=True, squeeze=False)
    for (linear, log), (key, label, colour) in zip(axes, rows, strict=True):
        values = np.asarray(histories.get(key, ()), dtype=float)
        _draw_curve(linear, values, label, colour, best_epoch)
        is_share = key in SHARES
        shown = 1 - values if is_share else values
        _draw_curve(log, shown, f"1 − {label}" if is_share else label, colour, best_epoch)
        if np.any(shown > 0):
            _take_log_scale(log)
    axes[0][0].set_title("linear scale")
    axes[0][1].set_title("logarithmic scale")
    for bottom in axes[-1]:
        bottom.set_xlabel("epoch")
        bottom.xaxis.get_major_locator().set_params(integer=True)
    if best_epoch is not None:
        axes[-1][0].legend(loc="best", fontsize=9)
    _set_title(figure, title)
    height = figure.get_figheight()
    top, bottom = 1 - (0.38 if title is None else 0.7) / height, 0.58 / height
    figure.subplots_adjust(left=0.08, right=0.98, top=top, bottom=bottom, wspace=0.24, hspace=0.1)
    return figure


def draw_predictions(
    folder: Path, y_pred: Values, y_true: Values, names: Sequence[str]
) -> list[Path]:
    """Draw predicted over true values, one figure per target and one of all of them.

    Args:
        folder: Where the PNG files go.
        y_pred: (N, T) in the targets' own units.
        y_true: (N, T) likewise.
        names: One per target.

    Returns:
        The files: one per target, then the overview.
    """
    r2 = {name: row["r2"] for name, row in target_metrics(y_pred, y_true, names).items()}
    files = []
    for index, name in enumerate(names):
        figure = _figure(5.4, 5.4)
        _draw_scatter(figure.subplots(), y_pred[:, index], y_true[:, index], name, r2[name])
        figure.subplots_adjust(left=0.16, right=0.96, top=0.92, bottom=0.12)
        files.append(folder / f"{file_stem(index, name)}.png")
        _save(figure, files[-1])
    files.append(folder / "overview.png")
    _save(overview(y_pred, y_true, names), files[-1])
    return files


def draw_confusion(path: Path, matrix: NDArray[np.integer], names: Sequence[str]) -> None:
    """Write the confusion matrix; see `confusion_matrix`.

    Args:
        path: The PNG file.
        matrix: (K, K), the true class in the row.
        names: One per class.
    """
    _save(confusion_matrix(matrix, names), path)


def confusion_matrix(
    matrix: NDArray[np.integer], names: Sequence[str], *, title: str | None = None
) -> Figure:
    """Draw how often each class was taken for each: the share of its images, and their number.

    Args:
        matrix: (K, K), the true class in the row.
        names: One per class.
        title: What stands above it, None for nothing.
    """
    count = len(names)
    side = min(12.0, 2.2 + 0.55 * count)
    figure = _figure(side if title is None else max(side, TITLE_WIDTH), side)
    axes = figure.subplots()
    shares = shares_of(matrix)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    labels = [shortened(name) for name in names]
    axes.set_xticks(range(count), labels, rotation=45 if max(map(len, labels)) > 3 else 0)
    axes.set_yticks(range(count), labels)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for row, column in zip(*np.nonzero(matrix), strict=True) if count <= MOST_NUMBERED else ():
        colour = "white" if shares[row, column] > 0.5 else "black"
        number = str(matrix[row, column])
        axes.text(column, row, number, ha="center", va="center", color=colour, fontsize=9)
    axes.set_title(hits_of(matrix), fontsize=11)
    _set_title(figure, title)
    figure.tight_layout()
    return figure


def shares_of(matrix: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the share of each class's images (row) that was taken for each class, (K, K)."""
    return np.asarray(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1))


def hits_of(matrix: NDArray[np.integer]) -> str:
    """Return how many of all images were taken for what they are, in words."""
    return f"{int(matrix.trace())} of {int(matrix.sum())} right"


def file_stem(index: int, name: str) -> str:
    """Return a target's file name: safe on any file system, and different for each target.

    Args:
        index: The target's column.
        name: Any text.
    """
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-")[:LONGEST_STEM]
    return f"target_{index}_{safe}" if safe else f"target_{index}"


def overview(
    y_pred: Values, y_true: Values, names: Sequence[str], *, title: str | None = None
) -> Figure:
    """Draw predicted over true values of all targets, a panel for each.

    Args:
        y_pred: (N, T) in the targets' own units.
        y_true: (N, T) likewise.
        names: One per target.
        title: What stands above it, None for nothing.
    """
    r2 = {name: row["r2"] for name, row in target_metrics(y_pred, y_true, names).items()}
    columns = min(OVERVIEW_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    width, height = 4.4 * columns, 4.4 * rows
    figure = _figure(width, height)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for index, name in enumerate(names):
        _draw_scatter(axes[index], y_pred[:, index], y_true[:, index], name, r2[name])
    for spare in axes[len(names) :]:
        spare.set_axis_off()
    figure.subplots_adjust(
        left=0.95 / width,
        right=1 - 0.2 / width,
        top=1 - (0.4 if title is None else 0.75) / height,
        bottom=0.6 / height,
        wspace=0.36,
        hspace=0.3,
    )
    _set_title(figure, title)
    return figure


def _draw_curve(
    axes: Axes, values: Values, label: str, colour: str, best_epoch: int | None
) -> None:
    epochs = np.arange(1, len(values) + 1)
    marker = "o" if len(values) <= 3 else None
    axes.plot(epochs, values, color=colour, linewidth=1.6, marker=marker, markersize=5)
    if best_epoch is not None:
        axes.axvline(
            best_epoch, color=GREY, linewidth=1.2, linestyle="--", label=f"best epoch: {best_epoch}"
        )
    axes.set_ylabel(label)
    axes.grid(visible=True, which="major", color="#e3e3e3", linewidth=0.8)
    axes.margins(x=0.02)


def _take_log_scale(axes: Axes) -> None:
    axes.set_yscale("log", nonpositive="mask")
    axes.yaxis.set_major_formatter(_PlainLog())
    axes.yaxis.set_minor_formatter(_PlainLog(minor_thresholds=(2, 0.5)))
    axes.grid(visible=True, which="minor", color="#f0f0f0", linewidth=0.6)


def _draw_scatter(axes: Axes, pred: Values, true: Values, name: str, r2: float | None) -> None:
    low, high = _limits(pred, true)
    axes.plot([low, high], [low, high], color=GREY, linewidth=1.2, linestyle="--", zorder=1)
    axes.scatter(true, pred, s=22, color=BLUE, alpha=0.65, linewidths=0, zorder=2)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_aspect("equal")
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    unit = unit_of(name)
    suffix = f" ({unit})" if unit else ""
    axes.set_xlabel(f"true{suffix}")
    axes.set_ylabel(f"predicted{suffix}")
    score = "R² undefined" if r2 is None else f"R² = {r2:.3f}"
    # A name is the user's text: a `$` in it is no formula.
    axes.set_title(f"{shortened(name)}: {score}", fontsize=11, parse_math=False)
    axes.grid(visible=True, color="#e3e3e3", linewidth=0.8)
    axes.set_axisbelow(True)


def _limits(pred: Values, true: Values) -> tuple[float, float]:
    """Return limits that both axes share, with a little room at either end."""
    low, high = float(min(pred.min(), true.min())), float(max(pred.max(), true.max()))
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def shortened(name: str) -> str:
    """Return a target's name on one line, cut where it is long."""
    text = " ".join(name.split())
    return text if len(text) <= LONGEST_TITLE else f"{text[: LONGEST_TITLE - 1]}…"


def _set_title(figure: Figure, title: str | None) -> None:
    if title is not None:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, parse_math=False)


def _figure(width: float, height: float) -> Figure:
    """Return a figure of so many inches, drawn without a display."""
    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    # A name in a script that the font lacks shows as boxes; that is no reason to warn.
    with warnings.catch_warnings(), atomic.replacing(path) as beside:
        warnings.simplefilter("ignore")
        figure.savefig(beside, dpi=DPI)
