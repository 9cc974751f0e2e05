"""What Optuna writes when it begins: its tables, without Alembic, and a study, all at once.

Alembic brings the tables of an older Optuna to those of this one. To import it and have it read its
scripts takes as long as all that is done with a new database, and a database that has been looked
at (`sqlite_file.refuse_unusable`) has nothing for it to do.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import sqlalchemy as sa
from optuna import __version__ as optuna_version
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb import storage as rdb
from optuna.study.study import _SYSTEM_ATTR_METRIC_NAMES as _METRIC_NAMES

from tunectl.studies.quick_storage import QuickStorage
from tunectl.studies.schema import newest_version

# As Alembic makes it.
_VERSION = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
_VersionManager = rdb._VersionManager
_one_at_a_time = Lock()


def fill(engine: sa.Engine) -> None:
    """Make all tables in an empty database, with what Optuna writes into a new one.

    Raises:
        SQLAlchemyError: it cannot be written.
    """
    models.BaseModel.metadata.create_all(engine)
    written = {"schema_version": models.SCHEMA_VERSION, "library_version": optuna_version}
    with engine.begin() as connection:
        _VERSION.create(connection)
        connection.execute(sa.insert(_VERSION), {"version_num": newest_version()})
        connection.execute(sa.insert(models.VersionInfoModel), written)


def describe_study(
    storage: RDBStorage,
    study_id: int,
    attributes: Mapping[str, Any],
    metric_names: Sequence[str],
) -> None:
    """Give a study that has no attributes all that it is to have, in one transaction.

    Args:
        storage: The database.
        study_id: The study.
        attributes: Its user attributes.
        metric_names: Names of its metrics, as `Study.set_metric_names` stores them.

    Raises:
        SQLAlchemyError: it cannot be written.
    """
    names = {_METRIC_NAMES: list(metric_names)}
    with storage.engine.begin() as connection:
        for model, values in (
            (models.StudySystemAttributeModel, names),
            (models.StudyUserAttributeModel, attributes),
        ):
            rows = [
                {"study_id": study_id, "key": key, "value_json": json.dumps(value)}
                for key, value in values.items()
            ]
            connection.execute(sa.insert(model), rows)


def has_all(tables: Collection[str]) -> bool:
    """Whether there is no table that Optuna would make when it opens a database."""
    return set(models.BaseModel.metadata.tables) <= set(tables)


def open_checked(url: str, options: Mapping[str, Any]) -> QuickStorage:
    """Open a database as Optuna does, which makes tables that are not there.

    Args:
        url: SQLAlchemy URL, as Optuna takes it.
        options: How to make the engine.
    """
    with _one_at_a_time:  # not while Optuna is being kept from asking Alembic
        return QuickStorage(url, dict(options))


def open_as_it_is(url: str, options: Mapping[str, Any]) -> QuickStorage:
    """Open a database that is known to have all tables in the layout that this Optuna wants.

    Args:
        url: SQLAlchemy URL, as Optuna takes it.
        options: How to make the engine.
    """
    with _one_at_a_time, _asking_no_alembic():
        return QuickStorage(
            url, dict(options), skip_compatibility_check=True, skip_table_creation=True
        )


class _LateVersionManager:
    """What Optuna asks about layouts, made when it is first asked something.

    Args:
        arguments: What Optuna makes its own with.
    """

    def __init__(self, *arguments: Any) -> None:
        self._arguments = arguments

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what copying and pickling ask for is not Optuna's
            raise AttributeError(name)
        return getattr(_VersionManager(*self._arguments), name)


@contextmanager
def _asking_no_alembic() -> Iterator[None]:
    # Optuna offers no way to open a database without it.
    setattr(rdb, "_VersionManager", _LateVersionManager)  # noqa: B010
    try:
        yield
    finally:
        setattr(rdb, "_VersionManager", _VersionManager)  # noqa: B010
