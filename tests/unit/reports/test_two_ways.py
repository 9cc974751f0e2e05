"""A summary read with a few queries is, to the bit, the one that Optuna's own reading gives."""

from __future__ import annotations

import datetime as dt
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from tunectl.reports.summary import summarise, summarise_record
from tunectl.studies.connection import connect
from tunectl.studies.reading import LAYOUT, read_overviews, read_study
from tunectl.studies.recording import record_study
from tunectl.studies.records import overview_of
from tunectl.studies.schema import newest_version

SPACE: dict[str, BaseDistribution] = {
    "z.last": FloatDistribution(1e-9, 1e9, log=True),
    "model.hidden": IntDistribution(32, 128, step=16),
    "model.kind": CategoricalDistribution([None, True, False, 3, 0.1, "a text, with ünïcode"]),
    "training.rate": FloatDistribution(-1.0, 1.0, step=0.1),
    "training.batch": IntDistribution(1, 1024, log=True),
}
HERE = {"study": "mixed", "project": "/somewhere", "host": "me", "boot": "x", "machine": "y"}
INFINITE = float("inf")


def ended(state: TrialState, values: list[float] | None, **attrs: Any) -> FrozenTrial:
    """Return a trial that has ended, with every parameter."""
    kind = attrs.pop("kind", None)
    trial = create_trial(
        state=state,
        values=values,
        params={
            "z.last": 0.1 + 0.2,
            "model.hidden": 48,
            "model.kind": kind,
            "training.rate": 0.30000000000000004,
            "training.batch": 7,
        },
        distributions=SPACE,
        user_attrs=attrs,
        intermediate_values={0: 1.0, 1: float("nan"), 5: INFINITE},
    )
    assert trial.datetime_start is not None
    trial.datetime_complete = trial.datetime_start + dt.timedelta(seconds=61, microseconds=7)
    return trial


def fill_mixed(study: optuna.Study) -> None:
    """Give a study of one metric trials of every kind."""
    metrics = {"val_mse": 0.1, "test_r2": float("nan"), "nested": {"deep": [1, None]}}
    study.add_trials(
        [
            ended(TrialState.COMPLETE, [1e-300], output_dir="outputs/a", metrics=metrics),
            ended(
                TrialState.COMPLETE,
                [INFINITE],
                epochs=40,
                best_epoch=3,
                kind="a text, with ünïcode",
            ),
            ended(TrialState.COMPLETE, [-INFINITE], claimed_by=HERE, output_dir="b", kind=True),
            ended(TrialState.PRUNED, [0.25], paused_s=12.5, mlflow_run_id="r", kind=0.1),
            ended(TrialState.PRUNED, None, kind=3),
            ended(
                TrialState.FAIL, None, error="it broke: 'so'", epochs="many", other=[1], kind=False
            ),
        ]
    )
    study.enqueue_trial({"model.hidden": 64, "training.rate": 0.5}, user_attrs={"why": "known"})
    running = study.ask({"model.hidden": SPACE["model.hidden"]})
    assert running.params == {"model.hidden": 64}
    running.report(0.5, step=0)
    running.report(0.4, step=1)
    running.set_user_attr("output_dir", "outputs/running")
    conditional = study.ask()
    if conditional.suggest_categorical("on", [True]):
        conditional.suggest_float("depth", 0.0, 1.0)
    study.tell(conditional, 0.5)
    for number, broken in enumerate((-1.0, 0.5)):
        constrained = study.ask()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            constrained.set_constraint("memory", broken)
        study.tell(constrained, -5.0 - number)
    study.enqueue_trial({"model.hidden": 32})


def fill_several(study: optuna.Study) -> None:
    """Give a study of two metrics a front, and trials beside it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.set_metric_names(["val_mse", "speed"])
    for values in ([1.0, 2.0], [2.0, 3.0], [3.0, 1.0], [INFINITE, 9.0], [1.0, 2.0], [0.5, -1.0]):
        study.add_trial(ended(TrialState.COMPLETE, values))
    study.add_trial(ended(TrialState.FAIL, None))


def make_all(storage: RDBStorage) -> None:
    """Make studies of every kind."""
    mixed = optuna.create_study(study_name="mixed", storage=storage)
    mixed.set_user_attr("tunectl:about", {"created_at": "2026-01-31T12:00:00Z"})
    mixed.set_user_attr("tunectl:settings", {"long": True})
    fill_mixed(mixed)
    several = optuna.create_study(
        study_name="several", storage=storage, directions=["minimize", "maximize"]
    )
    fill_several(several)
    several.set_user_attr(
        "tunectl:mlflow", {"study": "several", "study_id": "s", "parent_run_id": "p"}
    )
    optuna.create_study(study_name="empty", storage=storage, direction="maximize")
    optuna.copy_study(
        from_study_name="mixed", from_storage=storage, to_storage=storage, to_study_name="copy"
    )
    old = optuna.create_study(study_name="old constraints", storage=storage)
    old.add_trial(ended(TrialState.COMPLETE, [1.0]))
    old.add_trial(ended(TrialState.COMPLETE, [2.0]))
    first = old.get_trials()[0]._trial_id
    with storage.engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO trial_system_attributes (trial_id, key, value_json)"
                f" VALUES ({first}, 'constraints', '[-1.0, 2.0]')"
            )
        )


NAMES = ("mixed", "several", "empty", "copy", "old constraints")


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]
)
def storage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RDBStorage]:
    """Yield a database of studies of every kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('ways') / 'study.db'}"
    else:
        url = request.getfixturevalue("postgresql").new_database()
    made = RDBStorage(url)
    make_all(made)
    yield made
    made.engine.dispose()


@pytest.fixture
def url(storage: RDBStorage) -> str:
    return storage.url


def loaded(storage: RDBStorage, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=storage)


@pytest.mark.parametrize("name", NAMES)
def test_both_ways_give_the_same_summary(storage: RDBStorage, name: str, tmp_path: Path) -> None:
    quickly = read_study(storage.url, name)
    assert quickly is not None

    ours = summarise_record(quickly, "a database", tmp_path)
    optunas = summarise(loaded(storage, name), "a database", tmp_path)

    assert repr(ours) == repr(optunas)  # NaN is not equal to itself, but looks the same
    assert ours.to_csv() == optunas.to_csv()
    assert repr(ours.to_document()) == repr(optunas.to_document())
    assert {str(state) for state in optunas.states} == {
        "complete", "pruned", "failed", "running", "waiting",
    }  # fmt: skip


def test_the_studies_in_a_line_are_the_same_both_ways(storage: RDBStorage) -> None:
    quickly = read_overviews(storage.url)

    assert quickly == [overview_of(record_study(loaded(storage, name))) for name in sorted(NAMES)]


def test_without_a_name_there_has_to_be_one_study(url: str, database: str) -> None:
    assert read_study(url, None) is None
    assert read_study(url, "another") is None

    Path(database.removeprefix("sqlite:///")).parent.mkdir()
    optuna.create_study(study_name="only", storage=database)

    only = read_study(database, None)
    assert only is not None
    assert only.name == "only"


def test_the_queries_are_for_the_tables_of_this_optuna() -> None:
    assert newest_version() == LAYOUT


def test_what_is_not_as_expected_is_left_to_optuna(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    url = f"sqlite:///{file}"
    assert read_study(url, "mine") is None
    assert not file.exists()
    study = optuna.create_study(study_name="mine", storage=url)
    study.add_trial(ended(TrialState.COMPLETE, [1.0]))
    assert read_study(url, "mine") is not None

    strange = '{"name": "StrangeDistribution", "attributes": {}}'
    for change in (
        "UPDATE alembic_version SET version_num = 'v9.9.9.a'",
        "DELETE FROM version_info",
        "UPDATE trials SET state = 'LOST'",
        f"UPDATE trial_params SET distribution_json = '{strange}'",
        "DROP TABLE trial_system_attributes",
    ):
        copy = tmp_path / "copy.db"
        copy.write_bytes(file.read_bytes())
        with closing(connect(copy, 1.0, writing=True)) as connection:
            connection.execute(change)
            connection.commit()
        assert read_study(f"sqlite:///{copy}", "mine") is None, change
    file.write_bytes(b"x" * 8192)
    assert read_study(url, "mine") is None


def test_a_database_that_is_being_written_to_is_read_as_it_was_before(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    url = f"sqlite:///{file}"
    study = optuna.create_study(study_name="mine", storage=url)
    study.add_trial(ended(TrialState.COMPLETE, [1.0]))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    before = read_study(url, "mine")

    with closing(sqlite3.connect(file)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM trials")
        during = read_study(url, "mine")
        writer.rollback()

    assert before is not None
    assert repr(during) == repr(before)
