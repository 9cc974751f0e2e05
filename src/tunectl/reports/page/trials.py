"""All trials as the report's table has them, and why some of them came to nothing."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunectl.config.passwords import hide_passwords
from tunectl.reports.summary import StudySummary, TrialSummary

MOST_REASONS = 30
MOST_NUMBERS = 12


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why trials failed, or were ended before their time.

    Args:
        text: What each of them says.
        state: `failed` or `pruned`.
        numbers: Which trials they are.
        directory: Of the first of them, None where none is recorded.
    """

    text: str
    state: str
    numbers: Sequence[int]
    directory: str | None

    @property
    def which(self) -> str:
        """The numbers in words, not too many of them."""
        shown = ", ".join(map(str, self.numbers[:MOST_NUMBERS]))
        rest = len(self.numbers) - MOST_NUMBERS
        return f"{shown} and {rest} more" if rest > 0 else shown


def table_of(summary: StudySummary) -> dict[str, Any]:
    """Return the table of all trials as the page's script reads it.

    Returns:
        `columns`: name and kind of each; `rows`: the cells of each trial; `best`: the numbers of
        the trials that no other beats. No number in it is infinite or NaN.
    """
    names = sorted({name for trial in summary.trials for name in trial.params})
    columns = [("trial", "number"), ("state", "state")]
    columns += [(metric, "number") for metric in summary.metrics]
    columns += [("epochs", "number"), ("time", "duration"), ("started (UTC)", "time")]
    columns += [(name, "value") for name in names]
    columns += [("error", "text"), ("directory", "place")]
    return {
        "columns": [{"name": name, "kind": kind} for name, kind in columns],
        "rows": [_row(trial, len(summary.metrics), names) for trial in summary.trials],
        "best": [trial.number for trial in summary.front],
    }


def reasons_of(summary: StudySummary) -> list[Reason]:
    """Return why trials came to nothing, the most frequent reason first."""
    groups: dict[tuple[str, str], list[TrialSummary]] = defaultdict(list)
    for trial in summary.trials:
        if trial.error is not None or trial.state == "failed":
            groups[trial.state, trial.error or "it does not say why"].append(trial)
    ranked = sorted(groups.items(), key=lambda group: (-len(group[1]), group[1][0].number))
    return [
        Reason(
            text=hide_passwords(text),
            state=state,
            numbers=[trial.number for trial in trials],
            directory=trials[0].output_dir,
        )
        for (state, text), trials in ranked
    ]


def _row(trial: TrialSummary, n_metrics: int, names: Sequence[str]) -> list[Any]:
    values = [*trial.values, *[None] * n_metrics][:n_metrics]
    started = (trial.started_at or "")[:19].replace("T", " ")
    params = (trial.params.get(name) for name in names)
    return [
        trial.number,
        trial.state,
        *map(_cell, values),
        trial.epochs,
        trial.duration_s,
        started,
        *map(_cell, params),
        hide_passwords(trial.error) if trial.error else None,
        trial.output_dir,
    ]


def _cell(value: Any) -> Any:
    """Return a value that JSON has."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return hide_passwords(value) if isinstance(value, str) else value
