"""Values on the command line that need no looking at: a name, a default, nothing at all.

Typer has pydantic look at every value, even at one that was not given, and to import pydantic takes
as long as all the rest of a short command. So it is asked only about values that may be wrong.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperArgument, TyperOption


class PlainValues:
    """Takes a parameter's plain values as they are, and leaves the others to Typer.

    Args:
        parameter: The option or argument.
    """

    def __init__(self, parameter: TyperOption | TyperArgument) -> None:
        self._has_many = bool(getattr(parameter, "multiple", False)) or parameter.nargs == -1
        self._descriptor = parameter.type_descriptor

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return a value as the command gets it.

        Raises:
            typer.BadParameter: it is none that the parameter can have.
        """
        if value is None:
            return () if self._has_many else None
        # What was typed is text: anything else is a default, or was counted.
        annotation = self._descriptor.annotation
        if isinstance(annotation, type) and isinstance(value, annotation):
            return value
        from typer._coercion import build_runtime_param

        return build_runtime_param(self._descriptor).coerce(value, param=param, ctx=ctx)


def take_plain_values(parameters: list[Any]) -> list[Any]:
    """Let options and arguments take plain values without pydantic; return them."""
    for one in parameters:
        if isinstance(one, TyperOption | TyperArgument) and one._runtime_param is None:
            one._runtime_param = PlainValues(one)  # type: ignore[assignment]
    return parameters
