"""A trial's evaluation on images in words and a table, for people; it knows text only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tunectl.config.schema import TrialConfig
from tunectl.training.class_metrics import DIRECTIONS

if TYPE_CHECKING:
    from tunectl.training.data import Split

COLUMNS = ("precision", "recall", "f1", "support")


def evaluation_summary(config: TrialConfig, split: Split, document: Mapping[str, Any]) -> str:
    """Return the text of `evaluation_summary.txt`.

    Args:
        config: The trial's configuration.
        split: Its split.
        document: What `metrics.json` holds.
    """
    study = config.study
    ranked = ", ".join(f"{name} {document[name]:.4g}" for name in DIRECTIONS)
    tested = ", ".join(
        f"{name.removeprefix('val_')} {document[name.replace('val_', 'test_')]:.4g}"
        for name in DIRECTIONS
    )
    sizes = f"{len(split.train)} training, {len(split.valid)} validation, {len(split.test)} test"
    lines = [
        f"Study {study.name}, trial {config.number}",
        f"Images: {sizes}, each with the classes in the same proportion",
        f"Best epoch: {document['best_epoch']} of {document['epochs']}, "
        f"by {study.metric} ({study.direction})",
        "",
        f"Validation: {ranked}",
        f"Test: {tested}",
        "",
        "Test, by class:",
        *_table(document["per_class"]),
        "",
        "Precision, recall and F1 above are means over the classes.",
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _table(per_class: Mapping[str, Mapping[str, float]]) -> list[str]:
    rows: list[tuple[str, ...]] = [("class", *COLUMNS)]
    for name, row in per_class.items():
        cells = (f"{row[column]:.4g}" for column in COLUMNS)
        rows.append((" ".join(name.split()), *cells))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
        for row in rows
    ]
