"""From a trial and its directory to the run that mirrors it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import TrialConfig
from tunectl.studies import attributes
from tunectl.studies.ranking import STATE_NAMES, first_value
from tunectl.tracking.run_plan import (
    KIND,
    STATE,
    TRIAL,
    ArtifactFile,
    Point,
    RunPlan,
    Status,
    as_key,
    as_text,
    as_texts,
    is_number,
    milliseconds,
    points_of,
)

STATUS: Mapping[TrialState, Status] = {
    TrialState.RUNNING: "RUNNING",
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "KILLED",
    TrialState.FAIL: "FAILED",
}


def plan_trial(
    trial: FrozenTrial,
    directory: TrialDir | None,
    metric: str,
    study_tags: Mapping[str, str],
    *,
    interrupted: bool = False,
) -> RunPlan | None:
    """Return what mirrors a trial.

    Args:
        trial: The trial.
        directory: Its own folder, None where it is gone or out of reach.
        metric: What the study optimises, by which pruned trials' reports are known.
        study_tags: Tags that all runs of the study carry.
        interrupted: Whether it is running in name only.

    Returns:
        None while it has not begun.
    """
    if trial.state is TrialState.WAITING or trial.datetime_start is None:
        return None
    start_ms = milliseconds(trial.datetime_start)
    ended = trial.datetime_complete
    info = directory.read_info() if directory else {}
    config = directory.read_config() if directory else None
    is_over = trial.state.is_finished()
    return RunPlan(
        name=f"trial_{trial.number}",
        status="KILLED" if interrupted else STATUS[trial.state],
        start_ms=start_ms,
        end_ms=milliseconds(ended) if ended else _last_sign_ms(directory) if interrupted else None,
        tags={**study_tags, **_tags(trial, info, interrupted=interrupted)},
        params=_parameters(trial, config),
        points=_points(trial, directory, metric, start_ms) if is_over else (),
        files=tuple(files_of(directory)) if directory and is_over else (),
        has_files=directory is not None,
    )


def files_of(directory: TrialDir) -> Iterator[ArtifactFile]:
    """Yield the files of a finished trial, without those that only its own process needs."""
    for path in sorted(directory.path.rglob("*")):
        inside = path.relative_to(directory.path)
        hidden = any(part.startswith(".") for part in inside.parts)
        if hidden or inside.parts[0] == directory.checkpoints_dir.name or not path.is_file():
            continue
        stat = path.stat()
        folder = "" if inside.parent == Path() else inside.parent.as_posix()
        yield ArtifactFile(path, folder, f"{stat.st_size} {stat.st_mtime_ns}")


def _parameters(trial: FrozenTrial, config: TrialConfig | None) -> dict[str, str]:
    """Return the whole configuration by dotted key; without it, what the sampler proposed."""
    flat: dict[str, Any] = dict(trial.params)
    if config is not None:
        flat |= dict(_by_dotted_key(config.run.model_dump(mode="json")))
    return as_texts(flat)


def _by_dotted_key(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _by_dotted_key(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def _tags(trial: FrozenTrial, info: Mapping[str, Any], *, interrupted: bool) -> dict[str, str]:
    state = "interrupted" if interrupted else STATE_NAMES[trial.state]
    tags = {
        KIND: "trial",
        TRIAL: str(trial.number),
        STATE: state,
        "tunectl.output_dir": trial.user_attrs.get(attributes.OUTPUT_DIR),
        "tunectl.error": trial.user_attrs.get(attributes.ERROR),
        "tunectl.host": info.get("host"),
        "tunectl.device": info.get("device"),
        "tunectl.version": _versions(info).get("tunectl"),
        "mlflow.user": info.get("user"),
        **source_tags(info.get("git_commit")),
    }
    return {name: as_text(value) for name, value in tags.items() if value is not None}


def source_tags(git_commit: Any) -> dict[str, Any]:
    """Return MLflow's own tags for what made a run."""
    return {
        "mlflow.source.name": "tunectl",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": git_commit,
    }


def _versions(info: Mapping[str, Any]) -> Mapping[str, Any]:
    versions = info.get("versions")
    return versions if isinstance(versions, Mapping) else {}


def _points(
    trial: FrozenTrial, directory: TrialDir | None, metric: str, start_ms: int
) -> tuple[Point, ...]:
    """Return the curves, epoch by epoch, and what came out in the end."""
    document = directory.read_metrics() if directory is not None else {}
    curves = _curves(trial, document, metric)
    end_ms = milliseconds(trial.datetime_complete) if trial.datetime_complete else start_ms
    epochs = max(
        [attributes.epochs_of(trial), *(max(curve, default=0) for curve in curves.values())]
    )
    points = [
        Point(as_key(name), value, start_ms + (end_ms - start_ms) * step // max(1, epochs), step)
        for name, curve in curves.items()
        for step, value in curve.items()
    ]
    final = _final_values(trial, document, curves)
    return (*points, *points_of(final, end_ms, epochs))


def _curves(
    trial: FrozenTrial, document: Mapping[str, Any], metric: str
) -> dict[str, dict[int, float]]:
    """Return name → epoch → value; without a file, what the trial reported to the pruner."""
    histories = document.get("histories")
    if isinstance(histories, Mapping) and histories:
        named = {str(name): list(one) for name, one in histories.items() if isinstance(one, list)}
        told = document.get("steps")
        longest = max(map(len, named.values()), default=0)
        steps = told if isinstance(told, list) and len(told) >= longest else range(1, longest + 1)
        return {
            name: {int(i): float(v) for i, v in zip(steps, values, strict=False) if is_number(v)}
            for name, values in named.items()
        }
    reported = {s: v for s, v in sorted(trial.intermediate_values.items()) if is_number(v)}
    return {metric: reported} if reported else {}


def _final_values(
    trial: FrozenTrial, document: Mapping[str, Any], curves: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the final values by name; `best_…` where the plain name is that of a curve."""
    stored = trial.user_attrs.get(attributes.METRICS)
    metrics = stored if isinstance(stored, Mapping) else {}
    final = {f"best_{name}" if name in curves else name: value for name, value in metrics.items()}
    final |= {
        "value": first_value(trial),
        "best_epoch": trial.user_attrs.get(attributes.BEST_EPOCH),
        "epochs": attributes.epochs_of(trial),
    }
    per_target = document.get("per_target")
    for target, scores in per_target.items() if isinstance(per_target, Mapping) else ():
        if isinstance(scores, Mapping):
            final |= {f"test_{score}/{target}": value for score, value in scores.items()}
    return final


def _last_sign_ms(directory: TrialDir | None) -> int | None:
    last_s = directory.last_sign_s() if directory else None
    return round(last_s * 1000) if last_s is not None else None
