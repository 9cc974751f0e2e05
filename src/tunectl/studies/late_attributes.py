"""User attributes of trials that have ended, which Optuna's own interface refuses to change.

What is told here is nothing of what a trial found, so its result stays what it was.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial


def set_late_attribute(storage: RDBStorage, trial: FrozenTrial, key: str, value: Any) -> None:
    """Set a user attribute of a trial, whatever state it is in.

    A process that has read the ended trial before does not see it: Optuna reads such a trial once.

    Args:
        storage: The study's database.
        trial: The trial.
        key: The attribute's name.
        value: What JSON can hold.
    """
    table = models.TrialUserAttributeModel.__table__
    text, is_this = json.dumps(value), _is(table, trial, key)
    with storage.engine.begin() as connection:
        changed = connection.execute(sa.update(table).where(is_this).values(value_json=text))
        if not changed.rowcount:
            row = {"trial_id": trial._trial_id, "key": key, "value_json": text}
            connection.execute(sa.insert(table).values(**row))


def read_late_attribute(storage: RDBStorage, trial: FrozenTrial, key: str) -> Any:
    """Return a user attribute of a trial as the database has it now, None where it has none."""
    table = models.TrialUserAttributeModel.__table__
    wanted = sa.select(table.c.value_json).where(_is(table, trial, key))
    with storage.engine.connect() as connection:
        found = connection.execute(wanted).scalar_one_or_none()
    return None if found is None else json.loads(found)


def _is(table: sa.Table, trial: FrozenTrial, key: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.trial_id == trial._trial_id, table.c.key == key)
