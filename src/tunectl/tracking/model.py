"""The best trial's network as an MLflow model that needs neither tunectl nor pickle to be loaded.

It takes signals as they were recorded and gives targets in their own units.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.errors import TrackingError
from tunectl.tracking.run_plan import MODEL, STUDY, STUDY_ID, TRIAL
from tunectl.tracking.runs import Mirrored

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel as MlflowModel

    from tunectl.training.packaged import PackagedNet

NAME = "model"
LONGEST_REASON = 300
EXAMPLES = 2  # one would fix the number of samples at one
REQUIREMENTS = ("mlflow", "torch", "numpy")


@dataclass(frozen=True, kw_only=True)
class LoggedModel:
    """A model in MLflow.

    Args:
        model_id: Its id.
        trial: The number of the trial that it is of.
    """

    model_id: str
    trial: int

    @property
    def uri(self) -> str:
        """Where MLflow finds it."""
        return f"models:/{self.model_id}"

    @classmethod
    def from_tag(cls, text: str | None) -> LoggedModel | None:
        """Return what a run's tag says."""
        trial, _, model_id = (text or "").partition(" ")
        return cls(model_id=model_id, trial=int(trial)) if trial.isdecimal() and model_id else None

    def to_tag(self) -> str:
        """Return what a run's tag is to say."""
        return f"{self.trial} {self.model_id}"


def log_model(
    client: MlflowClient,
    experiment_id: str,
    parent: Mirrored,
    trial: int,
    saved: Path,
) -> LoggedModel:
    """Log the network of a trial with its study's run.

    Args:
        client: The client.
        experiment_id: The experiment.
        parent: The study's run.
        trial: The trial's number.
        saved: The folder that `save_model` wrote.
    """
    from mlflow.models import Model

    tags = {name: parent.tags[name] for name in (STUDY, STUDY_ID) if name in parent.tags}
    made = _begun_model(client, experiment_id, parent, trial) or client.create_logged_model(
        experiment_id,
        name=NAME,
        source_run_id=parent.run_id,
        tags={**tags, TRIAL: str(trial)},
        model_type="pytorch",
    )
    description = Model.load(str(saved))
    description.model_id, description.run_id = made.model_id, parent.run_id
    description.save(str(saved / "MLmodel"))
    client.log_model_artifacts(made.model_id, str(saved))
    client.finalize_logged_model(made.model_id, "READY")
    logged = LoggedModel(model_id=made.model_id, trial=trial)
    client.set_tag(parent.run_id, MODEL, logged.to_tag())
    return logged


def _begun_model(
    client: MlflowClient, experiment_id: str, parent: Mirrored, trial: int
) -> MlflowModel | None:
    """Return the model that a process which was killed here had begun, None if there is none."""
    token: str | None = None
    while True:
        page = client.search_logged_models(
            [experiment_id], filter_string=f"name = '{NAME}'", page_token=token
        )
        for one in page:
            if (one.source_run_id, one.tags.get(TRIAL)) == (parent.run_id, str(trial)):
                return one
        token = page.token
        if not token:
            return None


def save_model(directory: TrialDir, path: Path) -> None:
    """Write the network of a trial as a folder that MLflow can load.

    Args:
        directory: The trial's folder.
        path: The model's folder; must not exist.

    Raises:
        StorageError: the network's files are gone or damaged.
        TrackingError: PyTorch or MLflow cannot export it.
    """
    import torch

    from tunectl.training.packaged import load_packaged

    packaged = load_packaged(directory)
    if packaged.correction is not None:
        raise TrackingError(
            f"no model can be made of {directory.path}: "
            "the correction of the brightness is no part of the network"
        )
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((EXAMPLES, *packaged.sample_shape), generator=generator)
    example = packaged.like_recorded(noise)
    try:
        with _quietly(), torch.inference_mode():
            _save(packaged, example.numpy(), path)
    except Exception as error:  # PyTorch's export raises anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:LONGEST_REASON]}"
        raise TrackingError(f"no model can be made of {directory.path}: {reason}") from error


def _save(packaged: PackagedNet, example: Any, path: Path) -> None:
    import mlflow.pytorch
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    n_targets = len(packaged.target_names)
    floats = np.dtype(np.float32)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(floats, (-1, *packaged.sample_shape))]),
        outputs=Schema([TensorSpec(floats, (-1, n_targets))]),
    )
    mlflow.pytorch.save_model(
        packaged,
        str(path),
        signature=signature,
        input_example=example,
        pip_requirements=_requirements(),
        serialization_format="pt2",
        metadata={
            "targets": list(packaged.target_names),
            "channels": list(packaged.looked_at),
            "factor": packaged.factor,
            **_image_metadata(packaged),
        },
    )


def _image_metadata(packaged: PackagedNet) -> dict[str, Any]:
    if packaged.images is None:
        return {}
    return {"layout": packaged.layout, "image_size": packaged.image_size}


def _requirements() -> list[str]:
    from importlib.metadata import version

    # PyTorch's local versions, such as 2.13.0+cpu, are not on PyPI.
    return [f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS]


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep what PyTorch and MLflow say of an export to themselves."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def has_model(directory: TrialDir | None) -> bool:
    """Whether a trial left a network that can be packaged."""
    return directory is not None and directory.model_file.is_file()
