"""What `trial_info.yaml` and the observers are told of a trial: read off the database."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from tunectl import __version__
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import Settings
from tunectl.running.events import EndState, TrialEnded
from tunectl.studies import attributes
from tunectl.studies.ranking import STATE_NAMES, best_trials, first_value, one_or_list
from tunectl.studies.times import duration_s, utc

END_STATES: Mapping[TrialState, EndState] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


def describe_trial(trial: FrozenTrial, settings: Settings, device: str) -> dict[str, Any]:
    """Return what `trial_info.yaml` says.

    Args:
        trial: The trial as it is stored.
        settings: What the study runs with.
        device: The device that the trial ran on.
    """
    study = settings.search.study
    several = {"values": trial.values} if len(study.metric) > 1 else {}
    return {
        "study": study.name,
        "number": trial.number,
        "state": STATE_NAMES[trial.state],
        "value": first_value(trial),
        **several,
        "metric": one_or_list(study.metric),
        "direction": one_or_list(study.directions),
        "params": dict(trial.params),
        "started_at": utc(trial.datetime_start),
        "finished_at": utc(trial.datetime_complete),
        "duration_s": duration_s(trial),
        "epochs": attributes.epochs_of(trial),
        "best_epoch": trial.user_attrs.get(attributes.BEST_EPOCH),
        "error": trial.user_attrs.get(attributes.ERROR),
        "seed": trial.params.get("training.seed", settings.run.training.seed),
        "study_seed": study.seed,
        "host": platform.node(),
        "device": device,
        "versions": _versions(),
    }


def describe_end(study: optuna.Study, trial: FrozenTrial, directory: TrialDir) -> TrialEnded:
    """Return what the observers are told of a trial's end."""
    return TrialEnded(
        number=trial.number,
        state=END_STATES[trial.state],
        value=first_value(trial),
        epochs=attributes.epochs_of(trial),
        duration_s=duration_s(trial) or 0.0,
        error=trial.user_attrs.get(attributes.ERROR),
        directory=directory.path,
        is_best=trial.number in [best.number for best in best_trials(study)],
    )


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("optuna", "torch", "numpy")
    return {
        "tunectl": __version__,
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }
