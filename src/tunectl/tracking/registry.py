"""The model registry: a new version only for a network that beats the champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import FileLock

from tunectl.errors import TrackingError
from tunectl.tracking.destination import Destination
from tunectl.tracking.model import LoggedModel
from tunectl.tracking.run_plan import STUDY, STUDY_ID, TRIAL

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
METRIC, DIRECTION, VALUE = "tunectl.metric", "tunectl.direction", "tunectl.value"
DATA, TARGETS = "tunectl.data", "tunectl.targets"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A network that may become the champion.

    Args:
        model: It, logged in MLflow.
        study: The study's name.
        study_id: The study's identity in MLflow.
        metric: What it was chosen by.
        direction: `minimize` or `maximize`.
        value: Its value of that metric.
        data: The same for two networks only if they were measured on the same samples; None where
            that is not known any more.
        targets: What it predicts.
        run_id: The trial's run.
        parent_run_id: The study's run.
    """

    model: LoggedModel
    study: str
    study_id: str
    metric: str
    direction: str
    value: float
    data: str | None
    targets: str
    run_id: str
    parent_run_id: str

    def tags(self) -> dict[str, str]:
        """Return the tags of its version."""
        return {
            STUDY: self.study,
            STUDY_ID: self.study_id,
            TRIAL: str(self.model.trial),
            METRIC: self.metric,
            DIRECTION: self.direction,
            VALUE: repr(self.value),
            DATA: self.data or "unknown",
            TARGETS: self.targets,
            "tunectl.run_id": self.run_id,
            "tunectl.parent_run_id": self.parent_run_id,
        }

    def beats(self, champion: Mapping[str, str]) -> bool:
        """Whether it is strictly better than a version with such tags.

        Raises:
            ValueError: the two cannot be compared.
        """
        if (champion.get(METRIC), champion.get(DIRECTION)) != (self.metric, self.direction):
            chosen_by = champion.get(METRIC, "something else")
            raise ValueError(f"was chosen by {chosen_by}, not by {self.metric}")
        if champion.get(TARGETS) != self.targets:
            raise ValueError(f"predicts other targets than {self.targets}")
        if self.data is None or champion.get(DATA) != self.data:
            raise ValueError("was measured on other data, or another part of them")
        other = float(champion[VALUE])
        return self.value > other if self.direction == "maximize" else self.value < other


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What became of a candidate.

    Args:
        name: The registered model.
        version: The champion's version.
        is_new: Whether the candidate has become the champion by this.
    """

    name: str
    version: str
    is_new: bool

    @property
    def uri(self) -> str:
        """Where MLflow finds the champion."""
        return f"models:/{self.name}@{CHAMPION}"


def register(client: MlflowClient, destination: Destination, candidate: Candidate) -> Registration:
    """Make a candidate the champion if it beats the one there is.

    Args:
        client: The client.
        destination: The MLflow, and the registered model's name.
        candidate: The network.

    Raises:
        TrackingError: the champion cannot be compared with it.
    """
    name = destination.model_name
    destination.lock_folder.mkdir(parents=True, exist_ok=True)
    with FileLock(destination.lock_folder / ".mlflow-registry.lock"):
        _make_model(client, name)
        champion = _champion(client, name)
        if champion is not None and not _gives_way(champion, candidate, destination):
            return Registration(name=name, version=str(champion.version), is_new=False)
        version = _own_version(client, name, candidate)
        if version is None:
            source = _source(client, destination, candidate)
            version = _make_version(client, name, candidate, source)
        client.set_registered_model_alias(name, CHAMPION, version)
        return Registration(name=name, version=version, is_new=True)


def _gives_way(champion: ModelVersion, candidate: Candidate, destination: Destination) -> bool:
    tags = dict(champion.tags)
    wanted = candidate.tags()
    if all(tags.get(key) == wanted[key] for key in (STUDY_ID, TRIAL)):
        return False
    try:
        return candidate.beats(tags)
    except (ValueError, KeyError) as error:
        raise TrackingError(
            f"the champion of {destination.model_name!r}, version {champion.version}, {error}; "
            "nothing was registered. Give another mlflow.registered_model_name, or take the alias "
            "away in MLflow"
        ) from error


def _make_model(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description="Champions of studies, by tunectl.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _champion(client: MlflowClient, name: str) -> ModelVersion | None:
    number = client.get_registered_model(name).aliases.get(CHAMPION)
    return client.get_model_version(name, str(number)) if number is not None else None


def _own_version(client: MlflowClient, name: str, candidate: Candidate) -> str | None:
    """Return the candidate's version if it was made before the alias could be moved to it."""
    wanted, quote = candidate.tags(), '"' if "'" in name else "'"
    for version in client.search_model_versions(f"name = {quote}{name}{quote}"):
        if all(version.tags.get(key) == wanted[key] for key in (STUDY_ID, TRIAL)):
            return str(version.version)
    return None


def _source(client: MlflowClient, destination: Destination, candidate: Candidate) -> str:
    """Return where the registry is to find the network's files."""
    if destination.is_server:
        return candidate.model.uri
    # A local store would look up the model's id in whatever store the environment names.
    return str(client.get_logged_model(candidate.model.model_id).artifact_location)


def _make_version(client: MlflowClient, name: str, candidate: Candidate, source: str) -> str:
    version = client.create_model_version(
        name,
        source=source,
        run_id=candidate.parent_run_id,
        model_id=candidate.model.model_id,
        tags=candidate.tags(),
        description=(
            f"Trial {candidate.model.trial} of study {candidate.study}: "
            f"{candidate.metric} = {candidate.value:.6g} (run {candidate.run_id})"
        ),
    )
    return str(version.version)
