"""A study as one portable file of JSON lines: what is in it, and writing it.

The first line is the study, every further one a trial, in the order of their numbers. Numbers that
JSON does not have are tagged, times are RFC 3339 in UTC. `portable_source.py` reads it again,
`transfer.py` is between it and a database; this module knows none.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, distribution_to_json
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from tunectl.artifacts import atomic
from tunectl.studies.ranking import STATE_NAMES

FORMAT = "tunectl-study"
SCHEMA_VERSION = 1
NUMBER = "$number"
LITERAL = "$literal"
# Half a surrogate pair is no UTF-8; the others end a line for some readers, or move a cursor.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class PortableStudy:
    """All that a study consists of, apart from any database.

    Args:
        name: Its name where it was made, whatever characters it has.
        directions: One per objective.
        user_attrs: Attributes of the study.
        system_attrs: Optuna's own attributes of it.
        trials: By number, 0, 1, 2 …
        file: The file that it was read from, as the user would name it.
        lines: 1-based line of each trial in that file.
    """

    name: str
    directions: Sequence[StudyDirection]
    user_attrs: Mapping[str, Any]
    system_attrs: Mapping[str, Any]
    trials: Sequence[FrozenTrial]
    file: str | None = None
    lines: Sequence[int] = ()


def write_study(study: PortableStudy, file: Path) -> None:
    """Write a study to a file of JSON lines, atomically.

    The same study gives the same bytes, whatever database it comes from.

    Args:
        study: The study.
        file: Its place; an earlier file is replaced.

    Raises:
        OSError: the file cannot be written; an earlier one is as it was.
    """
    with atomic.replacing(file) as beside, beside.open("w", encoding="utf-8", newline="\n") as out:
        out.write(_line(_study_document(study)))
        out.writelines(_line(_trial_document(trial)) for trial in study.trials)


def local_time(utc: dt.datetime) -> dt.datetime:
    """Return an aware time as Optuna has it: local, without a zone.

    In the hour that the clock shows twice it says which of the two, which Optuna does not.
    """
    local = utc.astimezone().replace(tzinfo=None)
    return local if local.astimezone(dt.UTC) == utc else local.replace(fold=1)


def position_of_choice(distribution: CategoricalDistribution, value: Any) -> int:
    """Return which choice a value is; unlike Optuna it tells 1, 1.0 and true from each other.

    Raises:
        ValueError: it is none of them.
    """
    texts = [json.dumps(choice) for choice in distribution.choices]
    try:
        return texts.index(json.dumps(value))
    except ValueError:
        raise ValueError(f"{json.dumps(value)} is none of the parameter's choices") from None


def _study_document(study: PortableStudy) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "name": study.name,
        "directions": [direction.name.lower() for direction in study.directions],
        "n_trials": len(study.trials),
        "user_attrs": _encode_sorted(study.user_attrs),
        "system_attrs": _encode_sorted(study.system_attrs),
    }


def _trial_document(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": STATE_NAMES[trial.state],
        "values": _encode(trial.values),
        "params": {
            key: {
                "value": _encode(value),
                "distribution": _encode(json.loads(distribution_to_json(trial.distributions[key]))),
            }
            for key, value in trial.params.items()  # in the order in which they were suggested
        },
        "intermediate_values": {
            str(step): _encode(value) for step, value in sorted(trial.intermediate_values.items())
        },
        "user_attrs": _encode_sorted(trial.user_attrs),
        "system_attrs": _encode_sorted(trial.system_attrs),
        "started_at": _show_time(trial.datetime_start),
        "finished_at": _show_time(trial.datetime_complete),
    }


def _line(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def _encode(value: Any) -> Any:
    """Return a value with what JSON does not have tagged, so that it can be read back exactly."""
    if isinstance(value, float) and not math.isfinite(value):
        return {NUMBER: "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    if isinstance(value, Mapping):
        encoded = {key: _encode(item) for key, item in value.items()}
        return {LITERAL: encoded} if {NUMBER, LITERAL} & encoded.keys() else encoded
    return value


def _encode_sorted(attributes: Mapping[str, Any]) -> Any:
    # A database has no order of attributes, and the same study is to give the same bytes.
    return _encode(dict(sorted(attributes.items())))


def _show_time(local: dt.datetime | None) -> str | None:
    return None if local is None else local.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
