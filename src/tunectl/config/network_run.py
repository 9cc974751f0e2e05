"""What `params.yaml` has in common for all objectives that train a network: split and training."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tunectl.config.run import Run
from tunectl.config.section import Section


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


class NetworkTraining(Section):
    """How a network is fitted, whatever it is for."""

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
    scheduler: Literal["none", "cosine", "step", "plateau", "one_cycle"] = Field(
        "none", description="of the learning rate: none, cosine, step, plateau or one_cycle"
    )
    warmup_epochs: int = Field(0, ge=0, description="epochs in which the learning rate rises")
    scheduler_epochs: int = Field(
        10, ge=1, description="step: epochs between drops; plateau: without a gain before one"
    )
    scheduler_factor: float = Field(0.1, gt=0, lt=1, description="step, plateau: factor of a drop")
    early_stopping: int = Field(
        0, ge=0, description="stop after so many epochs without a gain; 0: never"
    )
    early_stopping_delta: float = Field(0.0, ge=0, description="a gain is better by more than this")
    clip_norm: float | None = Field(
        None, gt=0, description="largest norm of the gradients of a step; null: any"
    )
    overfitting: Literal["note", "stop"] = Field(
        "note", description="note that validation gets worse while training gets better, or stop"
    )


class NetworkRun(Run):
    """`params.yaml` of an objective that trains a network."""

    objective: str = Field("", min_length=1, description="what a trial runs")
    dataset: Section = Section()
    data_split: DataSplit = DataSplit()
    model: Section = Section()
    training: NetworkTraining = NetworkTraining()
