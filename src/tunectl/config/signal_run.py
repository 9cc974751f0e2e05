"""`params.yaml` of the objectives that fit a network to signals: data, network and training.

`signal_regressor` is the general one, `flow_cnn` the same with the defaults of the flow rig.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from tunectl.config.network_run import DataSplit, NetworkRun, NetworkTraining
from tunectl.config.section import Section

__all__ = ["DataSplit"]

N_TARGET_WEIGHTS = 6

Channels = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)]
Names = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
_DROPPED = "channels (axis 1) to leave out, counted from 0"


class SignalDataset(Section):
    """What is read, and what of it is used."""

    shapes: ClassVar = {3: "(N, C, L)", 4: "(N, C, H, W)"}

    source: Literal["demo", "npy"] = Field(
        "demo", description="demo (made in data/demo on first use) or npy (x_path and t_path)"
    )
    x_path: str | None = Field(None, description="signals (N, C, L) or (N, C, H, W), .npy")
    t_path: str | None = Field(None, description="targets (N, T), .npy")
    drop_channels: Channels = Field((), description=_DROPPED)
    limit_samples: int = Field(0, ge=0, description="use only the first so many samples; 0: all")
    downsample_factor: int = Field(
        1, ge=1, description="mean of so many neighbours along the last axis"
    )
    target_names: Names | None = Field(
        None, description="one name per column of the targets; null: target_0, target_1, …"
    )

    @field_validator("target_names")
    @classmethod
    def _distinct_names(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and (len(set(names)) < len(names) or "" in names):
            raise ValueError("target names must be distinct and not empty")
        return names

    @model_validator(mode="after")
    def _paths_go_with_source(self) -> Self:
        given = [key for key in ("x_path", "t_path") if getattr(self, key) is not None]
        if self.source == "npy" and len(given) < 2:
            raise ValueError("source npy needs both x_path and t_path")
        if self.source != "npy" and given:
            raise ValueError(
                f"source {self.source} makes its own files; {given[0]} is for source npy"
            )
        return self

    def names_of(self, targets: int) -> tuple[str, ...]:
        """Return the names of so many targets."""
        return self.target_names or tuple(f"target_{index}" for index in range(targets))


class Dataset(SignalDataset):
    """What is read, and what of it is used."""

    drop_channels: Channels = Field((1, 3), description=_DROPPED)
    target_names: Names | None = Field(
        (
            "solid_velocity",
            "gas_velocity",
            "liquid_velocity",
            "solid_fraction",
            "gas_fraction",
            "liquid_fraction",
        ),
        description="one name per column of the targets; null: target_0, target_1, …",
    )


class Model(Section):
    """The network."""

    type: Literal["auto", "cnn1d", "cnn2d"] = Field(
        "auto", description="auto, cnn1d for (N, C, L) or cnn2d for (N, C, H, W)"
    )
    hidden: int = Field(64, ge=2, le=4096, description="width of the first layer")
    dropout_rate: float = Field(0.1, ge=0, lt=1, description="share of units left out in training")
    use_residual: bool = Field(True, description="residual blocks, or a plain stack")


class SignalTraining(NetworkTraining):
    """How the network is fitted."""

    normalize_targets: bool = Field(True, description="fit on standardised targets")
    use_weighted_loss: bool = Field(False, description="weight the targets in the training loss")
    weight_target_0: float = Field(1.0, ge=0, description="weight of target 0 in the loss")
    weight_target_1: float = Field(1.0, ge=0, description="weight of target 1")
    weight_target_2: float = Field(1.0, ge=0, description="weight of target 2")
    weight_target_3: float = Field(1.0, ge=0, description="weight of target 3")
    weight_target_4: float = Field(1.0, ge=0, description="weight of target 4")
    weight_target_5: float = Field(1.0, ge=0, description="weight of target 5")
    run_name: str | None = Field(None, description="name of the run; null means the study's name")

    @property
    def target_weights(self) -> tuple[float, ...]:
        """The loss weight of each target, in the order of the targets."""
        return tuple(getattr(self, f"weight_target_{i}") for i in range(N_TARGET_WEIGHTS))


class Training(SignalTraining):
    """How the network is fitted."""

    use_weighted_loss: bool = Field(True, description="weight the targets in the training loss")
    weight_target_0: float = Field(5.0, ge=0, description="weight of target 0 in the loss")
    weight_target_2: float = Field(2.0, ge=0, description="weight of target 2")
    weight_target_3: float = Field(5.0, ge=0, description="weight of target 3")


class RegressionRun(NetworkRun):
    """`params.yaml` of an objective that fits a network to targets."""

    dataset: SignalDataset = SignalDataset()
    training: SignalTraining = SignalTraining()


class SignalRun(RegressionRun):
    """`params.yaml` of `signal_regressor`."""

    objective: str = Field("signal_regressor", min_length=1, description="what a trial runs")
    model: Model = Model()


class TrainingRun(SignalRun):
    """`params.yaml` of `flow_cnn`: `signal_regressor` with the defaults of the flow rig."""

    objective: str = Field("flow_cnn", min_length=1, description="what a trial runs")
    dataset: Dataset = Dataset()
    training: Training = Training()
