"""Three files that are damaged at random: `load` answers with settings or with a `ConfigError`.

Files that it accepts must be accepted by the JSON Schemas too, or editors would mark what is right.

`TUNECTL_FUZZ_CASES=10000` (`make fuzz`) sets how many cases there are; each has its number as its
seed, so that a failure can be looked at alone.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator

from forked_tunectl import Ended, forked_tunectl
from tunectl.config.json_schema import render_schemas, schema_name
from tunectl.config.load import Loaded, load
from tunectl.config.templates import render
from tunectl.config.yaml_source import read
from tunectl.errors import ConfigError

CASES = int(os.environ.get("TUNECTL_FUZZ_CASES", "300"))
COMMAND_CASES = 40
CHUNKS = 10

Texts = dict[str, str]
Files = dict[str, bytes]

JUNK: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1,
    2**63,
    -(10**40),
    1e-320,
    1.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "0",
    "null",
    "${study.seed}",
    "${study.name}",
    "${nothing.there}",
    "${oc.env:HOME}",
    "${${}",
    "text",
    "\N{SNOWMAN} \u202e",
    "x" * 5000,
    [],
    [[]],
    [1, "a", None],
    {},
    {"type": "int"},
    {"type": "int", "low": 1, "high": 3},
    {"type": "float", "low": 1e-3, "high": "1", "log": True},
    {"type": "categorical", "choices": [1, 1.0, True]},
    {"when": {"model.hidden": 32}},
    {"a": {"b": {"c": 1}}},
)
BYTES = (
    *(bytes([byte]) for byte in b"\0\t\n:{}[]-&*!|>'\"%@`#,?<$\\\x1b\x7f\x80\xff"),
    b"\n---\n",
    b"\n...\n",
    b"<<: ",
    b"&a [*a]",
    b"*unknown",
    b"!!python/object/apply:os.system [id]",
    b"!!binary abc",
    b"\xef\xbb\xbf",
    b"\xf0\x9f\x92\xa5",
    b"\xed\xa0\x80",
    b"? : ",
    b"[" * 400,
    b"{a: " * 200,
    b"1" * 5000,
    b"0x",
    b"0o9",
    b"1e400",
    b"2026-01-31",
    b"12:30:45",
)
SMALL = {
    "config.yaml": "runtime: {device: cpu}\n",
    "params.yaml": """\
dataset: {source: npy, x_path: x.npy, t_path: t.npy, drop_channels: [], target_names: [a, b]}
model: {hidden: 4}
training: {epochs: 2, batch_size: 8}
""",
    "optuna_params.yaml": """\
study:
  name: small
  n_trials: 4
  metric: val_mse
  sampler: {name: TPESampler, kwargs: {n_startup_trials: 2}}
  pruner: {name: NopPruner}
params_to_tune:
  training:
    learning_rate: {type: float, min: 1.0e-4, max: 1.0e-1, log: true}
    weight_decay: {low: 0.0, high: 0.1, when: {model.use_residual: [true]}}
  model.use_residual: {type: categorical, choices: [true, false]}
  model.hidden: {type: int, low: 4, high: 8, step: 2}
base_params:
  training.optimizer: sgd
""",
}


# -- damage --------------------------------------------------------------------------------------


def damaged(number: int, texts: Texts) -> Files:
    """Return the files with one to four kinds of damage, the same for the same number."""
    chance = random.Random(number)
    files = {name: text.encode() for name, text in texts.items()}
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        name = chance.choice(list(files))
        files[name] = chance.choice(DAMAGES)(files[name], chance)
    return files


def damage_tree(content: bytes, chance: random.Random) -> bytes:
    """Delete, rename, retype, double or move one key, however deep, and write YAML again."""
    try:
        tree = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError):
        return content
    places = list(_places(tree))
    if not places:
        return content
    holder, key = chance.choice(places)
    chance.choice(CHANGES)(holder, key, chance, places)
    style = chance.choice((None, True, False))
    return yaml.safe_dump(tree, sort_keys=False, default_flow_style=style).encode()


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every mapping and list below a value with each of its keys."""
    if isinstance(tree, dict):
        keys: list[Any] = list(tree)
    else:
        keys = list(range(len(tree))) if isinstance(tree, list) else []
    for key in keys:
        yield tree, key
        yield from _places(tree[key])


def delete(holder: Any, key: Any, chance: random.Random, places: Any) -> None:
    del holder[key]


def rename(holder: Any, key: Any, chance: random.Random, places: Any) -> None:
    if not isinstance(holder, dict):
        return
    value, name = holder.pop(key), list(str(key))
    at = chance.randrange(len(name) + 1)
    name[at : at + chance.randrange(3)] = chance.choice(
        (".", "", "x", "\N{SNOWMAN}", "_", " ", "$")
    )
    new = chance.choice(("".join(name), str(key).upper(), f"{key}.{key}", 7, None, True, ""))
    holder[new] = value


def retype(holder: Any, key: Any, chance: random.Random, places: Any) -> None:
    value = holder[key]
    other = (str(value), [value], {str(key): value}, chance.choice(JUNK), chance.choice(JUNK))
    holder[key] = chance.choice(other)


def move(holder: Any, key: Any, chance: random.Random, places: Any) -> None:
    """Put a value where another one is, or beside it."""
    there, other = chance.choice(places)
    value = yaml.safe_load(yaml.safe_dump(holder[key]))
    if isinstance(there, dict):
        there[chance.choice((key, other))] = value
    else:
        there.insert(chance.randrange(len(there) + 1), value)


def swap(holder: Any, key: Any, chance: random.Random, places: Any) -> None:
    """Exchange two values of one mapping, for example low and high."""
    other = chance.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    holder[key], holder[other] = holder[other], holder[key]


CHANGES: tuple[Callable[[Any, Any, random.Random, Any], None], ...] = (
    delete,
    rename,
    retype,
    move,
    swap,
)


def insert(content: bytes, chance: random.Random) -> bytes:
    """Insert bytes that mean something to YAML, or any."""
    at = chance.randrange(len(content) + 1)
    more = chance.choice((chance.choice(BYTES), chance.randbytes(chance.randrange(1, 9))))
    return content[:at] + more + content[at:]


def cut(content: bytes, chance: random.Random) -> bytes:
    """Leave some bytes out, or all that follow."""
    start = chance.randrange(len(content) + 1)
    end = chance.choice((start + chance.randrange(1, 20), len(content)))
    return content[:start] + content[end:]


def shuffle_lines(content: bytes, chance: random.Random) -> bytes:
    """Double, drop, indent or move a line."""
    lines = content.split(b"\n")
    line = lines.pop(chance.randrange(len(lines)))
    for _ in range(chance.randrange(3)):
        indent = chance.choice((b"", b" ", b"  ", b"\t"))
        lines.insert(chance.randrange(len(lines) + 1), indent + line)
    return b"\n".join(lines)


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    damage_tree,
    damage_tree,
    damage_tree,
    insert,
    cut,
    shuffle_lines,
)


def write(folder: Path, files: Files) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def marked_by_editors(folder: Path, schemas: dict[str, Draft202012Validator]) -> list[str]:
    """Return what the schemas find wrong with the three files."""
    marks = []
    for name in SMALL:
        values = read(folder / name, name=name).values
        for error in schemas[schema_name(name)].iter_errors(values):
            # What params.yaml overrides is not looked at, so it may be anything to `load`.
            if list(error.path)[:1] != ["base_params"]:
                marks.append(f"{name}: {error.json_path}")
    return marks


# -- the tests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_load_gives_settings_or_a_config_error_and_nothing_else(tmp_path: Path, chunk: int) -> None:
    seen = {"settings": 0, "error": 0}
    templates = render()
    schemas = {name: Draft202012Validator(one) for name, one in render_schemas().items()}
    for number in range(chunk, CASES, CHUNKS):
        write(tmp_path, damaged(number, templates if number % 2 else SMALL))
        try:
            loaded = load(tmp_path)
        except ConfigError as error:
            seen["error"] += 1
            assert error.problems, f"case {number}"
            assert all(problem.message for problem in error.problems), f"case {number}"
        except Exception as error:
            raise AssertionError(f"case {number}: {error!r}") from error
        else:
            seen["settings"] += 1
            assert isinstance(loaded, Loaded), f"case {number}"
            assert not marked_by_editors(tmp_path, schemas), f"case {number}"

    # Damage that never mattered, or that left nothing to read, would test nothing.
    assert min(seen.values()) > sum(seen.values()) // 20


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small project with a study that is stored."""
    path = tmp_path_factory.mktemp("fuzz")
    generator = np.random.default_rng(0)
    np.save(path / "x.npy", generator.normal(size=(40, 2, 32)).astype(np.float32))
    np.save(path / "t.npy", generator.normal(size=(40, 2)).astype(np.float32))
    write(path, {name: text.encode() for name, text in SMALL.items()})
    assert run(path, "study", "create").code == 0
    return path


def run(folder: Path, *arguments: str) -> Ended:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TUNECTL_", "OPTUNA_"))}
    return forked_tunectl()(folder, *arguments, environment=environment)


def digest(folder: Path) -> dict[str, str]:
    """Return the digest of everything in the folder but the three files and the data."""
    kept = (*SMALL, "x.npy", "t.npy")
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in kept
    }


def refused(folder: Path) -> bool:
    try:
        load(folder)
    except ConfigError:
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(4))
def test_commands_refuse_damaged_files_and_leave_the_database_alone(
    project: Path, chunk: int
) -> None:
    before = digest(project)
    done = 0
    number = chunk
    while done < COMMAND_CASES // 4:
        write(project, damaged(number, SMALL))
        number += 4
        if not refused(project):
            continue
        done += 1
        for command in (("check",), ("study", "create")):
            result = run(project, *command)
            assert result.code == 2, f"case {number - 4}: {command}: {result.err}"
            assert result.out == ""
            assert "error: " in result.err, f"case {number - 4}"
        assert digest(project) == before, f"case {number - 4}"
