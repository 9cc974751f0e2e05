"""What the observers are told of a trial's end: read off the database."""

from __future__ import annotations

from collections.abc import Mapping

import optuna
from optuna.trial import FrozenTrial, TrialState

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.running.events import EndState, TrialEnded
from tunectl.studies import attributes
from tunectl.studies.ranking import best_trials, first_value
from tunectl.studies.times import duration_s

END_STATES: Mapping[TrialState, EndState] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


def describe_end(study: optuna.Study, trial: FrozenTrial, directory: TrialDir) -> TrialEnded:
    """Return what the observers are told of a trial's end."""
    return TrialEnded(
        number=trial.number,
        state=END_STATES[trial.state],
        value=first_value(trial),
        epochs=attributes.epochs_of(trial),
        duration_s=duration_s(trial) or 0.0,
        error=trial.user_attrs.get(attributes.ERROR),
        directory=directory.path,
        is_best=trial.number in [best.number for best in best_trials(study)],
    )
