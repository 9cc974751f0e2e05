"""How things look to people: tables and texts from frozen objects. Where they go: `output.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tunectl.reports.words import duration, number, value_text

if TYPE_CHECKING:
    from tunectl.reports.summary import StudySummary, TrialSummary
    from tunectl.running.replay import Replay
    from tunectl.studies.differences import Difference
    from tunectl.studies.records import StudyOverview

STATE_STYLES = {
    "complete": "green",
    "pruned": "yellow",
    "failed": "red",
    "running": "cyan",
    "waiting": "dim",
}
GRADE_STYLES = {"safe": "green", "degrades the sampler": "yellow", "impossible": "red"}
LONGEST_ERROR = 60


def states_text(states: Mapping[str, int]) -> Text:
    """Return the states that occur, each in its colour."""
    text = Text()
    for state, count in states.items():
        if count:
            text.append(", " if text.plain else "")
            text.append(f"{count} {state}", style=STATE_STYLES[state])
    return text if text.plain else Text("no trials", style="dim")


def nothing_complete(summary: StudySummary) -> str:
    """Return what a study has come to that has no complete trial, in words."""
    states = summary.states
    text = "no trial is complete yet, so best will have nothing"
    if states["pruned"] and not states["failed"]:
        text += "; every trial that ran was pruned, and trial list says why"
    return text


def trial_table(
    trials: Sequence[TrialSummary], summary: StudySummary, *, short: bool = False
) -> Table:
    """Return a table of trials; the best one, or those that no other one beats, have a star.

    Args:
        trials: The trials.
        summary: Their study.
        short: Whether to cut long errors off.
    """
    best = {trial.number for trial in summary.front}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("trial", "state", *summary.metrics, "epochs", "time", "directory"):
        right = name not in ("state", "directory")
        table.add_column(escape(name), justify="right" if right else "left", overflow="fold")
    for trial in trials:
        star = "*" if trial.number in best else " "
        values = [*map(number, trial.values), *["–"] * len(summary.metrics)]
        place = trial.output_dir or ""
        error = trial.error
        if short and error and len(error) > LONGEST_ERROR:
            error = f"{error[:LONGEST_ERROR]} ..."
        table.add_row(
            f"{star}{trial.number}",
            Text(trial.state, style=STATE_STYLES[trial.state]),
            *values[: len(summary.metrics)],
            str(trial.epochs),
            duration(trial.duration_s),
            Text(f"{place}  {error}".strip() if error else place),
        )
    return table


def best_view(best: TrialSummary, summary: StudySummary) -> list[Any]:
    """Return the best trial with its parameters and metrics."""
    values = dict(zip(summary.metrics, map(number, best.values), strict=False))
    views: list[Any] = [
        fields(
            {
                "best trial": str(best.number),
                **values,
                **({"best epoch": str(best.best_epoch)} if best.best_epoch else {}),
                "directory": best.output_dir or "none",
            }
        ),
        fields({f"  {key}": value_text(value) for key, value in sorted(best.params.items())}),
    ]
    accuracy = best.metrics.get("test_acc")
    if accuracy is not None:
        views.append(fields({"accuracy on the test split": f"{accuracy:.4f}"}))
    mean_r2 = best.metrics.get("test_r2")
    if mean_r2 is not None:
        # The other test metrics are in the targets' own units: their mean over targets says little.
        views.append(fields({"R² on the test split": f"{mean_r2:.3f}, mean over the targets"}))
    return views


def front_view(summary: StudySummary) -> list[Any]:
    """Return the trials that no other one beats, nothing for a study of one metric."""
    if len(summary.metrics) == 1:
        return []
    title = (
        f"{len(summary.front)} trials that no other beats in all of {', '.join(summary.metrics)}"
    )
    return [Text(title, style="bold"), trial_table(summary.front, summary), Text("")]


def difference_table(differences: Sequence[Difference]) -> Table:
    """Return a row per difference between a stored study and today's files."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("key", "then", "now", "class", "why"):
        table.add_column(name, overflow="fold")
    for one in differences:
        grade = Text(one.grade.value, style=GRADE_STYLES[one.grade.value])
        texts = [Text(text or "absent") for text in (one.then, one.now)]
        table.add_row(Text(one.key), *texts, grade, Text(one.why))
    return table


def target_table(per_target: Mapping[str, Mapping[str, float | None]]) -> Table:
    """Return a trial's errors on the test split, a row per target, in the targets' own units."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("target (test split)")
    for name in ("R²", "RMSE", "MAE"):
        table.add_column(name, justify="right")
    for target, metrics in per_target.items():
        r2 = metrics.get("r2")
        cells = [number(metrics.get("rmse")), number(metrics.get("mae"))]
        table.add_row(escape(target), "–" if r2 is None else f"{r2:.3f}", *cells)
    return table


def class_table(per_class: Mapping[str, Mapping[str, float | None]]) -> Table:
    """Return how well a trial told the classes of the test split apart, a row per class."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class (test split)")
    for name in ("precision", "recall", "F1", "images"):
        table.add_column(name, justify="right")
    for name, row in per_class.items():
        shares = (f"{row.get(key) or 0:.3f}" for key in ("precision", "recall", "f1"))
        table.add_row(escape(name), *shares, f"{row.get('support') or 0:g}")
    return table


def test_table(metrics: Mapping[str, Any]) -> list[Any]:
    """Return the table of a trial's test split, nothing where it has none.

    Args:
        metrics: Its `metrics.json`.
    """
    for key, table in (("per_target", target_table), ("per_class", class_table)):
        if metrics.get(key):
            return [Text(""), table(metrics[key])]
    return []


def replay_view(replay: Replay) -> list[Any]:
    """Return whether a trial came out the same, and if not how far off it is."""
    trial = (
        f"trial {replay.number} of study {replay.study} ({replay.state}, {replay.epochs} epochs)"
    )
    if replay.same:
        compared = ", ".join(replay.compared)
        return [Text(f"{trial} came out the same to the bit: {compared}")]
    views: list[Any] = [Text(f"{trial} came out different", style="bold red"), Text("")]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("what", "first at", "stored", "replayed", "largest difference"):
        table.add_column(name, overflow="fold")
    for one in replay.differences:
        sides = [_exact(one.stored), _exact(one.replayed)]
        largest = "" if one.largest is None else f"{one.largest:.3g}"
        table.add_row(Text(one.what), Text(one.first or ""), *map(Text, sides), Text(largest))
    views.append(table)
    if replay.changes:
        changes = (f"{one.what} was {one.then}, is {one.now}" for one in replay.changes)
        views += [Text(""), Text("not as it was: " + "; ".join(changes))]
    return views


def _exact(value: float | str | None) -> str:
    return "none" if value is None else str(value)


def overview_table(studies: Sequence[StudyOverview]) -> Table:
    """Return a line per study."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("study", "optimises", "best", "trials", "created"):
        table.add_column(name, overflow="fold")
    for one in studies:
        created = f"{one.created_at:%Y-%m-%d %H:%M} UTC" if one.created_at else "unknown"
        goal = goal_text(one.direction, one.metric)
        table.add_row(
            Text(one.name), Text(goal), number(one.best_value), states_text(one.states), created
        )
    return table


def goal_text(direction: str | Sequence[str], metric: str | Sequence[str]) -> str:
    """Return what a study optimises in words."""
    if isinstance(metric, str):
        return f"{direction} {metric}"
    return ", ".join(f"{way} {name}" for way, name in zip(direction, metric, strict=True))


def fields(pairs: Mapping[str, Any]) -> Table:
    """Return names and values in two columns."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs.items():
        table.add_row(escape(name), escape(value) if isinstance(value, str) else value)
    return table
