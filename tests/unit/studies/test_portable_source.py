"""Files that are no exported study any more: each is refused, with the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunectl.errors import StudyFileError
from tunectl.studies.portable_source import read_study

HEAD: dict[str, Any] = {
    "format": "tunectl-study",
    "schema_version": 1,
    "name": "s",
    "directions": ["minimize"],
    "n_trials": 2,
    "user_attrs": {},
    "system_attrs": {},
}
TRIAL: dict[str, Any] = {
    "number": 0,
    "state": "complete",
    "values": [1.0],
    "params": {
        "x": {
            "value": 1,
            "distribution": {
                "name": "IntDistribution",
                "attributes": {"log": False, "step": 1, "low": 1, "high": 9},
            },
        }
    },
    "intermediate_values": {"1": 0.5},
    "user_attrs": {},
    "system_attrs": {},
    "started_at": "2026-01-31T12:00:00Z",
    "finished_at": "2026-01-31T13:00:00.5+01:00",
}


def text_of(head: dict[str, Any], *lines: dict[str, Any]) -> str:
    return "".join(json.dumps(line) + "\n" for line in (head, *lines))


def changed(**change: Any) -> str:
    """Return a file whose second trial, in its third line, differs."""
    return text_of(HEAD, TRIAL, {**TRIAL, "number": 1, **change})


def parameter(value: Any, **distribution: Any) -> dict[str, Any]:
    return {"x": {"value": value, "distribution": distribution}}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "is not JSON"),
        ("study: {name: x}\n", 1, "is not JSON"),
        ("[]\n", 1, "no exported study"),
        ('{"name": "x"}\n', 1, '"format": "tunectl-study"'),
        (text_of({**HEAD, "schema_version": 2}), 1, "schema version 2"),
        (text_of({**HEAD, "directions": ["up"]}), 1, "minimize, maximize"),
        (text_of({**HEAD, "colour": 1}), 1, "unknown key 'colour'"),
        (text_of({**HEAD, "user_attrs": {"\ud800": 1}}), 1, "surrogate"),
        (text_of(HEAD, TRIAL), 2, "ends after 1 of 2 trials"),
        (changed()[:-30], 3, "is not JSON"),
        (changed() + "{}\n", 4, "number is missing"),
        (changed(number=7), 3, "is trial 7 where trial 1 should be"),
        (changed(state="done"), 3, "complete, pruned, failed"),
        (changed(values=None), 3, "must have values"),
        (changed(values=[1.0, 2.0]), 3, "1 objectives"),
        (changed(values=[{"$number": "NaN"}]), 3, "NaN cannot be"),
        (changed(values=["1"]), 3, "must be a number, not the text '1'"),
        (changed(values=[10**400]), 3, "too large"),
        (changed(intermediate_values={"1.5": 1.0}), 3, "'1.5' is no step"),
        (changed(intermediate_values={str(2**64): 1.0}), 3, "64 bits"),
        (changed(intermediate_values={"1": {"$number": "1"}}), 3, "NaN, Infinity"),
        (changed(started_at="2026-01-31T12:00:00"), 3, "started_at must be a time such as"),
        (changed(started_at="0001-01-01T00:00:00+14:00"), 3, "started_at must be a time"),
        (changed(params={"x": 1}), 3, "parameter 'x'"),
        (changed(params=parameter(1, name="Cauchy", attributes={})), 3, "none of Optuna's"),
        (changed(params=parameter("a", type="categorical", choices=["b"])), 3, "choices"),
        (changed(params=parameter(True, type="int", low=0, high=1)), 3, "whole number, not true"),
        (changed(params=parameter(2, type="float", low=1, high=0)), 3, "none of Optuna's"),
        (changed().replace("[1.0]", "[NaN]"), 2, "NaN is not JSON"),
        (changed().replace('"number": 1,', '"number": 1, "number": 1,'), 3, "more than once"),
        ("[" * 100_000, 1, "nested too deeply"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    (tmp_path / "s.jsonl").write_text(text, encoding="utf-8")

    with pytest.raises(StudyFileError) as error:
        read_study(tmp_path / "s.jsonl", name="s.jsonl")

    assert error.value.problems[0].file == "s.jsonl"
    assert error.value.problems[0].line == line
    assert words in str(error.value)


def test_a_file_that_is_not_text_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_bytes(text_of(HEAD).encode() + b"\xff\xfe\n")

    with pytest.raises(StudyFileError, match=r"s\.jsonl:2: is not UTF-8"):
        read_study(tmp_path / "s.jsonl", name="s.jsonl")
    with pytest.raises(StudyFileError, match="cannot be read: No such file"):
        read_study(tmp_path / "none.jsonl", name="none.jsonl")
    with pytest.raises(StudyFileError, match="cannot be read: Is a directory"):
        read_study(tmp_path, name="folder")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("changed")


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_file_changed_anywhere_is_read_or_refused(folder: Path, data: st.DataObject) -> None:
    content = bytearray(changed().encode())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    file = folder / "changed.jsonl"
    file.write_bytes(bytes(content))

    try:
        read_study(file, name="changed.jsonl")
    except StudyFileError as error:
        assert error.problems[0].file == "changed.jsonl"
