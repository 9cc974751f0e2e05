"""Reports of a running trial: when they are written, and that the pruner decides as before."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.trial import TrialState, create_trial

from postgresql_server import Server
from tunectl.config.search_schema import Component, Direction
from tunectl.search.pruners import PRUNERS, make_pruner
from tunectl.studies import attributes
from tunectl.studies.epoch_log import LATE_S, SECURE_S, EpochLog, open_log
from tunectl.studies.storage import open_storage


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def open_study(
    url: str, pruner: BasePruner | None = None, direction: Direction = "minimize"
) -> Any:
    """Return the study as a process of its own sees it."""
    return optuna.create_study(
        study_name="s",
        storage=open_storage(url, create=True),
        direction=direction,
        pruner=pruner or optuna.pruners.MedianPruner(n_startup_trials=1),
        load_if_exists=True,
    )


def stored(url: str, number: int = 0) -> dict[int, float]:
    study = open_study(url)
    try:
        return dict(study.get_trials()[number].intermediate_values)
    finally:
        study._storage._backend.engine.dispose()


def log_of(trial: optuna.Trial, clock: Clock) -> EpochLog:
    return open_log(trial, trial.study.get_trials(deepcopy=False)[trial.number], clock)


def report(log: EpochLog, *epochs: int, value: float = 0.5) -> None:
    for epoch in epochs:
        log.add(epoch, value)
        if log.is_late():
            log.write(secure=False)


def test_short_epochs_are_written_together_and_a_long_one_at_once(
    database: str, clock: Clock
) -> None:
    log = log_of(open_study(database).ask(), clock)
    report(log, 1, 2, 3)
    assert set(stored(database)) == {1}
    clock.now_s += LATE_S
    report(log, 4)
    assert set(stored(database)) == {1, 2, 3, 4}
    report(log, 5)
    assert set(stored(database)) == {1, 2, 3, 4}
    log.write(secure=True)
    assert set(stored(database)) == {1, 2, 3, 4, 5}
    clock.now_s += 60 * LATE_S
    report(log, 6)
    assert set(stored(database)) == {1, 2, 3, 4, 5, 6}


def test_what_is_written_is_on_the_disk_itself_after_a_while(
    database: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = log_of(open_study(database).ask(), clock)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    for epoch in range(1, 20):
        report(log, epoch)
        clock.now_s += SECURE_S / 10
    assert len(synced) == 1


def test_several_threads_of_a_function_may_report(database: str, clock: Clock) -> None:
    log = log_of(open_study(database).ask(), clock)

    def report_some(first: int) -> None:
        for epoch in range(first, first + 20):
            log.add(epoch, 0.5)
            log.should_prune()
            log.write(secure=False)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(report_some, range(0, 80, 20)))
    assert set(stored(database)) == set(range(80))


def test_values_come_back_to_the_bit(database: str, clock: Clock) -> None:
    values = [0.1 + 0.2, 5e-324, -1.7976931348623157e308, math.inf, -math.inf, math.nan]
    log = log_of(open_study(database).ask(), clock)
    for epoch, value in enumerate(values):
        log.add(epoch, value)
    log.write(secure=True)
    assert repr(list(stored(database).values())) == repr(values)


def test_a_server_keeps_what_is_reported_as_well(postgresql: Server, clock: Clock) -> None:
    url = postgresql.new_database()
    study = open_study(url)
    log = log_of(study.ask(), clock)
    report(log, 1, 2)
    log.add(3, math.inf)
    log.write(secure=True)
    assert stored(url) == {1: 0.5, 2: 0.5, 3: math.inf}
    assert not log.should_prune()
    study.tell(0, 0.5)
    log.add(4, 0.5)
    with pytest.raises(UpdateFinishedTrialError):
        log.write(secure=True)
    study._storage._backend.engine.dispose()


def test_the_first_value_of_an_epoch_stays(database: str, clock: Clock) -> None:
    study = open_study(database)
    log = log_of(study.ask(), clock)
    log.add(1, 0.1)
    log.add(1, 0.2)
    other = optuna.Trial(open_study(database), 1)  # a second worker, by mistake
    other.report(0.3, 2)
    log.add(2, 0.4)
    log.add(3, 0.5)
    log.write(secure=True)
    assert stored(database) == {1: 0.1, 2: 0.3, 3: 0.5}


def test_a_trial_that_goes_on_knows_what_was_reported_before(database: str, clock: Clock) -> None:
    log = log_of(open_study(database).ask(), clock)
    report(log, 1, value=0.1)

    log = log_of(optuna.Trial(open_study(database), 1), clock)
    report(log, 1, 2, value=0.2)

    assert stored(database) == {1: 0.1, 2: 0.2}


def test_a_trial_that_somebody_else_has_ended_keeps_its_values(database: str, clock: Clock) -> None:
    log = log_of(open_study(database).ask(), clock)
    report(log, 1)
    open_study(database).tell(0, 0.5)
    log.add(2, 0.5)
    with pytest.raises(UpdateFinishedTrialError):
        log.write(secure=True)
    assert stored(database) == {1: 0.5}


def test_a_deleted_study_shows_in_a_report(database: str, clock: Clock) -> None:
    study = open_study(database)
    log = log_of(study.ask(), clock)
    optuna.delete_study(study_name="s", storage=study._storage)
    log.add(1, 0.5)
    with pytest.raises(KeyError, match="Record does not exist"):
        log.write(secure=True)


def test_of_a_trial_that_killed_its_worker_every_epoch_is_written_at_once(
    database: str, clock: Clock
) -> None:
    trial = open_study(database).ask()
    trial.set_user_attr(attributes.DEATHS, {"count": 1, "where": "epoch 7"})
    report(log_of(trial, clock), 1, 2, 3)
    assert set(stored(database)) == {1, 2, 3}


@pytest.mark.parametrize("kind", ["layout", "memory", "pruner"])
def test_what_is_not_known_is_left_to_optuna(database: str, clock: Clock, kind: str) -> None:
    study = open_study(database)
    if kind == "memory":
        study = optuna.create_study()
    elif kind == "pruner":
        study.pruner = optuna.pruners.HyperbandPruner()
    else:
        with study._storage._backend.engine.begin() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = 'v9.9.9.a'"))
    report(log_of(study.ask(), clock), 1, 2, 3)
    assert set(study.get_trials()[0].intermediate_values) == {1, 2, 3}


# -- The pruner's decisions ----------------------------------------------------------------------

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "Hyperband": ("HyperbandPruner", {"min_resource": 1, "max_resource": 12}),
    "Median": ("MedianPruner", {"n_startup_trials": 3, "n_warmup_steps": 2}),
    "Nop": ("NopPruner", {}),
    "Patient": ("PatientPruner", {"wrapped_pruner": None, "patience": 2}),
    "Patient median": (
        "PatientPruner",
        {
            "wrapped_pruner": {"name": "MedianPruner", "kwargs": {"n_startup_trials": 1}},
            "patience": 1,
        },
    ),
    "Patient halving": (
        "PatientPruner",
        {"wrapped_pruner": {"name": "SuccessiveHalvingPruner", "kwargs": {}}, "patience": 1},
    ),
    "Percentile": ("PercentilePruner", {"percentile": 30.0, "n_startup_trials": 1}),
    "PFL": ("PFLPruner", {"n_startup_trials": 2, "n_warmup_epochs": 4, "top_k": 2}),
    "Halving": ("SuccessiveHalvingPruner", {"reduction_factor": 2}),
    "Threshold": ("ThresholdPruner", {"upper": 1.4, "n_warmup_steps": 3}),
    "Wilcoxon": ("WilcoxonPruner", {"p_threshold": 0.3}),
}
EPOCHS = 12


def pruner_of(case: str) -> BasePruner:
    name, kwargs = CASES[case]
    return make_pruner(Component(name=name, kwargs=kwargs))


def curves(seed: int, count: int) -> list[list[float]]:
    """Return falling, noisy curves; a few of their values are infinite."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        end, fall = rng.uniform(0.0, 1.0), rng.uniform(0.0, 1.0)
        curve = [end + fall / epoch + rng.gauss(0, 0.05) for epoch in range(1, EPOCHS + 1)]
        made.append([value if rng.random() < 0.99 else math.inf for value in curve])
    return made


def pruned_at(study: optuna.Study, curve: Sequence[float], log: Any) -> int | None:
    """Run a trial to its end; return the epoch after which it is pruned."""
    trial = study.ask()
    told = log(trial)
    for epoch, value in enumerate(curve, start=1):
        told.add(epoch, value)
        if told.is_late():
            told.write(secure=False)
        if told.should_prune():
            told.write(secure=True)
            study.tell(trial, state=TrialState.PRUNED)
            return epoch
    told.write(secure=True)
    study.tell(trial, min(curve))
    return None


class Own:
    """Reports and asks as Optuna does."""

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial = trial

    def add(self, epoch: int, value: float) -> None:
        self._trial.report(value, epoch)

    def should_prune(self) -> bool:
        return bool(self._trial.should_prune())

    def is_late(self) -> bool:
        return False

    def write(self, *, secure: bool) -> None:
        """It is written."""

    def close(self) -> None:
        """There is nothing to close."""


def test_every_pruner_is_among_those_tested() -> None:
    assert {name for name, _ in CASES.values()} == set(PRUNERS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", sorted(CASES))
def test_every_pruner_decides_as_it_does_in_optuna(
    case: str, database: str, tmp_path: Path, clock: Clock
) -> None:
    seed = sorted(CASES).index(case)
    directions: tuple[Direction, ...] = ("minimize", "maximize")
    for direction in directions:
        ours = open_study(f"{database}.{direction}", pruner_of(case), direction)
        own = optuna.create_study(study_name="s", direction=direction, pruner=pruner_of(case))
        for curve in curves(seed, 14):
            clock.now_s += 1.0
            found = pruned_at(ours, curve, lambda trial: log_of(trial, clock))
            assert found == pruned_at(own, curve, Own)
        for mine, theirs in zip(ours.get_trials(), own.get_trials(), strict=True):
            assert mine.state == theirs.state
            assert repr(sorted(mine.intermediate_values.items())) == repr(
                sorted(theirs.intermediate_values.items())
            )


def test_complete_trials_of_other_workers_count_a_moment_later(database: str, clock: Clock) -> None:
    study = open_study(database)
    log = log_of(study.ask(), clock)
    others = open_study(database)
    for _ in range(2):
        others.ask()
    report(log, 1, value=0.9)
    assert not log.should_prune()
    others.add_trial(create_trial(value=0.1, intermediate_values={1: 0.1, 2: 0.1}))
    report(log, 2, value=0.9)
    assert not log.should_prune()
    clock.now_s += LATE_S
    assert log.should_prune()

    others.tell(1, 0.2)  # it has reported nothing, so the median stays what it was
    other = optuna.Trial(others, 3)
    other.report(2.0, 2)
    others.tell(2, 2.0)
    clock.now_s += LATE_S
    assert not log.should_prune()
