"""`params.yaml` of `mlp`: a multilayer perceptron from tables, or what is flattened, to targets."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tunectl.config.section import Section
from tunectl.config.signal_run import (
    Channels,
    RegressionRun,
    SignalDataset,
    SignalTraining,
)


class MlpDataset(SignalDataset):
    """What is read, and what of it is used."""

    shapes: ClassVar = {2: "(N, F)", **SignalDataset.shapes}

    source: Literal["diabetes", "npy"] = Field(  # type: ignore[assignment]
        "diabetes",
        description="diabetes (scikit-learn's, written to data/diabetes) or npy (x_path, t_path)",
    )
    x_path: str | None = Field(
        None, description="a table (N, F), .npy; (N, C, L) and (N, C, H, W) are flattened"
    )
    drop_channels: Channels = Field(
        (), description="columns or channels (axis 1) to leave out, counted from 0"
    )
    downsample_factor: int = Field(
        1, ge=1, description="mean of so many neighbours along the last axis; not for a table"
    )


class MlpModel(Section):
    """The network."""

    nodes: int = Field(64, ge=1, le=65536, description="width of each hidden layer")
    layers: int = Field(2, ge=0, le=64, description="hidden layers; 0 is a linear model")
    activation: Literal["relu", "tanh", "gelu", "silu"] = Field(
        "relu", description="relu, tanh, gelu or silu"
    )
    dropout_rate: float = Field(0.1, ge=0, lt=1, description="share of nodes left out in training")


class MlpTraining(SignalTraining):
    """How the network is fitted."""

    batch_size: int = Field(32, ge=1, description="samples per step")


class MlpRun(RegressionRun):
    """`params.yaml` of `mlp`."""

    objective: str = Field("mlp", min_length=1, description="what a trial runs")
    dataset: MlpDataset = MlpDataset()
    model: MlpModel = MlpModel()
    training: MlpTraining = MlpTraining()
