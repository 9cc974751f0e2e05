"""Reading a study from a file of JSON lines, or what is wrong with it and in which line.

Nothing is taken on trust: the file may be cut, damaged, edited by hand or no exported study at all.
This module knows no database. What is in such a file stands in `portable.py`.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tunectl.config.values import INT_64, describe, shown
from tunectl.errors import Problem, StudyFileError
from tunectl.studies.portable import (
    FORMAT,
    LITERAL,
    NUMBER,
    SCHEMA_VERSION,
    PortableStudy,
    local_time,
    position_of_choice,
)
from tunectl.studies.ranking import STATE_NAMES

_NOT_IN_JSON = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_DIRECTIONS = {one.name.lower(): one for one in StudyDirection}
_STATES = {name: state for state, name in STATE_NAMES.items()}
_WORDS: Mapping[type, str] = {
    dict: "a mapping",
    list: "a list",
    str: "text",
    int: "a whole number",
    type(None): "null",
}
_STUDY_KEYS = (
    "format",
    "schema_version",
    "name",
    "directions",
    "n_trials",
    "user_attrs",
    "system_attrs",
)
_TRIAL_KEYS = (
    "number",
    "state",
    "values",
    "params",
    "intermediate_values",
    "user_attrs",
    "system_attrs",
    "started_at",
    "finished_at",
)


def read_study(file: Path, *, name: str) -> PortableStudy:
    """Read a study from a file of JSON lines.

    Args:
        file: The file.
        name: What the user calls it; used in messages.

    Raises:
        StudyFileError: it cannot be read, is no exported study, is damaged or cut.
    """
    line = 1
    trials: list[FrozenTrial] = []
    lines: list[int] = []
    try:
        with file.open("rb") as content, warnings.catch_warnings():
            # Optuna warns of distributions that it calls otherwise since.
            warnings.simplefilter("ignore")
            filled = ((number, raw) for number, raw in enumerate(content, 1) if raw.strip())
            line, raw = next(filled, (1, b""))
            head, n_trials = _read_head(_parse(raw))
            for line, raw in filled:
                trials.append(_read_trial(_parse(raw), len(trials), len(head.directions)))
                lines.append(line)
        if len(trials) != n_trials:
            raise ValueError(f"the file ends after {len(trials)} of {n_trials} trials")
    except OSError as error:
        raise _wrong(name, None, f"cannot be read: {error.strerror or error}") from error
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise _wrong(name, line, str(error)) from error
    return replace(head, trials=trials, file=name, lines=lines)


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("is not UTF-8 text; the file is damaged, or no exported study") from error
    try:
        document = json.loads(text, parse_constant=_refuse, object_pairs_hook=_distinct)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}: {error.msg}"
        raise ValueError(f"is not JSON ({place}); the file is damaged, or no exported study") from (
            error
        )
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    if not isinstance(document, dict):
        raise ValueError("is not a JSON mapping; the file is no exported study")
    return document


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f'{constant} is not JSON; write {{"{NUMBER}": "{constant}"}}')


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [key for key, _ in pairs]
        raise ValueError(
            f"has {shown(next(key for key in names if names.count(key) > 1))} more than once"
        )
    return mapping


def _read_head(document: Mapping[str, Any]) -> tuple[PortableStudy, int]:
    if document.get("format") != FORMAT:
        raise ValueError(f'is no exported study, whose first line has "format": "{FORMAT}"')
    version = _take(document, "schema_version", int)
    if version != SCHEMA_VERSION:
        raise ValueError(f"has schema version {version}; this tunectl reads {SCHEMA_VERSION}")
    _refuse_unknown(document, _STUDY_KEYS)
    directions = [
        _known(one, _DIRECTIONS, "direction") for one in _take(document, "directions", list)
    ]
    if not directions:
        raise ValueError("directions is empty")
    head = PortableStudy(
        name=_take(document, "name", str),
        directions=directions,
        user_attrs=_attributes(document, "user_attrs"),
        system_attrs=_attributes(document, "system_attrs"),
        trials=(),
    )
    return head, _take(document, "n_trials", int)


def _read_trial(document: Mapping[str, Any], number: int, n_objectives: int) -> FrozenTrial:
    _refuse_unknown(document, _TRIAL_KEYS)
    found = _take(document, "number", int)
    if found != number:
        raise ValueError(f"is trial {found} where trial {number} should be")
    state = _known(_take(document, "state", str), _STATES, "state")
    params = _take(document, "params", dict)
    read = {_name(key): _read_parameter(key, parameter) for key, parameter in params.items()}
    return FrozenTrial(
        number=number,
        state=state,
        value=None,
        values=_read_values(document, state, n_objectives),
        datetime_start=_parse_time(document, "started_at"),
        datetime_complete=_parse_time(document, "finished_at"),
        params={key: value for key, (value, _) in read.items()},
        distributions={key: distribution for key, (_, distribution) in read.items()},
        user_attrs=_attributes(document, "user_attrs"),
        system_attrs=_attributes(document, "system_attrs"),
        intermediate_values={
            _step(step): _float(value, f"the value at step {step}")
            for step, value in _take(document, "intermediate_values", dict).items()
        },
        trial_id=number,
    )


def _read_values(
    document: Mapping[str, Any], state: TrialState, n_objectives: int
) -> list[float] | None:
    given = _take(document, "values", list, type(None))
    if given is None:
        if state == TrialState.COMPLETE:
            raise ValueError("a complete trial must have values")
        return None
    values = [_float(value, "each of the values") for value in given]
    if len(values) != n_objectives:
        raise ValueError(
            f"the study has {n_objectives} objectives, but the trial {len(values)} values"
        )
    if any(math.isnan(value) for value in values):
        # Optuna stores it, and then cannot read any trial of the study any more.
        raise ValueError("NaN cannot be a trial's value; a failed trial has null")
    return values


def _read_parameter(key: str, parameter: Any) -> tuple[Any, BaseDistribution]:
    try:
        if not isinstance(parameter, dict):
            raise ValueError("is no mapping of value and distribution")
        _refuse_unknown(parameter, ("value", "distribution"))
        document = _take(parameter, "distribution", dict)
        distribution = _distribution(json.dumps(_decode(document)))
        value = _decode(parameter.get("value"))
        if isinstance(distribution, CategoricalDistribution):
            return distribution.choices[position_of_choice(distribution, value)], distribution
        if isinstance(distribution, IntDistribution) and type(value) is not int:
            raise ValueError(f"expected a whole number, not {describe(value)}")
        if isinstance(distribution, FloatDistribution):
            value = _float(parameter.get("value"), "the value")
        distribution.to_internal_repr(value)
    except (ValueError, ArithmeticError) as error:
        raise ValueError(f"parameter {shown(key)}: {error}") from error
    return value, distribution


@lru_cache(maxsize=1024)
def _distribution(text: str) -> BaseDistribution:
    try:
        return json_to_distribution(text)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{shown(text)} is none of Optuna's distributions ({error})") from error


def _attributes(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    decoded = _decode(_take(document, key, dict))
    if not isinstance(decoded, dict):
        raise ValueError(f"{key} must be a mapping, not a number")
    return {_name(name): value for name, value in decoded.items()}


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == {NUMBER}:
            return _known(value[NUMBER], _NOT_IN_JSON, NUMBER)
        if value.keys() == {LITERAL} and isinstance(value[LITERAL], dict):
            value = value[LITERAL]
        return {key: _decode(item) for key, item in value.items()}
    return value


def _float(value: Any, what: str) -> float:
    number = _decode(value)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ValueError(f"{what} must be a number, not {describe(number)}")
    return float(number)


def _step(text: str) -> int:
    try:
        step = int(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is no step; it must be a whole number") from None
    if str(step) != text or step not in INT_64:
        raise ValueError(f"{shown(text)} is no step; it must be a whole number of 64 bits")
    return step


def _parse_time(document: Mapping[str, Any], key: str) -> dt.datetime | None:
    """Return a time as Optuna has it: local, without a zone."""
    text = _take(document, key, str, type(None))
    if text is None:
        return None
    try:
        time = dt.datetime.fromisoformat(text)
        if time.tzinfo is None:
            raise ValueError(text)
        return local_time(time)
    except (ValueError, OverflowError):
        message = f"{key} must be a time such as 2026-01-31T12:00:59.123456Z, not {shown(text)}"
        raise ValueError(message) from None


def _take(document: Mapping[str, Any], key: str, *kinds: type) -> Any:
    if key not in document:
        raise ValueError(f"{key} is missing")
    value = document[key]
    if type(value) not in kinds:
        words = " or ".join(_WORDS[kind] for kind in kinds)
        raise ValueError(f"{key} must be {words}, not {describe(value)}")
    return value


def _known(value: Any, known: Mapping[str, Any], what: str) -> Any:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{what} must be one of {', '.join(known)}, not {describe(value)}")
    return known[value]


def _name(key: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in key):
        raise ValueError(f"{shown(key)} is no name: it has half a surrogate pair")
    return key


def _refuse_unknown(document: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in document:
        if key not in known:
            raise ValueError(f"unknown key {shown(key)}; valid: {', '.join(known)}")


def _wrong(file: str, line: int | None, message: str) -> StudyFileError:
    return StudyFileError([Problem(file=file, line=line, message=message)])
