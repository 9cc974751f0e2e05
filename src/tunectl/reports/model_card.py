"""The page that goes with an exported network: what it is, how good, and what it is not good for.

It is Markdown and the same for the same trial; it says nothing of when it was written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunectl.config.image_run import ImageRun
from tunectl.config.network_run import NetworkRun
from tunectl.config.schema import TrialConfig
from tunectl.objectives.data_facts import DataFacts
from tunectl.objectives.signal_summary import unit_of
from tunectl.reports.summary import TrialSummary
from tunectl.training.plans import plan_from_json


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a model card is made from.

    Args:
        trial: The trial.
        config: Its configuration.
        metrics: Its `metrics.json`.
        info: Its `trial_info.yaml`.
        plan: Its `model.json`.
        space: Dotted key → the range that was searched, as one line.
        finished: How many trials of the study are complete or pruned.
        data: Its data; None where they are gone or changed.
        signals: Shape of the signals that it takes, for people.
        has_onnx: Whether the bundle has an ONNX file.
    """

    trial: TrialSummary
    config: TrialConfig
    metrics: Mapping[str, Any]
    info: Mapping[str, Any]
    plan: Mapping[str, Any]
    space: Mapping[str, str]
    finished: int
    data: DataFacts | None
    signals: str
    has_onnx: bool


_TARGET_LIMITS = (
    "It is for signals recorded like those above: same sensors, same order of channels, same "
    "rate. It gives a number for any other signal too, without a warning.",
    "Outside the range of the training's targets its answers are guesses.",
)
_CLASS_LIMITS = (
    "It is for images like those above: same subject, framing and light. It gives probabilities "
    "for any other image too, without a warning, also for one of none of its classes.",
    "The probabilities are the network's own and have not been calibrated.",
)


def write_model_card(facts: CardFacts) -> str:
    """Return the model card."""
    sections = (_head, _use, _data, _metrics, _tuned, _limits, _origin)
    return "\n\n".join("\n".join(section(facts)) for section in sections) + "\n"


def _head(facts: CardFacts) -> list[str]:
    config, plan = facts.config, facts.plan
    network = plan_from_json(plan)
    return [
        f"# Model card: {_plain(config.study.name)}, trial {facts.trial.number}",
        "",
        f"A {network.title} ({network.words}, "
        f"{_whole(facts.metrics.get('n_parameters'))} parameters) that {_purpose(plan)}:",
        "",
        *(f"- {_plain(name)}{_in_unit(name)}" for name in plan["target_names"]),
    ]


def _purpose(plan: Mapping[str, Any]) -> str:
    count = len(plan["target_names"])
    if plan.get("is_classifier"):
        return f"tells {_counted(count, 'class', 'classes')} of images apart"
    return f"reads {_counted(count, 'target')} from {_inputs(plan)}"


def _inputs(plan: Mapping[str, Any]) -> str:
    if plan.get("is_classifier"):
        return "images"
    return "rows of a table" if plan.get("layout") == "rows" else "signals"


def _takes(facts: CardFacts) -> str:
    if facts.plan.get("is_classifier"):
        return (
            f"It takes images as recorded, shape {facts.signals}, and gives the probability of "
            "each class. Correcting the brightness and scaling are done inside."
        )
    return (
        f"It takes {_inputs(facts.plan)} as recorded, all channels, shape {facts.signals}, and "
        "gives the targets in their own units. Choosing channels, downsampling and scaling are "
        "done inside."
    )


def _use(facts: CardFacts) -> list[str]:
    onnx = (
        "- `model.onnx`: network and scaling; input `signals` as recorded, output `targets`"
        if facts.has_onnx
        else "- no ONNX file: the packages it needs were not installed or did not agree, or the "
        "brightness is corrected before the network"
    )
    return [
        "## Use",
        "",
        _takes(facts),
        "",
        "```sh",
        "pip install -r requirements.txt",
        "python predict.py X.npy Y.csv",
        "```",
        "",
        "- `model.safetensors`, `model_simplecnn_real.pth`: the same weights, for safetensors and "
        "for `torch.load`",
        "- `model.json`, `scaling.json`: the architecture; mean and scale of signals and targets",
        onnx,
        "- `params_best.yaml`: a `params.yaml` with the best values, for the next training",
    ]


def _data(facts: CardFacts) -> list[str]:
    run = facts.config.run.as_kind(NetworkRun)
    shares = run.data_split
    lines = ["## Data", ""]
    if facts.data is None:
        lines += [
            "The data files are gone or are not those of the training any more, so that this page "
            "has no fingerprint of them.",
        ]
    else:
        both = ((_inputs(facts.plan), facts.data.x), ("targets", facts.data.t))
        rows = [(what, one) for what, one in both if one is not None]
        lines += _table(
            ("", "file", "shape", "type", "SHA-256"),
            ((what, _code(one.shown), one.shape, one.dtype, one.sha256) for what, one in rows),
        )
        split = facts.data.split
        sizes = (
            f"{len(split.train)} to train, {len(split.valid)} to choose, {len(split.test)} to test"
        )
        lines += ["", f"Samples: {sizes}, drawn at random with seed {shares.seed}."]
    if isinstance(run, ImageRun):
        return [*lines, "", f"Correction of the brightness: {run.dataset.correction}."]
    dropped, factor = facts.plan["drop_channels"], facts.plan["downsample_factor"]
    means = f"means of {factor} along the last axis" if factor > 1 else "none"
    lines += [
        "",
        f"Channels left out: {', '.join(map(str, dropped)) or 'none'}. Downsampling: {means}. "
        f"The network sees {_shape(facts.plan['input_shape'])} per sample.",
    ]
    return lines


def _metrics(facts: CardFacts) -> list[str]:
    if "per_class" in facts.metrics:
        return _class_metrics(facts)
    study, metrics = facts.config.study, facts.metrics
    rows = [
        (_plain(name), unit_of(name), *(_number(row.get(key)) for key in ("r2", "rmse", "mae")))
        for name, row in metrics.get("per_target", {}).items()
    ]
    ranked = ", ".join(
        f"{name} {_number(metrics.get(name))}"
        for name in dict.fromkeys((*study.values, "val_mse", "val_r2"))
    )
    return [
        "## How good it is",
        "",
        "On the test split, which had no part in training or in choosing, in each target's unit:",
        "",
        *_table(("target", "unit", "R²", "RMSE", "MAE"), rows),
        "",
        f"By which it was chosen, on the validation split: {ranked} "
        "(errors in standard deviations of the training split).",
    ]


def _class_metrics(facts: CardFacts) -> list[str]:
    metrics = facts.metrics
    keys = ("precision", "recall", "f1", "support")
    rows = [
        (_plain(name), *(_number(row.get(key)) for key in keys))
        for name, row in metrics["per_class"].items()
    ]
    ranked = dict.fromkeys((*facts.config.study.values, "val_acc", "val_loss"))
    chosen = ", ".join(f"{name} {_number(metrics.get(name))}" for name in ranked)
    return [
        "## How good it is",
        "",
        f"On the test split, which had no part in training or in choosing: accuracy "
        f"{_number(metrics.get('test_acc'))}, F1 {_number(metrics.get('test_f1'))} (mean over the "
        "classes).",
        "",
        *_table(("class", "precision", "recall", "F1", "images"), rows),
        "",
        f"By which it was chosen, on the validation split: {chosen}.",
    ]


def _tuned(facts: CardFacts) -> list[str]:
    params = facts.config.parameters
    rows = [(_code(key), _value(value), facts.space.get(key, "")) for key, value in params.items()]
    searched = f"the best of {_counted(facts.finished, 'finished trial')}"
    if not rows:
        return ["## What was tuned", "", f"Nothing: {searched}."]
    return [
        "## What was tuned",
        "",
        f"It is {searched}.",
        "",
        *_table(("parameter", "value", "searched"), rows),
    ]


def _limits(facts: CardFacts) -> list[str]:
    per_target = facts.metrics.get("per_target", {})
    useless = [
        name for name, row in per_target.items() if row.get("r2") is not None and row["r2"] <= 0
    ]
    is_classifier = bool(facts.plan.get("is_classifier"))
    limits = [
        *(_CLASS_LIMITS if is_classifier else _TARGET_LIMITS),
        "The metrics come from one random split. Samples that belong together (neighbours in time, "
        "one rig, one person) may stand on both sides of it, and then they flatter.",
        "The validation metric is that of the best of several trials, so it flatters too; the "
        "test split does not have that fault.",
    ]
    if useless:
        names = ", ".join(_plain(name) for name in useless)
        limits.append(f"No better than predicting the mean on the test split: {names}.")
    if facts.config.runtime.precision == "bf16":
        limits.append(
            "It was trained and tested with mixed precision (bf16) and is used in full here; the "
            "predictions differ a little."
        )
    return ["## Limits", "", *(f"- {limit}" for limit in limits)]


def _origin(facts: CardFacts) -> list[str]:
    versions = facts.info.get("versions", {})
    listed = ", ".join(f"{name} {version}" for name, version in versions.items()) or "not recorded"
    return [
        "## Where it comes from",
        "",
        f"Study {_plain(facts.config.study.name)}, trial {facts.trial.number}, epoch "
        f"{facts.metrics.get('best_epoch')} of {facts.metrics.get('epochs')}, trained "
        f"{facts.info.get('started_at') or 'at an unknown time'} on {facts.info.get('device')}. "
        f"Versions: {listed}.",
        "",
        "`config.yaml` is all that the training ran with.",
    ]


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    rules = ["---"] * len(heads)
    return [f"| {' | '.join(map(str, row))} |" for row in (heads, rules, *rows)]


def _in_unit(name: str) -> str:
    unit = unit_of(name)
    return f" ({unit})" if unit not in ("", "–") else ""


def _plain(text: str) -> str:
    """Return text that Markdown takes as it stands, on one line."""
    return re.sub(r"([\\`*_|<\[\]])", r"\\\1", " ".join(str(text).split()))


def _code(text: str) -> str:
    """Return text as a code span within a table, on one line; there a backslash escapes only `|`.

    Its fence is longer than any run of backquotes within, and a space keeps one at an end from it.
    """
    line = " ".join(str(text).split()).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    room = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{room}{line}{room}{fence}"


def _value(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _whole(value: float | None) -> str:
    return "unknown" if value is None else f"{int(value):,}"


def _shape(sizes: Sequence[int]) -> str:
    return "(" + ", ".join(map(str, sizes)) + ")"


def _counted(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"
