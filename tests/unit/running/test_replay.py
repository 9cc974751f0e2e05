from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from tunectl.artifacts import atomic
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.errors import ArtifactError, UsageError
from tunectl.running.replay import check_ended, read_own_config, stopping_epoch

OVER_TIME = "over its time of 60 s after epoch 3"


def trial(state: TrialState, epochs: int, error: str | None = None) -> FrozenTrial:
    """Return a trial as it is stored, with so many reported epochs."""
    ended = dt.datetime(2026, 1, 31, 13)
    return FrozenTrial(
        number=7,
        state=state,
        value=0.5 if state is TrialState.COMPLETE else None,
        datetime_start=dt.datetime(2026, 1, 31, 12),
        datetime_complete=ended if state.is_finished() else None,
        params={"x": 0.1},
        distributions={"x": FloatDistribution(0.0, 1.0)},
        user_attrs={} if error is None else {"error": error},
        system_attrs={},
        intermediate_values={epoch: 1.0 / epoch for epoch in range(1, epochs + 1)},
        trial_id=1,
    )


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (trial(TrialState.COMPLETE, 5), None),
        (trial(TrialState.PRUNED, 3), 3),
        (trial(TrialState.PRUNED, 3, OVER_TIME), 3),
        (trial(TrialState.FAIL, 3, OVER_TIME), 3),
        (trial(TrialState.PRUNED, 3, "the loss is nan in epoch 4"), None),
        (trial(TrialState.FAIL, 0, "ValueError: no"), None),
    ],
)
def test_only_a_trial_that_was_given_up_is_stopped_again(
    tmp_path: Path, stored: FrozenTrial, expected: int | None
) -> None:
    assert stopping_epoch(stored, TrialDir(tmp_path)) == expected


def test_epochs_that_the_database_does_not_have_are_those_of_the_histories(tmp_path: Path) -> None:
    directory = TrialDir(tmp_path)
    atomic.write_json(directory.metrics_file, {"histories": {"val_mse": [0.3, 0.2]}})

    assert stopping_epoch(trial(TrialState.FAIL, 0, OVER_TIME), directory) == 2


@pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.FAIL])
def test_a_trial_that_was_given_up_before_an_epoch_was_over_has_nothing_to_compare(
    tmp_path: Path, state: TrialState
) -> None:
    with pytest.raises(UsageError, match="trial 7 has no epoch to train again: over its time"):
        stopping_epoch(trial(state, 0, OVER_TIME), TrialDir(tmp_path))


@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.WAITING])
def test_a_trial_that_has_not_ended_is_refused(state: TrialState) -> None:
    with pytest.raises(UsageError, match="only one that has ended"):
        check_ended(trial(state, 0))


def test_a_configuration_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"config\.yaml is gone or damaged"):
        read_own_config(TrialDir(tmp_path))
