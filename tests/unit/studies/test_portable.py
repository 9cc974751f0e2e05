"""Studies through a file: nothing of one is lost, and nothing of a damaged one is stored."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tunectl.config.schema import Settings
from tunectl.errors import StudyExistsError, StudyFileError, UsageError
from tunectl.studies import transfer
from tunectl.studies.lifecycle import create_study, load_study, stored_settings, study_names
from tunectl.studies.portable import PortableStudy, write_study
from tunectl.studies.portable_source import read_study
from tunectl.studies.storage import open_storage
from tunectl.studies.transfer import pack_study, unpack_study

Make = Callable[..., Settings]
NUMBERS = itertools.count()


def opened(folder: Path, name: str) -> RDBStorage:
    storage = open_storage(f"sqlite:///{folder}/{name}.db", create=True)
    assert storage is not None
    return storage


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> tuple[RDBStorage, RDBStorage, Path]:
    """Return two databases and a folder; they fill with studies as examples go by."""
    folder = tmp_path_factory.mktemp("portable")
    return opened(folder, "source"), opened(folder, "target"), folder


# -- any study -----------------------------------------------------------------------------------

names = st.text(min_size=1, max_size=20) | st.sampled_from(["$number", "$literal", "\u2028\x85"])
plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\ud800", "a\u2028b\x9bc\n", "NaN", {"$number": "NaN"}, {"$literal": {}}])
)
attributes = st.dictionaries(
    names,
    st.recursive(
        plain,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=9) | names, inner, max_size=3)
        ),
        max_leaves=6,
    ),
    max_size=3,
)
reals = st.floats(allow_nan=False, allow_infinity=False, width=32)
moments = st.datetimes(dt.datetime(1980, 1, 1), dt.datetime(2090, 1, 1))


@st.composite
def parameters(draw: st.DrawFn) -> tuple[Any, BaseDistribution]:
    """Draw a distribution of any kind, and a value in it."""
    kind = draw(st.sampled_from(["float", "log", "step", "int", "int log", "int step", "choice"]))
    if kind == "choice":
        scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=9)
        choices = draw(st.lists(scalars, min_size=1, max_size=4))
        return draw(st.sampled_from(choices)), CategoricalDistribution(choices)
    if kind.startswith("int"):
        least, width = draw(st.integers(1, 10**6)), draw(st.integers(0, 10**6))
        stride = draw(st.integers(1, 9)) if kind == "int step" else 1
        most = least + width // stride * stride
        value = least + draw(st.integers(0, width // stride)) * stride
        return value, IntDistribution(least, most, log=kind == "int log", step=stride)
    if kind == "step":
        low, step, count = draw(st.integers(-9, 9)) / 10, 0.1, draw(st.integers(0, 9))
        high = round(low + 9 * step, 10)
        return min(low + count * step, high), FloatDistribution(low, high, step=step)
    one, other = sorted((abs(draw(reals)) + 1e-9, abs(draw(reals)) + 1e-9))
    return draw(st.floats(one, other)), FloatDistribution(one, other, log=kind == "log")


@st.composite
def trials(draw: st.DrawFn, n_objectives: int) -> FrozenTrial:
    """Draw a trial in any state, with anything that such a trial may have."""
    state = draw(st.sampled_from(list(TrialState)))
    space = draw(st.dictionaries(names, parameters(), max_size=3))
    values = st.lists(st.floats(allow_nan=False), min_size=n_objectives, max_size=n_objectives)
    has_values = state == TrialState.COMPLETE or (
        state == TrialState.PRUNED and draw(st.booleans())
    )
    return FrozenTrial(
        number=0,
        state=state,
        value=None,
        values=draw(values) if has_values else None,
        datetime_start=None if state == TrialState.WAITING else draw(moments),
        datetime_complete=draw(moments) if state.is_finished() else None,
        params={key: value for key, (value, _) in space.items()},
        distributions={key: distribution for key, (_, distribution) in space.items()},
        user_attrs=draw(attributes),
        system_attrs=draw(attributes),
        intermediate_values=draw(
            st.dictionaries(st.integers(0, 2**31 - 1), st.floats(), max_size=3)
        ),
        trial_id=0,
    )


@st.composite
def studies(draw: st.DrawFn) -> PortableStudy:
    """Draw a study whose trials agree on the kind of each parameter, as Optuna demands."""
    directions = draw(st.lists(st.sampled_from([*StudyDirection][1:]), min_size=1, max_size=3))
    drawn = draw(st.lists(trials(len(directions)), max_size=4))
    for number, trial in enumerate(drawn):
        # A name of its own in each trial: Optuna refuses other choices under the same name.
        trial.params = {f"{key}{number}": value for key, value in trial.params.items()}
        trial.distributions = {f"{key}{number}": one for key, one in trial.distributions.items()}
    return PortableStudy(
        name=f"study-{next(NUMBERS)}",
        directions=directions,
        user_attrs=draw(attributes),
        system_attrs=draw(attributes),
        trials=drawn,
    )


def store(storage: RDBStorage, wanted: PortableStudy) -> optuna.Study:
    """Make a study as any program with Optuna would."""
    study = optuna.create_study(
        storage=storage, study_name=wanted.name, directions=wanted.directions
    )
    for key, value in wanted.user_attrs.items():
        study.set_user_attr(key, value)
    for key, value in wanted.system_attrs.items():
        study._storage.set_study_system_attr(study._study_id, key, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.add_trials(wanted.trials)
    return study


def fields_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return all of a trial, made comparable: NaN is the same as NaN, and 1 is not true."""
    return {
        "number": trial.number,
        "state": trial.state,
        "values": trial.values,
        "times": (trial.datetime_start, trial.datetime_complete),
        "params": repr(list(trial.params.items())),
        "distributions": trial.distributions,
        "user_attrs": repr(sorted(trial.user_attrs.items())),
        "system_attrs": repr(sorted(trial.system_attrs.items())),
        "intermediate_values": repr(sorted(trial.intermediate_values.items())),
    }


def packed(study: optuna.Study) -> PortableStudy:
    """Return a study as it is exported."""
    storage: Any = study._storage  # Optuna's cache before the database
    return pack_study(storage._backend, study)


def all_of(study: optuna.Study) -> dict[str, Any]:
    """Return all of a study, made comparable."""
    return {
        "directions": study.directions,
        "user_attrs": repr(sorted(study.user_attrs.items())),
        "system_attrs": repr(sorted(packed(study).system_attrs.items())),
        "trials": [fields_of(trial) for trial in study.get_trials()],
    }


def through_a_file(
    study: optuna.Study, target: RDBStorage, folder: Path, name: str | None = None
) -> optuna.Study:
    """Export a study and import it."""
    write_study(packed(study), folder / "study.jsonl")
    made = unpack_study(target, read_study(folder / "study.jsonl", name="study.jsonl"), name)
    return load_study(target, made)


@settings(max_examples=30, deadline=None)
@given(wanted=studies())
def test_nothing_of_a_study_is_lost(
    databases: tuple[RDBStorage, RDBStorage, Path], wanted: PortableStudy
) -> None:
    source, target, folder = databases
    study = store(source, wanted)

    again = through_a_file(study, target, folder)

    assert all_of(again) == all_of(study)
    write_study(packed(again), folder / "again.jsonl")
    assert (folder / "again.jsonl").read_bytes() == (folder / "study.jsonl").read_bytes()


@settings(max_examples=8, deadline=None)
@given(wanted=studies())
def test_a_database_of_another_layout_gets_the_same_study(
    databases: tuple[RDBStorage, RDBStorage, Path], wanted: PortableStudy
) -> None:
    source, target, folder = databases
    study = store(source, wanted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "KNOWN_LAYOUTS", ())
        again = through_a_file(study, target, folder, f"other-{wanted.name}")

    assert all_of(again) == all_of(study)


def test_choices_that_are_equal_in_python_are_told_apart(tmp_path: Path) -> None:
    study = optuna.create_study(storage=opened(tmp_path, "source"), study_name="s")
    choices = CategoricalDistribution((1, True, 1.0, "1"))
    for index in range(4):
        trial = study.ask()
        study._storage.set_trial_param(trial._trial_id, "x", float(index), choices)
        study.tell(trial, 0.0)

    again = through_a_file(study, opened(tmp_path, "target"), tmp_path)

    assert [repr(trial.params["x"]) for trial in again.get_trials()] == ["1", "True", "1.0", "'1'"]


@pytest.fixture
def central_europe(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_an_hour_that_the_clock_shows_twice_is_not_lost(
    tmp_path: Path, central_europe: None
) -> None:
    source, target = opened(tmp_path, "source"), opened(tmp_path, "target")
    study = optuna.create_study(storage=source, study_name="s")
    before = dt.datetime(2026, 10, 25, 2, 30, 0, 7)  # summer time, and again an hour later
    study.add_trial(
        FrozenTrial(
            number=0,
            state=TrialState.COMPLETE,
            value=1.0,
            datetime_start=before,
            datetime_complete=before.replace(fold=1),
            params={},
            distributions={},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
            trial_id=0,
        )
    )

    again = through_a_file(study, target, tmp_path)

    line = json.loads((tmp_path / "study.jsonl").read_text().splitlines()[1])
    assert line["started_at"] == "2026-10-25T00:30:00.000007Z"
    assert line["finished_at"] == "2026-10-25T01:30:00.000007Z"
    write_study(packed(again), tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_text() == (tmp_path / "study.jsonl").read_text()


# -- a study that goes on ------------------------------------------------------------------------


def test_the_file_is_json_that_people_can_read(tmp_path: Path) -> None:
    study = optuna.create_study(storage=opened(tmp_path, "source"), study_name="s")
    study.optimize(lambda trial: trial.suggest_float("größe", 0.0, 1.0, step=0.5), n_trials=1)
    study.set_user_attr("limits", [math.inf, "é"])

    write_study(packed(study), tmp_path / "s.jsonl")

    head, trial = (tmp_path / "s.jsonl").read_text(encoding="utf-8").splitlines()
    assert head == (
        '{"format": "tunectl-study", "schema_version": 1, "name": "s", "directions": ["minimize"],'
        ' "n_trials": 1, "user_attrs": {"limits": [{"$number": "Infinity"}, "é"]},'
        ' "system_attrs": {}}'
    )
    assert '"state": "complete"' in trial
    assert '"params": {"größe": {"value": ' in trial


def test_an_imported_study_goes_on_and_names_itself(
    tmp_path: Path, make_settings: Make, database: str
) -> None:
    source = open_storage(database, create=True)
    assert source is not None
    study = create_study(source, make_settings(name="old", metric=["val_mse"]))
    study.tell(study.ask(), 3.0)

    again = through_a_file(study, opened(tmp_path, "target"), tmp_path, "new")
    study.ask()
    trial = again.ask()
    again.tell(trial, 1.0)

    assert trial.number == 1
    assert again.best_trial.number == 1
    stored = stored_settings(again)
    assert stored is not None
    assert stored.search.study.name == "new"
    assert again.metric_names == study.metric_names
    before = stored_settings(study)
    assert before is not None
    assert before.search.study.name == "old"


# -- what cannot be taken ------------------------------------------------------------------------


def good(name: str = "s", value: int = 1) -> PortableStudy:
    """Return a study of two trials as if it had been read from a file."""
    made = [
        FrozenTrial(
            number=number,
            state=TrialState.COMPLETE,
            value=1.0,
            datetime_start=dt.datetime(2026, 1, 31, 12),
            datetime_complete=dt.datetime(2026, 1, 31, 13),
            params={"x": x},
            distributions={"x": IntDistribution(0, 9)},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
            trial_id=number,
        )
        for number, x in enumerate((1, value))
    ]
    return PortableStudy(
        name=name,
        directions=[StudyDirection.MINIMIZE],
        user_attrs={},
        system_attrs={},
        trials=made,
        file="s.jsonl",
        lines=(2, 3),
    )


def test_a_study_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    storage = opened(tmp_path, "target")
    optuna.create_study(storage=storage, study_name="s")

    with pytest.raises(StudyExistsError, match="another name"):
        unpack_study(storage, good())
    assert load_study(storage, "s").get_trials() == []
    assert unpack_study(storage, good(), "t") == "t"
    assert study_names(storage) == ["s", "t"]


def test_a_name_that_no_folder_can_have_needs_another(tmp_path: Path) -> None:
    storage = opened(tmp_path, "target")
    odd = good("../my study")

    with pytest.raises(StudyFileError, match=r"s\.jsonl:1: .*study import FILE NAME"):
        unpack_study(storage, odd)
    with pytest.raises(UsageError, match="cannot be a study's name"):
        unpack_study(storage, odd, "a/b")
    assert study_names(storage) == []
    assert unpack_study(storage, odd, "mine") == "mine"


@pytest.mark.parametrize("layouts", [transfer.KNOWN_LAYOUTS, ()])
def test_an_import_that_breaks_off_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layouts: tuple[str, ...]
) -> None:
    storage = opened(tmp_path, "target")
    monkeypatch.setattr(transfer, "KNOWN_LAYOUTS", layouts)
    monkeypatch.setattr(transfer, "BATCH", 1)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(transfer, "_parameter_row", interrupted)
        patch.setattr(optuna.Study, "add_trial", interrupted)
        with pytest.raises(KeyboardInterrupt):
            unpack_study(storage, good())

    assert study_names(storage) == []
    unpack_study(storage, good())
    assert len(load_study(storage, "s").get_trials()) == 2


def test_a_trial_that_optuna_would_not_add_is_named_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = opened(tmp_path, "target")
    monkeypatch.setattr(transfer, "KNOWN_LAYOUTS", ())

    with pytest.raises(StudyFileError, match=r"s\.jsonl:3: .*50"):
        unpack_study(storage, good(value=50))
    assert study_names(storage) == []
