from __future__ import annotations

from pathlib import Path

import pytest

from tunectl.config.yaml_source import Document, read
from tunectl.errors import ConfigError, Problem


def _read(tmp_path: Path, content: str | bytes) -> Document:
    path = tmp_path / "file.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read(path, name="file.yaml")


def _flaw(tmp_path: Path, content: str | bytes) -> Problem:
    with pytest.raises(ConfigError) as caught:
        _read(tmp_path, content)
    (problem,) = caught.value.problems
    assert problem.file == "file.yaml"
    return problem


def test_values_are_plain_and_know_their_lines(tmp_path: Path) -> None:
    document = _read(tmp_path, "a:\n  b: 1\n  c: [x,\n    2]\nd.e: null\n")

    assert document.values == {"a": {"b": 1, "c": ["x", 2]}, "d.e": None}
    assert document.lines[("a", "b")] == 2
    assert document.lines[("a", "c", "1")] == 4
    assert document.lines[("d.e",)] == 5


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1.0e-3", 1e-3),
        ("-.5", -0.5),
        ("3", 3),
        ("010", 10),
        ("0x1F", 31),
        (".inf", float("inf")),
        ("true", True),
        ("no", "no"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2026-01-31", "2026-01-31"),
        ("~", None),
        ("", None),
        ("!!str 5", "5"),
        ("'5'", "5"),
        ("=", "="),
    ],
)
def test_plain_values_are_those_of_yaml_1_2(tmp_path: Path, text: str, value: object) -> None:
    found = _read(tmp_path, f"key: {text}\n").values["key"]

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("content", ["", "\n# only a comment\n", "---\n", "\ufeff"])
def test_an_empty_file_is_an_empty_mapping(tmp_path: Path, content: str) -> None:
    assert _read(tmp_path, content) == Document()


def test_aliases_and_merge_keys_are_filled_in(tmp_path: Path) -> None:
    document = _read(tmp_path, "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\nc: [*a]\n")

    assert document.values["b"] == {"x": 1, "y": 3}
    assert document.values["c"] == [{"x": 1, "y": 2}]
    assert document.lines[("b", "y")] == 4


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("a:\n\tb: 1\n", 2, "tab"),
        ("a:\n  b: 1\n\tc: 2\n", 3, "tab"),
        ("a: [1,\nb: c: d\n", 2, "not valid YAML"),
        ("a:\n  b: 1\n c: 2\n", 3, "indentation"),
        (b"a: 1\nb: \xff\n", 2, "UTF-8"),
        ("a: 1\n---\nb: 2\n", 2, "not valid YAML"),
        ("- a\n", 1, "mapping at the top"),
        ("just text\n", 1, "mapping at the top"),
        ("x: 1\na: &a\n  b: *a\n", 2, "inside of what it refers to"),
        ("a: *nowhere\n", 1, "not valid YAML"),
        ("a: \x01\n", 1, "control character"),
        ("[" * 3000, None, "nested too deeply"),
        ("a: " + "{a: " * 3000, None, "nested too deeply"),
        ("a: " + "[" * 40 + "]" * 40, 1, "nested too deeply"),
        ('a: "\\UFFFFFFFF"\n', None, "not valid YAML"),
        ("a: " + "x" * (1 << 20), None, "larger than 1 MiB"),
    ],
)
def test_a_file_that_is_no_configuration_is_one_problem_with_its_line(
    tmp_path: Path, content: str | bytes, line: int | None, words: str
) -> None:
    problem = _flaw(tmp_path, content)

    assert problem.line == line
    assert words in problem.message


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "duplicate key 'a', first given in line 1"),
        ("x: {c: 1, d: 2,\n  c: 3}\n", 2, "first given in line 1"),
        ("1: a\n", 1, "'1' must be text"),
        ("x:\n  true: a\n", 2, "'true' must be text"),
        ("? [a]\n: b\n", 1, "a key must be text"),
        ("x: !!python/object/apply:os.system ['false']\n", 1, "not allowed"),
        ("x: !!binary aGk=\n", 1, "not allowed"),
        ("x: !!int many\n", 1, "is no int"),
        ("x: 99999999999999999999\n", 1, "too large"),
        (f"x: {'9' * 5000}\n", 1, "too large"),
        (f"x: 0x{'f' * 5000}\n", 1, "too large"),
        ('x: "a\\0b"\n', 1, "cannot be stored"),
        ('x: "\\ud800"\n', 1, "cannot be stored"),
    ],
)
def test_a_bad_line_is_a_problem_and_the_others_are_read(
    tmp_path: Path, content: str, line: int, words: str
) -> None:
    document = _read(tmp_path, content + "good: 1\n")

    (problem,) = document.problems
    assert problem.line == line
    assert words in problem.message
    assert document.values["good"] == 1


@pytest.mark.parametrize("kind", ["list", "mapping", "merge"])
def test_nested_aliases_cannot_ask_for_endless_work(tmp_path: Path, kind: str) -> None:
    forms = {
        "list": "k{i}: &k{i} [{many}]",
        "mapping": "k{i}: &k{i} {{a: *k{j}, b: *k{j}, c: *k{j}, d: *k{j}}}",
        "merge": "k{i}: &k{i} {{<<: [{many}]}}",
    }
    lines = ["k0: &k0 {x: 1}"]
    for i in range(1, 30):
        many = ", ".join([f"*k{i - 1}"] * 10)
        lines.append(forms[kind].format(i=i, j=i - 1, many=many))

    assert "aliases" in _flaw(tmp_path, "\n".join(lines)).message


def test_a_missing_file_and_a_folder_are_problems(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there\.yaml: ask somebody"):
        read(tmp_path / "there.yaml", name="there.yaml", if_missing="ask somebody")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read(tmp_path, name="here")
