"""`check --plan`: what a `tune` would do, as JSON for programs and as tables for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tunectl.cli.render import fields
from tunectl.config.passwords import hide_passwords
from tunectl.reports.words import duration, number, value_text

if TYPE_CHECKING:
    from tunectl.config.load import Loaded
    from tunectl.running.plan import Plan
    from tunectl.running.rehearsal import Rehearsals, Tried

NOTE = (
    "an upper bound for training, since pruning stops trials early; with one worker; reading data "
    "and drawing figures come on top"
)
SPACE = "params_to_tune."


def configuration(loaded: Loaded) -> dict[str, dict[str, Any]]:
    """Return every value of the merged configuration and where it comes from, by dotted key."""
    tree = loaded.settings
    flat: dict[str, Any] = {}
    for part in (tree.surroundings, tree.run, tree.search):
        flat.update(part.model_dump(mode="json", exclude={"params_to_tune"}))
    space = tree.search.params_to_tune
    merged: dict[str, dict[str, Any]] = {}
    for key, origin in loaded.origins.items():
        if key.startswith(SPACE):
            spec = space[key.removeprefix(SPACE)]
            value: Any = spec.model_dump(mode="json", exclude_none=True)
        else:
            value = _value_at(flat, key)
        has_own_entries = isinstance(value, dict) and value and not key.startswith(SPACE)
        if not has_own_entries:
            merged[key] = {"value": _without_password(value), "origin": hide_passwords(str(origin))}
    return merged


def document(loaded: Loaded, plan: Plan) -> dict[str, Any]:
    """Return what `check --json` has more with `--plan`."""
    from tunectl.search.space import SearchSpace

    space = {
        "n_points": plan.space.n_points,
        "continuous": plan.space.n_points is None,
        "by_type": dict(plan.space.by_type),
        "conditions": {key: dict(when) for key, when in plan.space.conditions.items()},
        "parameters": SearchSpace(loaded.settings.search.params_to_tune).to_document(),
    }
    estimate = plan.estimate
    return {
        "configuration": configuration(loaded),
        "space": space,
        "samples": [dict(one) for one in plan.samples],
        "rehearsal": _rehearsal_document(plan.rehearsal) if plan.rehearsal else None,
        "estimate": {**dataclasses.asdict(estimate), "note": NOTE} if estimate else None,
    }


def plan_view(loaded: Loaded, plan: Plan) -> Iterator[Any]:
    """Yield a plan for people, part by part."""
    yield _heading("configuration")
    yield _configuration_table(configuration(loaded))
    yield _heading("search space")
    yield fields(_space_lines(plan))
    yield _heading("five random configurations")
    yield _samples_table(plan)
    if plan.rehearsal is not None:
        yield _heading(f"rehearsal on {plan.rehearsal.device}")
        yield _rehearsal_table(plan.rehearsal)
    if plan.estimate is not None:
        one = plan.estimate
        times = f"{duration(one.min_time_s)} to {duration(one.max_time_s)}"
        yield _heading(f"estimate for {one.n_trials} trials")
        disk = f"{size_text(one.min_disk_bytes)} to {size_text(one.max_disk_bytes)}"
        yield fields({"time": times, "disk": disk})
        yield Text(f"({NOTE})", style="dim")


def size_text(n_bytes: float) -> str:
    """Return a number of bytes for people: `3.4 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def _value_at(tree: Mapping[str, Any], key: str) -> Any:
    here: Any = tree
    for part in key.split("."):
        here = here.get(part) if isinstance(here, Mapping) else None
    return here


def _without_password(value: Any) -> Any:
    return hide_passwords(value) if isinstance(value, str) else value


def _rehearsal_document(rehearsals: Rehearsals) -> dict[str, Any]:
    def plain(tried: Tried) -> dict[str, Any]:
        result = dataclasses.asdict(tried.result) if tried.result else None
        parameters = dict(tried.parameters)
        return {"parameters": parameters, "error": tried.error, **(result or {})}

    return {
        "device": rehearsals.device,
        "smallest": plain(rehearsals.smallest),
        "largest": plain(rehearsals.largest),
        "slowest": plain(rehearsals.slowest),
        "quickest": plain(rehearsals.quickest),
    }


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _configuration_table(merged: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name in ("key", "value", "origin"):
        table.add_column(name, overflow="fold", style="dim" if name == "origin" else "")
    for key, entry in merged.items():
        value = entry["value"]
        if key.startswith(SPACE):
            value = _spec_text(value)
        table.add_row(Text(key), Text(_text(value)), Text(entry["origin"]))
    return table


def _spec_text(spec: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {_text(value)}" for name, value in spec.items())


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_text(item) for item in value) + "]"
    return value_text(value)


def _space_lines(plan: Plan) -> dict[str, Any]:
    points = plan.space.n_points
    kinds = ", ".join(f"{count} {kind}" for kind, count in plan.space.by_type.items())
    lines: dict[str, Any] = {
        "size": "continuous" if points is None else f"{points:,} points",
        "parameters": kinds or "none",
    }
    for key, when in plan.space.conditions.items():
        lines[key] = "when " + " and ".join(f"{name} = {_text(v)}" for name, v in when.items())
    return lines


def _samples_table(plan: Plan) -> Table:
    """Return a row per parameter and a column per configuration; long keys make short rows."""
    table = Table(box=None, pad_edge=False, show_header=False)
    keys = dict.fromkeys(key for one in plan.samples for key in one)
    table.add_column(overflow="fold")
    for _ in plan.samples:
        table.add_column(justify="right", overflow="fold")
    for key in keys:
        cells = [Text(value_text(one[key]) if key in one else "–") for one in plan.samples]
        table.add_row(Text(key), *cells)
    return table


def _rehearsal_table(rehearsals: Rehearsals) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = ("", "parameters", "input", "output", "memory", "a step", "an epoch", "gradients")
    for name in (*names, "with"):
        left = name in ("", "with")
        table.add_column(name, justify="left" if left else "right", overflow="fold")
    for label in ("smallest", "largest", "slowest", "quickest"):
        tried: Tried = getattr(rehearsals, label)
        chosen = ", ".join(f"{key}={_text(value)}" for key, value in tried.parameters.items())
        result = tried.result
        if result is None:
            table.add_row(label, f"{tried.size.n_parameters:,}", *[""] * 6, escape(chosen))
            continue
        table.add_row(
            label,
            f"{result.n_parameters:,}",
            _shape(result.input_shape),
            _shape(result.output_shape),
            size_text(result.peak_memory_bytes),
            f"{number(1e3 * result.step_s)} ms",
            f"{number(result.epoch_s)} s",
            "finite" if result.gradients_finite else Text("not finite", style="red"),
            escape(chosen),
        )
    return table


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
