"""What `trial_info.yaml` says of a trial: read off the database, and compared with what is written.

It knows neither where the file stands nor who writes it.
"""

from __future__ import annotations

import functools
import getpass
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from optuna.trial import FrozenTrial

from tunectl import __version__
from tunectl.artifacts.atomic import to_yaml
from tunectl.config.schema import Settings
from tunectl.studies import attributes
from tunectl.studies.ranking import STATE_NAMES, first_value
from tunectl.studies.records import one_or_list
from tunectl.studies.times import duration_s, utc

# What only the process that ran the trial knew, and what the study's settings say today.
_OF_THE_RUN = ("seed", "study_seed", "host", "device", "user", "git_commit", "versions")
GIT_S = 5.0


def describe_trial(
    trial: FrozenTrial, settings: Settings, device: str, project: Path
) -> dict[str, Any]:
    """Return what `trial_info.yaml` says of a trial that this process runs.

    Args:
        trial: The trial as it is stored.
        settings: What the study runs with.
        device: The device that the trial runs on.
        project: Absolute path of the project folder.
    """
    return {
        **_stored(trial, settings),
        "host": platform.node(),
        "device": device,
        "user": _user(),
        "git_commit": _git_commit(project),
        "versions": versions(),
    }


def describe_again(
    trial: FrozenTrial, settings: Settings, written: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what `trial_info.yaml` is to say of a trial that some process ran earlier.

    Args:
        trial: The trial as it is stored.
        settings: What the study runs with.
        written: What the file says, empty where there is none that can be read; what only the
            process knew that ran the trial is taken from there.
    """
    claimed_by = trial.user_attrs.get(attributes.CLAIMED_BY)
    host = claimed_by.get("host") if isinstance(claimed_by, Mapping) else None
    unknown = dict.fromkeys(("device", "user", "git_commit", "versions"))
    facts = {**_stored(trial, settings), "host": host, **unknown}
    return {**facts, **{key: written[key] for key in _OF_THE_RUN if key in written}}


def differing_keys(
    trial: FrozenTrial, settings: Settings, written: Mapping[str, Any]
) -> tuple[str, ...]:
    """Return the keys under which `trial_info.yaml` says something else than the database."""
    facts = yaml.safe_load(to_yaml(_stored(trial, settings)))
    return tuple(
        key
        for key, value in facts.items()
        if key not in _OF_THE_RUN and (key not in written or written[key] != value)
    )


def _stored(trial: FrozenTrial, settings: Settings) -> dict[str, Any]:
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
        "seed": trial.params.get("training.seed", settings.run.seed),
        "study_seed": study.seed,
    }


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return None


@functools.cache
def _git_commit(project: Path) -> str | None:
    """Return the commit of the project, None where it is under no version control."""
    command = ["git", "-C", str(project), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def versions() -> dict[str, str]:
    """Return the versions that a trial's numbers may depend on."""
    from importlib.metadata import version

    packages = ("optuna", "torch", "numpy")
    return {
        "tunectl": __version__,
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }
