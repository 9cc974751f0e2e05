"""The three files as frozen pydantic models, one line of documentation per field.

The fields' descriptions are what `init` writes as comments and what an error message quotes. This
module knows neither files nor lines: `load.py` adds those to whatever pydantic finds wrong here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from tunectl.config.database import OPTUNA_DIR, database_url
from tunectl.config.runs import AnyRun
from tunectl.config.search_schema import Direction, Failures, Search
from tunectl.config.section import Scalar, Section

# -- config.yaml: the surroundings ---------------------------------------------------------------


class Paths(Section):
    """Where things are written, relative to the project folder."""

    outputs_root: str = Field("outputs", min_length=1, description="trial directories")
    optuna_dir: str = Field(OPTUNA_DIR, min_length=1, description="database and study summaries")


class Storage(Section):
    """The database of studies."""

    url: str | None = Field(
        None, description="SQLAlchemy URL; null means sqlite:///<paths.optuna_dir>/study.db"
    )


class Runtime(Section):
    """What a trial runs on."""

    device: str = Field("auto", description="auto, cpu, cuda, cuda:<index> or mps")
    workers: int | Literal["auto"] = Field(
        1, description="processes that run trials, or auto: as many as pays on this machine"
    )
    workers_per_gpu: int = Field(1, ge=1, description="processes that share one GPU")
    threads_per_worker: Annotated[int, Field(ge=1)] | Literal["auto"] | None = Field(
        "auto",
        description="PyTorch threads, or auto: by the network's size; null shares the cores",
    )
    max_threads: int | None = Field(
        None, ge=1, description="as many as auto may take; null shares the cores between workers"
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="fp32, or bf16 for mixed precision"
    )
    deterministic: bool = Field(True, description="the same trial gives the same numbers again")

    @field_validator("workers", mode="before")
    @classmethod
    def _a_number_or_auto(cls, value: Any) -> Any:
        if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"{value!r} is no number of workers; valid: 1 or more, or auto")
        return value

    @field_validator("threads_per_worker", mode="before")
    @classmethod
    def _threads_or_auto(cls, value: Any) -> Any:
        number = isinstance(value, int) and not isinstance(value, bool) and value > 0
        if not (number or value in ("auto", None)):
            raise ValueError(
                f"{value!r} is no number of threads; valid: 1 or more, auto, or null to share the "
                "cores between the workers"
            )
        return value

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
            raise ValueError(f"{value!r} is no device; valid: auto, cpu, cuda, cuda:<index>, mps")
        return value


class Mlflow(Section):
    """The mirror of a study in MLflow."""

    enabled: bool = Field(True, description="mirror studies to MLflow while they run")
    tracking_uri: str | None = Field(
        None, description="null means sqlite:///<paths.optuna_dir>/mlflow.db"
    )
    experiment_name: str | None = Field(
        None, min_length=1, description="null means the study's name"
    )
    register_best: bool = Field(False, description="register the best trial's model")
    registered_model_name: str | None = Field(
        None, min_length=1, description="null means <experiment>_model"
    )


class Logging(Section):
    """The program's own log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )


class Plugins(Section):
    """Foreign code that the other two files may name."""

    allow: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (), description="top packages whose samplers and pruners may be named by dotted path"
    )


# -- all of it -----------------------------------------------------------------------------------


class Surroundings(Section):
    """`config.yaml`."""

    paths: Paths = Paths()
    storage: Storage = Storage()
    runtime: Runtime = Runtime()
    mlflow: Mlflow = Mlflow()
    logging: Logging = Logging()
    plugins: Plugins = Plugins()

    def database_url(self, project: Path) -> str:
        """Return the URL of the database of studies; a relative path starts at the project folder.

        Raises:
            ConfigError: its absolute path cannot stand in a URL.
        """
        return database_url(self.storage.url, self.paths.optuna_dir, project)


class Settings(Section):
    """Everything the user wrote, after merging: what a command works with."""

    surroundings: Surroundings
    run: AnyRun
    search: Search


class TrialStudy(Section):
    """What a trial has to know of its study.

    Attributes:
        name: Its name.
        metric: The metric, reported every epoch, whose best epoch's weights are kept.
        direction: The direction in which it is better.
        values: The metrics that are the trial's values, in the study's order.
    """

    name: str
    metric: str
    direction: Direction
    values: Annotated[tuple[str, ...], Field(strict=False)]


class TrialConfig(Section):
    """A trial's own `config.yaml`: all that it needs to be run again.

    In the file the run's own keys stand beside the others, as in `params.yaml`.

    Attributes:
        run: What the trial does, the proposed parameters merged in.
        number: The trial's number within its study.
        parameters: What the sampler proposed, by dotted key.
        batch_parts: Parts that each batch is computed in, one after another, to save memory.
        failures: What becomes of the trial when it goes wrong.
    """

    run: AnyRun
    study: TrialStudy
    number: int = Field(ge=0)
    parameters: dict[str, Scalar]
    batch_parts: int = Field(1, ge=1)
    runtime: Runtime = Runtime()
    failures: Failures = Failures()

    @model_validator(mode="before")
    @classmethod
    def _gather_run(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or "run" in values:
            return values
        own = {key: value for key, value in values.items() if key in cls.model_fields}
        return {**own, "run": {key: value for key, value in values.items() if key not in own}}

    @model_serializer(mode="wrap")
    def _spread_run(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialise(self)
        return {**values.pop("run"), **values}
