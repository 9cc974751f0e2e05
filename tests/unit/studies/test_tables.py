"""What is written here in Optuna's place is what Optuna writes itself."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import optuna
from alembic.script import ScriptDirectory
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage
from sqlalchemy.pool import NullPool

from tunectl.config.schema import Settings
from tunectl.studies import schema
from tunectl.studies.lifecycle import create_study
from tunectl.studies.storage import open_storage

Make = Callable[..., Settings]
LAYOUTS = Path(optuna.__file__).parent / "storages" / "_rdb" / "alembic"


def contents_of(file: Path) -> dict[str, object]:
    """Return every table and index of a database with its columns and rows."""
    with closing(sqlite3.connect(file)) as connection:

        def rows(sql: str) -> list[tuple[object, ...]]:
            return sorted(connection.execute(sql).fetchall())

        names = rows("SELECT type, name, tbl_name FROM sqlite_master")
        tables = [str(name) for kind, name, _ in names if kind == "table"]
        return {
            "names": names,
            "columns": {name: rows(f"PRAGMA table_info({name})") for name in tables},
            "rows": {name: rows(f"SELECT * FROM {name}") for name in tables},
        }


def made_by_us(file: Path) -> RDBStorage:
    storage = open_storage(f"sqlite:///{file}", create=True)
    assert storage is not None
    return storage


def test_a_new_database_is_the_one_that_optuna_makes(tmp_path: Path) -> None:
    RDBStorage(f"sqlite:///{tmp_path / 'theirs.db'}", {"poolclass": NullPool})
    made_by_us(tmp_path / "ours.db").engine.dispose()

    assert contents_of(tmp_path / "ours.db") == contents_of(tmp_path / "theirs.db")


def test_its_layouts_are_those_that_alembic_reads(tmp_path: Path) -> None:
    theirs = tuple(one.revision for one in ScriptDirectory(str(LAYOUTS)).walk_revisions())

    assert schema.known_versions() == theirs
    assert schema._read_chain(tmp_path) == ()  # where there is no chain, Alembic is asked
    (tmp_path / "a.py").write_text('revision = "b"\ndown_revision = "a"\n', encoding="utf-8")
    assert schema._read_chain(tmp_path) == ()


def test_it_answers_what_optuna_asks_about_layouts(tmp_path: Path) -> None:
    storage = made_by_us(tmp_path / "study.db")

    assert storage.get_current_version() == storage.get_head_version() == schema.newest_version()
    storage.engine.dispose()


def test_a_new_study_has_what_optuna_would_have_stored(tmp_path: Path, make_settings: Make) -> None:
    storage = made_by_us(tmp_path / "study.db")
    ours = create_study(storage, make_settings(name="ours", metric="val_r2", direction="maximize"))
    theirs = optuna.create_study(storage=storage, study_name="theirs", direction="maximize")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        theirs.set_metric_names(["val_r2"])
    for key, value in ours.user_attrs.items():
        theirs.set_user_attr(key, value)

    assert ours.metric_names == theirs.metric_names == ["val_r2"]
    attributes = contents_of(tmp_path / "study.db")["rows"]
    assert isinstance(attributes, dict)
    for table in ("study_user_attributes", "study_system_attributes"):
        ours_stored, theirs_stored = (
            {key: text for _, study, key, text in attributes[table] if study == number}
            for number in (ours._study_id, theirs._study_id)
        )
        assert ours_stored == theirs_stored != {}
    storage.engine.dispose()
