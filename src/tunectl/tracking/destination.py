"""Where a study is mirrored to: which MLflow, which experiment, under which names.

It imports nothing of MLflow, so that every command may ask.
"""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.config.passwords import hide_passwords
from tunectl.config.schema import Mlflow

DATABASE = "mlflow.db"
ARTIFACTS = "mlflow-artifacts"
DEFAULT_PORT = 5001

# Unless the user has set them: no usage reports, and no call that waits for minutes.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass(frozen=True, kw_only=True)
class Destination:
    """An experiment in an MLflow.

    Args:
        uri: The tracking URI, which may hold a password.
        experiment: The experiment's name.
        model_name: The name of the registered model.
        register_best: Whether the best model is registered at the end of a `tune`.
        lock_folder: Where what only one process may do at a time is locked.
        artifacts: Folder of the artifacts of a local store, None for any other.
    """

    uri: str
    experiment: str
    model_name: str
    register_best: bool
    lock_folder: Path
    artifacts: Path | None = None

    @property
    def shown_uri(self) -> str:
        """The URI as it may be shown: without its password."""
        return redacted(self.uri)

    @property
    def is_server(self) -> bool:
        """Whether it is reached over HTTP."""
        return self.uri.startswith(("http://", "https://"))

    @property
    def database(self) -> Path | None:
        """The file of a SQLite store, None for any other."""
        found = re.fullmatch(r"sqlite:///(.+)", self.uri)
        return Path(found[1]) if found else None

    @property
    def web_address(self) -> str:
        """Where its web page is, or would be if `tunectl mlflow ui` ran."""
        if self.is_server:
            return self.shown_uri.replace("//…@", "//").rstrip("/")
        return f"http://127.0.0.1:{DEFAULT_PORT}"


def find_destination(wanted: Mlflow, tree: ProjectTree, study: str) -> Destination:
    """Return where a study is mirrored to.

    Args:
        wanted: The section of the configuration.
        tree: Where the project keeps its files.
        study: The study's name.
    """
    experiment = wanted.experiment_name or study
    uri, artifacts = wanted.tracking_uri, None
    if uri is None:
        uri = f"sqlite:///{tree.optuna_dir / DATABASE}"
    elif re.fullmatch(r"sqlite:///(?!/).+", uri):
        uri = f"sqlite:///{tree.project / uri.removeprefix('sqlite:///')}"
    if uri.startswith("sqlite:///"):
        artifacts = Path(uri.removeprefix("sqlite:///")).parent / ARTIFACTS
    return Destination(
        uri=uri,
        experiment=experiment,
        model_name=wanted.registered_model_name or f"{experiment}_model",
        register_best=wanted.register_best,
        lock_folder=tree.optuna_dir,
        artifacts=artifacts,
    )


def redacted(text: str) -> str:
    """Return a text without the user names and passwords of the URLs in it."""
    return re.sub(r"(\w+://)[^/\s@]*@", r"\1…@", hide_passwords(text))


def quieten(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set what keeps MLflow quick and silent, where the user has not set it."""
    for name, value in ENVIRONMENT.items():
        environment.setdefault(name, value)


def run_address(destination: Destination, experiment_id: str, run_id: str, base: str = "") -> str:
    """Return the web address of a run.

    Args:
        destination: Where it is.
        experiment_id: Its experiment.
        run_id: The run.
        base: Instead of the destination's own web address.
    """
    return f"{base or destination.web_address}/#/experiments/{experiment_id}/runs/{run_id}"
