"""`params.yaml` of an objective that fits a network to signals: data, network and training."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from tunectl.config.run import Run
from tunectl.config.section import Section

N_TARGET_WEIGHTS = 6


class Dataset(Section):
    """What is read, and what of it is used."""

    source: Literal["demo", "npy"] = Field(
        "demo", description="demo (made in data/demo on first use) or npy (x_path and t_path)"
    )
    x_path: str | None = Field(None, description="signals (N, C, L) or (N, C, H, W), .npy")
    t_path: str | None = Field(None, description="targets (N, T), .npy")
    drop_channels: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)] = Field(
        (1, 3), description="channels (axis 1) to leave out, counted from 0"
    )
    limit_samples: int = Field(0, ge=0, description="use only the first so many samples; 0: all")
    downsample_factor: int = Field(
        1, ge=1, description="mean of so many neighbours along the last axis"
    )
    target_names: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (
            "solid_velocity",
            "gas_velocity",
            "liquid_velocity",
            "solid_fraction",
            "gas_fraction",
            "liquid_fraction",
        ),
        min_length=1,
        description="one name per column of the targets",
    )

    @field_validator("target_names")
    @classmethod
    def _distinct_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names) or "" in names:
            raise ValueError("target names must be distinct and not empty")
        return names

    @model_validator(mode="after")
    def _paths_go_with_source(self) -> Self:
        given = [key for key in ("x_path", "t_path") if getattr(self, key) is not None]
        if self.source == "npy" and len(given) < 2:
            raise ValueError("source npy needs both x_path and t_path")
        if self.source == "demo" and given:
            raise ValueError(f"source demo makes its own files; {given[0]} is for source npy")
        return self


class DataSplit(Section):
    """Shares of the samples; they sum to 1."""

    train: float = Field(0.7, gt=0, lt=1, description="share to fit on")
    valid: float = Field(0.15, gt=0, lt=1, description="share that the metric is measured on")
    test: float = Field(0.15, gt=0, lt=1, description="share used once, after training")
    seed: int = Field(42, ge=0, lt=2**32, description="shuffles the samples before the split")

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        total = self.train + self.valid + self.test
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"train + valid + test must be 1, not {total:g}")
        return self


class Model(Section):
    """The network."""

    type: Literal["auto", "cnn1d", "cnn2d"] = Field(
        "auto", description="auto, cnn1d for (N, C, L) or cnn2d for (N, C, H, W)"
    )
    hidden: int = Field(64, ge=2, le=4096, description="width of the first layer")
    dropout_rate: float = Field(0.1, ge=0, lt=1, description="share of units left out in training")
    use_residual: bool = Field(True, description="residual blocks, or a plain stack")


class Training(Section):
    """How the network is fitted."""

    epochs: int = Field(100, ge=1, description="passes over the training split")
    batch_size: int = Field(4, ge=1, description="samples per step")
    learning_rate: float = Field(1e-3, gt=0, description="step size of the optimiser")
    weight_decay: float = Field(1e-5, ge=0, description="L2 penalty (decoupled for adamw)")
    optimizer: Literal["adam", "adamw", "sgd"] = Field(
        "adam", description="adam, adamw or sgd (momentum 0.9)"
    )
    seed: int = Field(42, ge=0, lt=2**32, description="initial weights, shuffling and dropout")
    num_workers: int = Field(
        0, ge=0, description="kept for older files; data are in memory, so it has no effect"
    )
    normalize_targets: bool = Field(True, description="fit on standardised targets")
    use_weighted_loss: bool = Field(True, description="weight the targets in the training loss")
    weight_target_0: float = Field(5.0, ge=0, description="weight of target 0 in the loss")
    weight_target_1: float = Field(1.0, ge=0, description="weight of target 1")
    weight_target_2: float = Field(2.0, ge=0, description="weight of target 2")
    weight_target_3: float = Field(5.0, ge=0, description="weight of target 3")
    weight_target_4: float = Field(1.0, ge=0, description="weight of target 4")
    weight_target_5: float = Field(1.0, ge=0, description="weight of target 5")
    run_name: str | None = Field(None, description="name of the run; null means the study's name")

    @property
    def target_weights(self) -> tuple[float, ...]:
        """The loss weight of each target, in the order of the targets."""
        return tuple(getattr(self, f"weight_target_{i}") for i in range(N_TARGET_WEIGHTS))


class TrainingRun(Run):
    """`params.yaml`: what a trial does, apart from where and why."""

    objective: str = Field("flow_cnn", min_length=1, description="what a trial runs")
    dataset: Dataset = Dataset()
    data_split: DataSplit = DataSplit()
    model: Model = Model()
    training: Training = Training()
