"""What Optuna has read, as records: the way to a summary that is always open. See `reading.py`."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial

from tunectl.studies.ranking import STATE_NAMES, directions_of, metrics_of
from tunectl.studies.records import StudyRecord, TrialRecord


def record_study(study: optuna.Study) -> StudyRecord:
    """Return a study that Optuna has read."""
    return StudyRecord(
        name=study.study_name,
        directions=directions_of(study),
        metrics=metrics_of(study),
        user_attrs=study.user_attrs,
        trials=[record_trial(trial) for trial in study.get_trials(deepcopy=False)],
    )


def record_trial(trial: FrozenTrial) -> TrialRecord:
    """Return a trial that Optuna has read."""
    return TrialRecord(
        number=trial.number,
        state=STATE_NAMES[trial.state],
        values=tuple(trial.values or ()),
        params=trial.params,
        user_attrs=trial.user_attrs,
        violations=tuple(trial.constraints.values()),
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        n_steps=len(trial.intermediate_values),
    )
