"""A trial's evaluation in words and a table, for people; it knows text only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tunectl.config.schema import TrialConfig
from tunectl.training.metrics import DIRECTIONS

if TYPE_CHECKING:  # it brings PyTorch
    from tunectl.training.data import Split


def unit_of(target: str) -> str:
    """Return a target's unit by the end of its name: m/s, – for a fraction, empty if unknown."""
    if target.endswith("_velocity"):
        return "m/s"
    return "–" if target.endswith("_fraction") else ""


def evaluation_summary(config: TrialConfig, split: Split, document: Mapping[str, Any]) -> str:
    """Return the text of `evaluation_summary.txt`.

    Args:
        config: The trial's configuration.
        split: Its split.
        document: What `metrics.json` holds.
    """
    study = config.study
    ranked = [f"{name} {_number(document[name])}" for name in DIRECTIONS]
    sizes = f"{len(split.train)} training, {len(split.valid)} validation, {len(split.test)} test"
    lines = [
        f"Study {study.name}, trial {config.number}",
        f"Samples: {sizes}",
        f"Best epoch: {document['best_epoch']} of {document['epochs']}, "
        f"by {study.metric} ({study.direction})",
        "",
        "Validation, on standardised targets:",
        "  " + ", ".join(ranked),
        "",
        "Test, in the targets' own units:",
        *_table(document),
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _table(document: Mapping[str, Any]) -> list[str]:
    columns = ("mse", "mae", "rmse", "r2")
    rows: list[tuple[str, ...]] = [("target", "unit", "MSE", "MAE", "RMSE", "R²")]
    for name, row in document["per_target"].items():
        rows.append((_one_line(name), unit_of(name), *(_number(row[column]) for column in columns)))
    means = tuple(_number(document[f"test_{column}"]) for column in columns)
    rows.append(("all targets", "", *means))
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ["  " + _aligned(row, widths) for row in rows]
    rule = "  " + "-" * (sum(widths) + 2 * (len(widths) - 1))
    return [lines[0], rule, *lines[1:-1], rule, lines[-1]]


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    words = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
    numbers = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
    return "  ".join([*words, *numbers])


def _number(value: float | None) -> str:
    if value is None or value != value:
        return "none"
    return f"{value:.4g}"


def _one_line(name: str) -> str:
    return " ".join(name.split())
