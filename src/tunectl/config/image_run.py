"""`params.yaml` of `image_classifier`: images, what is done to them, network and training."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from tunectl.config.network_run import DataSplit, NetworkRun, NetworkTraining
from tunectl.config.section import Section

Correction = Literal["none", "equalize", "clahe"]


class ImageDataset(Section):
    """Which images are read, and how."""

    source: Literal["digits", "folder", "npy", "npz", "idx"] = Field(
        "digits", description="digits (scikit-learn's), folder, npz (path), npy or idx (x_path, …)"
    )
    path: str | None = Field(
        None, description="folder with a sub-folder of images for each class, or an .npz file"
    )
    x_path: str | None = Field(
        None, description="npy, idx: images (N, H, W), (N, C, H, W) or (N, H, W, C)"
    )
    t_path: str | None = Field(None, description="npy, idx: the class of each image (N,)")
    class_names: Annotated[tuple[str, ...], Field(strict=False, min_length=2)] | None = Field(
        None, description="one name per class, in the order of their labels; null: the labels"
    )
    color: Literal["rgb", "grey"] = Field("rgb", description="folder: how images are read")
    image_size: int | None = Field(
        None, ge=4, le=4096, description="folder: images are brought to so many pixels a side"
    )
    limit_samples: int = Field(0, ge=0, description="use only so many images, drawn; 0: all")
    correction: Correction = Field(
        "none", description="of the brightness: none, equalize (histogram) or clahe"
    )
    clahe_clip: float = Field(2.0, ge=1, description="clahe: how far contrast may be raised")
    clahe_tiles: int = Field(8, ge=1, le=64, description="clahe: tiles along each side")

    @field_validator("class_names")
    @classmethod
    def _distinct_names(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and (len(set(names)) < len(names) or "" in names):
            raise ValueError("class names must be distinct and not empty")
        return names

    @model_validator(mode="after")
    def _paths_go_with_source(self) -> Self:
        one, two = ("path",), ("x_path", "t_path")
        known: dict[str, tuple[str, ...]] = {"digits": (), "folder": one, "npz": one}
        wanted = known.get(self.source, two)
        for key in ("path", "x_path", "t_path"):
            given = getattr(self, key) is not None
            if given and key not in wanted:
                raise ValueError(f"source {self.source} does not read {key}")
            if not given and key in wanted:
                raise ValueError(f"source {self.source} needs {' and '.join(wanted)}")
        return self


class Augmentation(Section):
    """How images of the training split are changed, each time anew."""

    file: str | None = Field(
        None,
        description="a YAML file with keys as below, such as auguments.yaml, read once; null: none",
    )
    flip_horizontal: bool = Field(False, description="left and right, every other time")
    flip_vertical: bool = Field(False, description="top and bottom, every other time")
    shift: float = Field(0.0, ge=0, le=0.5, description="up to this share of a side, each way")
    rotation: float = Field(0.0, ge=0, le=180, description="up to so many degrees, each way")
    zoom: float = Field(0.0, ge=0, lt=1, description="in or out by up to this share")
    brightness: float = Field(0.0, ge=0, description="up to so many standard deviations, each way")
    contrast: float = Field(0.0, ge=0, lt=1, description="more or less by up to this share")
    noise: float = Field(0.0, ge=0, description="normal, of so many standard deviations")


class ImageModel(Section):
    """The network."""

    type: Literal["cnn", "resnet18", "resnet50", "resnet101"] = Field(
        "cnn", description="cnn (six small convolutions), resnet18, resnet50 or resnet101"
    )
    width: int = Field(32, ge=1, le=1024, description="feature maps of the first stage")
    dropout_rate: float = Field(0.1, ge=0, lt=1, description="share left out before the last layer")
    patch_size: int = Field(
        0, ge=0, description="look at squares of so many pixels and average; 0: the whole image"
    )


class ImageTraining(NetworkTraining):
    """How the network is fitted."""

    epochs: int = Field(20, ge=1, description="passes over the training split")
    batch_size: int = Field(32, ge=1, description="samples per step")
    weight_decay: float = Field(1e-4, ge=0, description="L2 penalty (decoupled for adamw)")
    class_weights: bool = Field(False, description="rare classes count more in the training loss")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share given to the other classes")
    run_name: str | None = Field(None, description="name of the run; null means the study's name")


class ImageRun(NetworkRun):
    """`params.yaml` of `image_classifier`."""

    objective: str = Field("image_classifier", min_length=1, description="what a trial runs")
    dataset: ImageDataset = ImageDataset()
    augmentation: Augmentation = Augmentation()
    data_split: DataSplit = DataSplit()
    model: ImageModel = ImageModel()
    training: ImageTraining = ImageTraining()
