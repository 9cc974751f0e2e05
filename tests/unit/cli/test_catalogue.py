"""The list of commands, and the commands themselves, of which it says half."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import typer
from typer.main import get_command, get_command_name

from tunectl.cli import catalogue
from tunectl.cli.app import app


def listed() -> list[tuple[str, Any]]:
    """Return every command that is listed, with its name in full."""
    root: Any = get_command(app)
    found: list[tuple[str, Any]] = []
    for name, command in root.commands.items():
        inner = getattr(command, "commands", None)
        found += (
            [(name, command)] if inner is None else [(f"{name} {n}", c) for n, c in inner.items()]
        )
    return found


@pytest.mark.parametrize(
    ("name", "command"), listed(), ids=lambda one: one if isinstance(one, str) else ""
)
def test_what_is_listed_of_a_command_is_what_its_module_says(name: str, command: Any) -> None:
    whole = command.load()

    assert whole.name == command.name == name.rpartition(" ")[2]
    paragraph = inspect.cleandoc(whole.help).split("\n\n")[0]
    assert " ".join(paragraph.split()) == command.help
    for flag in ("hidden", "deprecated", "short_help"):
        assert getattr(whole, flag) == getattr(command, flag), flag


def test_every_command_that_a_module_registers_is_listed() -> None:
    tables = [catalogue.COMMANDS, *(table for _, table in catalogue.GROUPS.values())]
    for table in tables:
        for module in {module for module, _ in table.values()}:
            registry = typer.Typer()
            __import__(f"tunectl.cli.{module}", fromlist=["register"]).register(registry)
            for info in registry.registered_commands:
                assert info.callback is not None
                name = info.name or get_command_name(info.callback.__name__)
                assert table[name][0] == module
