"""What every objective's `params.yaml` has in common, and what it is where the user decides.

A run's sections are its objective's own. What the program itself wants to know of a run (how many
epochs, which seed) it asks by dotted key, and takes no for an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import ConfigDict, Field, create_model, field_validator, model_validator

from tunectl.config.section import Scalar, Section
from tunectl.errors import ObjectiveError

_R = TypeVar("_R", bound="Run")

RESERVED = ("run", "study", "number", "parameters", "batch_parts", "runtime", "failures")
"""Keys that a trial's `config.yaml` has beside those of its run."""


class Run(Section):
    """What a trial does, apart from where and why; `objective` says what the rest means."""

    def value(self, key: str) -> Any:
        """Return the value at a dotted key, None where there is none."""
        here: Any = self
        for name in key.split("."):
            if isinstance(here, Section):
                own = name in type(here).model_fields
                here = getattr(here, name) if own else (here.model_extra or {}).get(name)
            else:
                here = here.get(name) if isinstance(here, Mapping) else None
        return here

    def values(self) -> dict[str, Scalar]:
        """Return every single value but the objective by its dotted key."""
        tree = self.model_dump(exclude={"objective"})
        return dict(_scalars(tree))

    @property
    def objective_name(self) -> str:
        """What the objective is called in messages."""
        return str(self.value("objective"))

    @property
    def runs_code(self) -> bool:
        """Whether a trial runs code or a program that the configuration itself names."""
        return False

    @property
    def epochs(self) -> int | None:
        """Epochs of a trial, None where it has no fixed number."""
        return _whole(self.value("training.epochs"))

    @property
    def seed(self) -> int | None:
        """The run's own seed, None where it names none."""
        return _whole(self.value("training.seed"))

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of what is predicted; empty where they have none."""
        names = self.value("dataset.target_names")
        return tuple(map(str, names)) if isinstance(names, list | tuple) else ()

    def as_kind(self, kind: type[_R]) -> _R:
        """Return this run as the kind that an objective needs.

        Raises:
            ObjectiveError: it is of another one.
        """
        if not isinstance(self, kind):
            raise ObjectiveError(f"{self.objective_name} has another kind of configuration")
        return self


class OpenRun(Run):
    """`params.yaml` of an objective of the user's own: any sections, any values."""

    model_config = ConfigDict(extra="allow")

    objective: str = Field(min_length=1, default="", description="what a trial runs")

    @property
    def runs_code(self) -> bool:
        """It does."""
        return True

    @model_validator(mode="after")
    def _not_reserved(self) -> Self:
        taken = [name for name in self.model_extra or {} if name in RESERVED]
        if taken:
            raise ValueError(f"{taken[0]} is a key of the program's own; choose another name")
        return self


class ScriptRun(OpenRun):
    """`params.yaml` of a study that a script drives: values for the script to use."""

    @property
    def runs_code(self) -> bool:
        """The script runs, and drives the study."""
        return False


class MetricSource(Section):
    """Where a program leaves its metric."""

    path: str = Field(
        "result.json", min_length=1, description="the JSON file, in the trial's directory"
    )
    key: str | None = Field(None, description="dotted key in it; null means study.metric")
    pattern: str | None = Field(
        None, description="regular expression for a line; its first group is the value"
    )

    @property
    def source(self) -> str:
        """What stands under `from`, which Python has as a word of its own."""
        return str(getattr(self, "from"))

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        if PurePath(path).is_absolute() or ".." in PurePath(path).parts:
            raise ValueError(
                "must lie in the trial's directory, so that no trial reads another's; "
                "tell the program to write there: {trial_dir}"
            )
        return path

    @field_validator("pattern")
    @classmethod
    def _readable(cls, pattern: str | None) -> str | None:
        try:
            re.compile((pattern or "").replace("{metric}", "x"))
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return pattern


_FROM: Any = Field(
    "json", description="json (a file), output (last line that fits) or exit (last line of all)"
)
if TYPE_CHECKING:
    _NamedSource = MetricSource
else:
    _NamedSource = create_model(
        "_NamedSource",
        __module__=__name__,  # or it could not be sent to a worker
        __base__=MetricSource,
        __doc__=MetricSource.__doc__,
        **{"from": (Literal["json", "output", "exit"], _FROM)},
    )


class Command(Section):
    """A program that is a trial."""

    command: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False)] = (
        Field((), min_length=1, description="program and arguments; {training.seed} is replaced")
    )
    metric: _NamedSource = _NamedSource()
    env: dict[str, Scalar] = Field(
        default_factory=dict, description="more environment variables; no secrets, they are stored"
    )
    stop: Literal["signal", "file"] = Field(
        "signal", description="signal: SIGTERM at once; file: the stop file first, for grace_s"
    )
    grace_s: float = Field(
        10.0, ge=0, le=30, description="seconds that the program has for ending when told to"
    )

    @field_validator("env")
    @classmethod
    def _names(cls, env: dict[str, Scalar]) -> dict[str, Scalar]:
        for name in env:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(f"{name!r} is no name of an environment variable")
        return env

    @model_validator(mode="after")
    def _nothing_hidden(self) -> Self:
        if any("\0" in text for text in (*self.command, *map(str, self.env.values()))):
            raise ValueError("a null character cannot be handed to a program")
        return self


class CommandRun(OpenRun):
    """`params.yaml` of a program: its command, and any values to put into it."""

    objective: Command = Command()  # type: ignore[assignment]

    @property
    def objective_name(self) -> str:
        """The program itself."""
        return self.objective.command[0] if self.objective.command else "command"

    @property
    def epochs(self) -> int | None:
        """None: how many steps a program reports is its own affair."""
        return None


def _scalars(tree: Any, path: str = "") -> Iterator[tuple[str, Scalar]]:
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from _scalars(value, f"{path}.{name}" if path else str(name))
    elif tree is None or isinstance(tree, bool | int | float | str):
        yield path, tree


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
