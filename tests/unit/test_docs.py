"""What the pages for users say of the program is true: commands, links, configuration keys."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.main import get_command

from tunectl.cli.app import app, hoist_globals
from tunectl.config import fields
from tunectl.config.load import load
from tunectl.config.run import CommandRun
from tunectl.config.runs import DEFAULT_OBJECTIVE, RUNS
from tunectl.config.schema import Surroundings
from tunectl.config.search_schema import Search
from tunectl.errors import ConfigError
from tunectl.objectives.command.environment import PARAMETER, VARIABLES
from tunectl.reports.figures.names import KindName
from tunectl.studies.records import one_or_list

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
    ]
)
CONFIGURATION = ROOT / "docs" / "configuration.md"
COMMANDS = get_command(app)

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
_KEY_ROW = re.compile(r"^\| `([a-z_0-9.]+)` \| `(.+?)` \|", re.MULTILINE)
_OVERRIDE = re.compile(r"'?([a-z_]+\.[a-z_0-9.]+=[^']+)'?")
_VARIABLE = re.compile(r"`((?:TUNECTL|OPTUNA)_[A-Z_]+)(?:=\w+)?`")
_ENDS = {"|", "||", "&", "&&", ";", ">", ">>", "2>"}


def name_of(page: Path) -> str:
    """Return a page's path as it stands in a test's name."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    text = page.read_text(encoding="utf-8")
    return [body for name, body in _BLOCK.findall(text) if name == language]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def command_lines(page: Path) -> Iterator[list[str]]:
    """Yield the arguments of each `tunectl` call that a page shows."""
    shown = [line for block in blocks(page, "sh") for line in block.splitlines()]
    shown += [code for code in _INLINE.findall(prose(page)) if code.startswith("tunectl ")]
    for line in shown:
        for inner in _SUBSTITUTION.findall(line):
            yield from calls(inner)
        yield from calls(line)


def calls(line: str) -> Iterator[list[str]]:
    """Yield the arguments of each `tunectl` call in a line of shell."""
    words = shlex.split(line, comments=True)
    for index, word in enumerate(words):
        before = words[index - 1] if index else ";"
        starts = before in _ENDS or "=" in before or before == "nohup"
        if Path(word).name == "tunectl" and starts:
            rest = words[index + 1 :]
            end = next((i for i, one in enumerate(rest) if one in _ENDS), len(rest))
            yield rest[:end]


def refusal(arguments: list[str]) -> str:
    """Parse arguments as the program does, without running the command.

    Returns:
        Why the program would refuse them, empty if it would not.
    """
    if "--install-completion" in arguments:
        return ""  # it is done while the line is parsed, and changes the user's own files
    try:
        overrides = parse_as_program(arguments)
    except typer.Exit as end:  # --help and --version
        return "" if end.exit_code == 0 else repr(end)
    except Exception as error:
        return str(getattr(error, "message", None) or repr(error))
    return config_refusal(overrides)


def config_refusal(overrides: list[str]) -> str:
    """Return what is wrong with overrides of the default files, empty if nothing is."""
    try:
        load(ROOT, overrides=overrides)
    except ConfigError as error:
        return str(error)
    return ""


def parse_as_program(arguments: list[str]) -> list[str]:
    """Return the overrides among the arguments; raise if they cannot be parsed."""
    command: Any = COMMANDS
    rest, name = hoist_globals(arguments), "tunectl"
    context = None
    while True:
        context = command.make_context(name, list(rest), parent=context)
        if not hasattr(command, "commands"):
            return list(context.params.get("overrides") or [])
        words = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, words)


def heading_anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def documented_keys(objective: str = DEFAULT_OBJECTIVE) -> dict[str, str]:
    """Return the configuration keys of the page on configuration, each with its default.

    The tables hold for the default objective; another one has a table of what differs for it.
    """
    text = CONFIGURATION.read_text(encoding="utf-8")
    tables = {name: re.compile(rf"^#### {name}\n.*?(?=^###)", re.M | re.S) for name in RUNS}
    own = tables[objective].search(text)
    for table in tables.values():
        text = table.sub("", text)
    rows = dict(_KEY_ROW.findall(text))
    return {**rows, **dict(_KEY_ROW.findall(own[0]))} if own else rows


# Those with keys of their own; what stands beside `script` is the user's.
OTHERS = set(RUNS) - {DEFAULT_OBJECTIVE, "script"}
ONE_OR_MANY = ("study.direction", "study.metric")


def known_defaults(objective: str = DEFAULT_OBJECTIVE) -> dict[str, Any]:
    """Return each key of the three files and its default in plain values."""
    plain: dict[str, Any] = {fields.BASE: {}}
    for model in (Surroundings, RUNS[objective], Search):
        tree = model().model_dump(mode="json")
        for key in fields.leaves(model):
            value: Any = tree
            for part in key.split("."):
                value = value[part]
            plain[key] = one_or_list(value) if key in ONE_OR_MANY else value
    command = CommandRun().model_dump(mode="json")["objective"]
    for key in fields.leaves(type(CommandRun().objective)):
        section, _, name = key.rpartition(".")
        plain[f"objective.{key}"] = (command[section] if section else command)[name]
    return plain


def option_variables(command: Any) -> Iterator[str]:
    """Yield the environment variables of a command's options and of those below it."""
    for parameter in command.params:
        given = getattr(parameter, "envvar", None) or []
        yield from [given] if isinstance(given, str) else given
    for inner in getattr(command, "commands", {}).values():
        yield from option_variables(inner.load() if hasattr(inner, "load") else inner)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_line_can_be_typed(page: Path) -> None:
    for arguments in command_lines(page):
        assert not refusal(arguments), shlex.join(arguments)


def test_command_lines_are_found_and_wrong_ones_noticed() -> None:
    line = 'VAR=1 tunectl tune training.epochs=5 > log && cat "$(tunectl trial path 7)" | head'
    assert list(calls(line)) == [["tune", "training.epochs=5"]]
    assert sum(1 for page in PAGES for _ in command_lines(page)) > 50
    for wrong in (
        ["tun"],
        ["tune", "--n-trial", "5"],
        ["tune", "training.epochs=range(1"],
        ["trial", "path", "x"],
    ):
        assert refusal(wrong), wrong


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_override_is_one(page: Path) -> None:
    for code in _INLINE.findall(prose(page)):
        override = _OVERRIDE.fullmatch(code)
        if override:
            assert not config_refusal([override[1]]), override[1]


def test_every_command_is_shown_somewhere() -> None:
    shown = {tuple(arguments[:2]) for page in PAGES for arguments in command_lines(page)}
    firsts = {words[0] for words in shown if words}
    for name, command in COMMANDS.commands.items():  # type: ignore[attr-defined]
        assert name in firsts, name
        for inner in getattr(command, "commands", {}):
            assert (name, inner) in shown, f"{name} {inner}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if re.match(r"https?:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        if anchor:
            assert anchor in heading_anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_picture_is_there(page: Path) -> None:
    for link in _PICTURE.findall(prose(page)):
        assert (page.parent / link).is_file(), link


def test_every_kind_of_figure_has_a_section_and_a_picture() -> None:
    page = ROOT / "docs" / "figures.md"
    shown = [Path(link).stem for link in _PICTURE.findall(prose(page))]
    assert sorted(shown) == sorted(KindName)
    assert set(KindName) <= heading_anchors(page)
    sizes = [file.stat().st_size for file in (ROOT / "docs" / "figures").iterdir()]
    assert sum(sizes) < 1_500_000


def test_every_configuration_key_is_documented_and_no_other() -> None:
    assert sorted(documented_keys()) == sorted(known_defaults())


def test_documented_defaults_are_those_of_the_program() -> None:
    shown = {key: yaml.safe_load(text) for key, text in documented_keys().items()}
    assert shown == known_defaults()


@pytest.mark.parametrize("objective", sorted(OTHERS))
def test_keys_and_defaults_of_every_other_objective_are_documented(objective: str) -> None:
    known, common = known_defaults(objective), known_defaults()
    shown = {key: yaml.safe_load(text) for key, text in documented_keys(objective).items()}
    kept = {key: value for key, value in shown.items() if key in known or key not in common}
    assert kept == known


def test_documented_environment_variables_exist() -> None:
    known = {*option_variables(COMMANDS), *VARIABLES}
    for page in PAGES:
        shown = {one for one in _VARIABLE.findall(prose(page)) if not one.startswith(PARAMETER)}
        assert shown <= known, page


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_examples_name_what_the_package_has(page: Path) -> None:
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("tunectl"):
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, name.name) for name in node.names)


def test_yaml_examples_are_yaml() -> None:
    for page in PAGES:
        for block in blocks(page, "yaml"):
            yaml.safe_load(block)


def test_exit_codes_of_the_readme_are_those_of_the_errors() -> None:
    from tunectl import errors

    found = re.findall(r"^\| (\d) \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    classes = [one for one in vars(errors).values() if isinstance(one, type)]
    codes = {one.exit_code for one in classes if issubclass(one, errors.TunectlError)}
    assert {int(code) for code in found} == codes | {0}


def test_the_page_on_reliability_names_tests_that_there_are() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:cli|torture|unit)/[\w/]+\.py)`", page)
    assert len(named) > 20
    assert [name for name in named if not (ROOT / "tests" / name).is_file()] == []
