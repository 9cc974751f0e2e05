"""What every objective's `params.yaml` has in common, and what it is where the user decides.

A run's sections are its objective's own. What the program itself wants to know of a run (how many
epochs, which seed) it asks by dotted key, and takes no for an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import ConfigDict, Field, create_model, model_validator

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

    @model_validator(mode="after")
    def _not_reserved(self) -> Self:
        taken = [name for name in self.model_extra or {} if name in RESERVED]
        if taken:
            raise ValueError(f"{taken[0]} is a key of the program's own; choose another name")
        return self


class _MetricSource(Section):
    """Where a program leaves its metric."""

    path: str = Field("result.json", min_length=1, description="the JSON file's place")
    key: str | None = Field(None, description="dotted key in it; null means study.metric")
    pattern: str | None = Field(
        None, description="regular expression for a line; its first group is the value"
    )

    @property
    def source(self) -> str:
        """What stands under `from`, which Python has as a word of its own."""
        return str(getattr(self, "from"))


_FROM: Any = Field(
    "json", description="json (a file), output (last line that fits) or exit (last line of all)"
)
MetricSource = create_model(  # type: ignore[call-overload]
    "MetricSource",
    __base__=_MetricSource,
    __doc__=_MetricSource.__doc__,
    **{"from": (Literal["json", "output", "exit"], _FROM)},
)


class Command(Section):
    """A program that is a trial."""

    command: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (), min_length=1, description="program and arguments; {training.seed} is replaced"
    )
    metric: _MetricSource = MetricSource()


class CommandRun(OpenRun):
    """`params.yaml` of a program: its command, and any values to put into it."""

    objective: Command = Command()  # type: ignore[assignment]

    @property
    def objective_name(self) -> str:
        """The program itself."""
        return self.objective.command[0] if self.objective.command else "command"


def _scalars(tree: Any, path: str = "") -> Iterator[tuple[str, Scalar]]:
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from _scalars(value, f"{path}.{name}" if path else str(name))
    elif tree is None or isinstance(tree, bool | int | float | str):
        yield path, tree


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
