"""A network out of MLflow, by the name of its experiment and the id of its run, or by a model URI.

Nothing of it is unpickled: a model that needs that is refused.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.errors import NotFoundError, UsageError
from tunectl.tracking.destination import Destination
from tunectl.tracking.model import LoggedModel
from tunectl.tracking.run_plan import MODEL
from tunectl.tracking.service import connect, mlflow_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from tunectl.training.new_images import ImageForm
    from tunectl.training.packaged import PackagedNet
    from tunectl.training.prediction import SignalNetwork

Floats = NDArray[np.float32]
NO_PICKLE = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model of MLflow's that takes and gives data in the users' own units.

    Args:
        run: From signals as recorded, 32-bit floats (N, C, …), to targets (N, T).
        sample_shape: Shape of one sample as recorded, all channels: (C, L) or (C, H, W).
        factor: The last axis may be longer by less than this.
        looked_at: The recorded channels that it looks at.
        target_names: One per target.
        images: How it takes images, None for a network that takes none.
    """

    run: Callable[[Floats], Any]
    sample_shape: tuple[int, ...]
    factor: int
    looked_at: tuple[int, ...]
    target_names: Sequence[str]
    images: ImageForm | None = None

    def predict(self, signals: Floats) -> Floats:
        """Return targets (N, T) in their own units, of signals as recorded."""
        return np.asarray(self.run(signals), dtype=np.float32)


def load_model(name: str, destination: Destination) -> SignalNetwork:
    """Return a network from MLflow, on the CPU.

    Args:
        name: `EXPERIMENT/RUN_ID`, where the run is a study's or a trial's, or a URI that begins
            with `models:/` or `runs:/`.
        destination: The MLflow.

    Raises:
        UsageError: the name is none of these, or the model is none for signals.
        NotFoundError: there is no such experiment, run or model.
        TrackingError: MLflow cannot be reached.
    """
    os.environ.setdefault(NO_PICKLE, "false")
    client = connect(destination)
    with mlflow_errors(destination, missing=f"{name} is not in MLflow at {destination.shown_uri}"):
        if name.startswith(("models:/", "runs:/")):
            return _load_uri(name, destination)
        run = _find_run(client, name)
        logged = LoggedModel.from_tag(run.data.tags.get(MODEL))
        if logged is not None:
            return _load_uri(logged.uri, destination)
        return _load_files(client, run, name)


def _find_run(client: MlflowClient, name: str) -> Run:
    experiment_name, slash, run_id = name.rpartition("/")
    if not slash or not experiment_name or not run_id:
        raise UsageError(
            f"{name!r} names no model; valid: EXPERIMENT/RUN_ID, models:/NAME@champion, runs:/…"
        )
    experiment = client.get_experiment_by_name(experiment_name)
    if experiment is None:
        raise NotFoundError(f"there is no experiment {experiment_name!r} in MLflow")
    run = client.get_run(run_id)
    if run.info.experiment_id != experiment.experiment_id:
        raise NotFoundError(f"run {run_id} is not of the experiment {experiment_name!r}")
    return run


def _load_uri(uri: str, destination: Destination) -> SignalNetwork:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
        import mlflow.pyfunc

        mlflow.set_tracking_uri(destination.uri)
        mlflow.set_registry_uri(destination.uri)
        # MLflow wants it on a GPU if there is one, and refuses it there: it is exported for a CPU.
        model = mlflow.pyfunc.load_model(uri, model_config={"device": "cpu"})
    return _described(model, uri)


def _described(model: Any, uri: str) -> LoadedModel:
    """Return a loaded model with what its signature and its metadata say of it."""
    signature = model.metadata.signature
    shapes = [
        tuple(part.inputs[0].shape) if part is not None and part.is_tensor_spec() else ()
        for part in (signature and signature.inputs, signature and signature.outputs)
    ]
    if any(len(shape) < 2 or min(shape[1:]) < 1 for shape in shapes):
        raise UsageError(f"{uri} is no model that takes signals and gives targets")
    (_, *sample_shape), (_, n_targets) = shapes[0], shapes[1][:2]
    metadata = model.metadata.metadata or {}
    numbered = [f"target_{index}" for index in range(n_targets)]
    return LoadedModel(
        run=model.predict,
        sample_shape=tuple(sample_shape),
        factor=int(metadata.get("factor", 1)),
        looked_at=tuple(metadata.get("channels", range(sample_shape[0]))),
        target_names=tuple(metadata.get("targets", numbered)),
        images=_image_form(tuple(sample_shape), metadata),
    )


def _image_form(sample_shape: tuple[int, ...], metadata: Mapping[str, Any]) -> ImageForm | None:
    from tunectl.training.new_images import ImageForm

    layout = metadata.get("layout")
    if layout == "grey":
        shape = (1, *sample_shape)
    elif layout == "channels_last":
        shape = (sample_shape[-1], *sample_shape[:-1])
    elif layout == "signals":
        shape = sample_shape
    else:
        return None
    return ImageForm(layout=layout, shape=shape, image_size=metadata.get("image_size"))


def _load_files(client: MlflowClient, run: Run, name: str) -> PackagedNet:
    """Return the network of a trial's run, put together from the files that the trial left."""
    from tunectl.training.packaged import load_packaged

    with tempfile.TemporaryDirectory(prefix="tunectl-load-") as folder:
        here = TrialDir(Path(folder))
        for file in (here.model_file, here.scaling_file, here.weights_file):
            inside = file.relative_to(here.path).as_posix()
            if not any(one.path == inside for one in _beside(client, run, inside)):
                raise NotFoundError(f"{name} has no network: the run has no {inside}")
            file.parent.mkdir(exist_ok=True)
            Path(client.download_artifacts(run.info.run_id, inside, folder)).replace(file)
        return load_packaged(here)


def _beside(client: MlflowClient, run: Run, inside: str) -> list[Any]:
    folder = inside.rpartition("/")[0]
    return list(client.list_artifacts(run.info.run_id, folder or None))
