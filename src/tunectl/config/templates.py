"""The three files as `init` writes them: the defaults and a search space to start from, explained.

All of it is read off the schema, so it cannot differ from what the program does. This module writes
no files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo

from tunectl.config import fields
from tunectl.config.json_schema import FOLDER, schema_name
from tunectl.config.runs import DEFAULT_OBJECTIVE, run_model
from tunectl.config.schema import Surroundings
from tunectl.config.search_schema import OneOrMany, Search
from tunectl.config.section import Section
from tunectl.config.seed_spaces import SEED_SPACES, SEED_STUDIES

_WIDTH = 100
_PLAIN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_NOT_TEXT = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}

_HEADS = {
    "config.yaml": """\
The surroundings: where things are written and what they run on.
Paths are relative to the project folder. Every line may be left out; these are the defaults.""",
    "params.yaml": """\
One training run: the values that are not being searched.
Built-in defaults < optuna_params.yaml: base_params < this file < command line < what the sampler
proposes. Every line may be left out; these are the defaults. ${study.seed} is another's value.""",
    "optuna_params.yaml": """\
The study and its search space.""",
}
_SPACE_HEAD = """\
What is searched, one parameter a line: {type: int | float, low, high, step, log} with both bounds
included, or {type: categorical, choices}. `when` makes a parameter exist only if another has that
value. On the command line: 'training.learning_rate=tag(log,interval(1e-5,1e-2))'."""
_CONSTRAINTS_HEAD = """\
What every trial must satisfy, for example ["model.hidden * training.batch_size <= 512"]."""
_BASE_HEAD = "Values for params.yaml to build on; where both have one, that of params.yaml counts."

SEED_SPACE = SEED_SPACES[DEFAULT_OBJECTIVE]
"""The parameters that a search for the default objective begins with."""


def render(objective: str = DEFAULT_OBJECTIVE) -> dict[str, str]:
    """Return the text of each of the three files, by the file's name.

    Args:
        objective: One of `SEED_SPACES`.
    """
    run = run_model(objective)
    return {
        "config.yaml": _file("config.yaml", _sections(Surroundings())),
        "params.yaml": _file("params.yaml", _sections(run())),
        "optuna_params.yaml": _file("optuna_params.yaml", _optuna_sections(objective)),
    }


def _file(name: str, blocks: Iterator[list[str]]) -> str:
    texts = ["\n".join(_aligned(block)) for block in blocks]
    head = f"{_editor_line(name)}\n{_comment(_HEADS[name])}"
    return "\n\n".join([head, *texts]) + "\n"


def _editor_line(name: str) -> str:
    """Return the line by which editors with a YAML language server find a file's schema."""
    return f"# yaml-language-server: $schema={FOLDER}/{schema_name(name)}"


def _sections(file: Section) -> Iterator[list[str]]:
    """Yield the lines of each top-level key; a tab stands before what is said of a line."""
    for name, info in type(file).model_fields.items():
        value = getattr(file, name)
        if isinstance(value, Section):
            yield [_comment(_title(type(value))), f"{name}:", *_body(value, "  ")]
        else:
            yield list(_entry(name, info, value, ""))


def _optuna_sections(objective: str) -> Iterator[list[str]]:
    study, failures, *_ = _sections(Search(study=SEED_STUDIES[objective]))
    yield study
    space = SEED_SPACES[objective]
    width = max(map(len, space)) + 1
    lines = [f"  {f'{key}:':{width}} {_flow(spec)}" for key, spec in space.items()]
    yield [_comment(_SPACE_HEAD), f"{fields.SPACE}:", *lines]
    yield [_comment(_CONSTRAINTS_HEAD), "constraints: []"]
    yield failures
    yield [_comment(_BASE_HEAD), f"{fields.BASE}: {{}}"]


def _body(section: Section, indent: str) -> Iterator[str]:
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield f"{indent}{name}:\t{info.description}"
            yield from _body(value, f"{indent}  ")
        else:
            yield from _entry(name, info, value, indent)


def _entry(name: str, info: FieldInfo, value: Any, indent: str) -> Iterator[str]:
    """Yield the line of a value; a long list gets a line for each item."""
    if OneOrMany in info.metadata and len(value) == 1:
        (value,) = value
    line = f"{indent}{name}: {_flow(value)}"
    if isinstance(value, tuple) and len(line) > _WIDTH // 2:
        yield f"{indent}{name}:\t{info.description}"
        yield from (f"{indent}  - {_flow(item)}" for item in value)
    else:
        yield f"{line}\t{info.description}"


def _title(section: type[Section]) -> str:
    return (section.__doc__ or section.__name__).strip().splitlines()[0]


def _comment(text: str) -> str:
    return "\n".join(f"# {line}".rstrip() for line in text.splitlines())


def _aligned(block: list[str]) -> Iterator[str]:
    """Yield the lines with their explanations in one column."""
    column = max((len(line.partition("\t")[0]) for line in block if "\t" in line), default=0)
    for line in block:
        left, _, right = line.partition("\t")
        yield f"{left:{column}}  # {right}" if right else left


def _flow(value: Any) -> str:
    """Return a value as YAML of one line, the same to readers of YAML 1.1 and 1.2."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, str) and _PLAIN_TEXT.fullmatch(value) and value not in _NOT_TEXT:
        return value
    return json.dumps(value)


def _number(value: float) -> str:
    """Return a number with a point, small ones with an exponent: 1.0e-5, never 1e-05."""
    if value == 0 or abs(value) > 0.01:
        return repr(value)
    mantissa, _, exponent = f"{value:e}".partition("e")
    digits = mantissa.rstrip("0")
    return f"{digits}{'0' if digits.endswith('.') else ''}e{int(exponent)}"
