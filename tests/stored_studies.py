"""Studies of every kind, stored by Optuna alone."""

from __future__ import annotations

import datetime as dt
import warnings
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

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
