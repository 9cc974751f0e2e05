"""Which trials of a database have recorded which directory, over all its studies."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from optuna.storages import RDBStorage
from optuna.storages._rdb import models

from tunectl.studies import attributes


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A trial that has recorded a directory.

    Args:
        study: Its study.
        number: Its number.
    """

    study: str
    number: int


def owners_of_directories(storage: RDBStorage) -> Mapping[str, Sequence[Owner]]:
    """Return each recorded directory, as it is recorded, with the trials that recorded it.

    One query for all studies: Optuna's own way reads every trial of each whole.
    """
    attribute, trial, study = models.TrialUserAttributeModel, models.TrialModel, models.StudyModel
    query = (
        sa.select(attribute.value_json, study.study_name, trial.number)
        .join(trial, attribute.trial_id == trial.trial_id)
        .join(study, trial.study_id == study.study_id)
        .where(attribute.key == attributes.OUTPUT_DIR)
        .order_by(study.study_id, trial.number)
    )
    owners: dict[str, list[Owner]] = defaultdict(list)
    with storage.engine.connect() as connection:
        for value, name, number in connection.execute(query):
            recorded = json.loads(value)
            if isinstance(recorded, str):
                owners[recorded].append(Owner(study=name, number=number))
    return owners
