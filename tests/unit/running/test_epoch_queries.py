"""What an epoch costs the database, counted in statements."""

from __future__ import annotations

import datetime as dt
import logging
import statistics
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import TrialState

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import Settings
from tunectl.config.signal_run import TrainingRun
from tunectl.objectives.flow_cnn import FlowCnn
from tunectl.running.context import RunningTrial
from tunectl.running.trial_config import configure_trial
from tunectl.search.pruners import make_pruner
from tunectl.studies.storage import open_storage

Make = Callable[..., Settings]
EPOCHS = 8
# Begin, the trial's state, the new value, the commit, and whether other trials have ended.
MOST_PER_LONG_EPOCH = 5


def store_ended_trials(storage: RDBStorage, study: optuna.Study, count: int) -> None:
    """Store trials at once, which takes Optuna a while one by one."""
    now = dt.datetime(2026, 1, 31)
    with storage.engine.begin() as connection:
        for number in range(count):
            made = connection.execute(
                sa.insert(models.TrialModel.__table__).values(
                    number=number,
                    study_id=study._study_id,
                    state=TrialState.COMPLETE,
                    datetime_start=now,
                    datetime_complete=now,
                )
            )
            assert made.inserted_primary_key is not None
            trial = {"trial_id": made.inserted_primary_key[0]}
            connection.execute(
                sa.insert(models.TrialValueModel.__table__).values(
                    **trial, objective=0, value=1.0, value_type="FINITE"
                )
            )
            steps = [
                {
                    **trial,
                    "step": step,
                    "intermediate_value": 1.0,
                    "intermediate_value_type": "FINITE",
                }
                for step in range(1, EPOCHS + 1)
            ]
            connection.execute(sa.insert(models.TrialIntermediateValueModel.__table__), steps)


def statements_of_epochs(
    count: int, folder: Path, make_settings: Make, epoch_s: float
) -> list[int]:
    """Return how many statements each epoch of a trial makes beside so many stored trials.

    Args:
        count: How many.
        folder: For the database.
        make_settings: The fixture.
        epoch_s: How long an epoch takes by the trial's clock, in seconds.
    """
    folder.mkdir()
    settings = make_settings(
        name="s",
        pruner={"name": "MedianPruner", "kwargs": {"n_startup_trials": 1, "n_warmup_steps": 0}},
        run=TrainingRun.model_validate({"training": {"epochs": EPOCHS}}),
    )
    storage = open_storage(f"sqlite:///{folder / 'study.db'}", create=True)
    assert storage is not None
    pruner = make_pruner(settings.search.study.pruner, ())
    study = optuna.create_study(study_name="s", storage=storage, pruner=pruner)
    store_ended_trials(storage, study, count)
    asked, now_s = study.ask(), 0.0
    trial = RunningTrial(
        trial=asked,
        config=configure_trial(settings, FlowCnn(), asked.number, {}),
        project=folder,
        directory=TrialDir.create(folder, dt.datetime(2026, 1, 31)),
        device="cpu",
        log=logging.getLogger("test.epochs"),
        storage_url=storage.url,
        on_epoch=lambda *_: None,
        should_stop=lambda: False,
        clock=lambda: now_s,
    )
    statements: list[str] = []
    sa.event.listen(
        storage.engine, "before_cursor_execute", lambda *given: statements.append(given[2])
    )
    counts = []
    with trial:
        trial._epochs._rows._connection.set_trace_callback(statements.append)  # type: ignore[attr-defined]
        for epoch in range(1, EPOCHS + 1):
            now_s += epoch_s
            trial.report(epoch, {"val_mse": 0.5 / epoch})
            counts.append(len(statements))
            statements.clear()
    storage.engine.dispose()
    return counts


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_an_epoch_makes_as_many_statements_however_many_trials_are_stored(
    tmp_path: Path, make_settings: Make
) -> None:
    few = statements_of_epochs(10, tmp_path / "few", make_settings, epoch_s=1.0)
    many = statements_of_epochs(1000, tmp_path / "many", make_settings, epoch_s=1.0)

    assert few == many
    assert max(few[1:]) <= MOST_PER_LONG_EPOCH  # the first reads the trials that there are


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_most_short_epochs_make_no_statement(tmp_path: Path, make_settings: Make) -> None:
    counts = statements_of_epochs(10, tmp_path / "few", make_settings, epoch_s=0.03)

    assert statistics.median(counts) == 0
    assert max(counts[1:]) <= MOST_PER_LONG_EPOCH + EPOCHS  # a row for each that waited
