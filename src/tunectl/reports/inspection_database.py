"""A look at the database itself: is it there, sound, of today's layout, and can it be written?

It reads through a connection that cannot change anything, so a study may run meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tunectl.reports.findings import Finding, Severity
from tunectl.studies.connection import connect
from tunectl.studies.file_systems import Mount, mount_of
from tunectl.studies.reasons import reason_of, sqlite_code
from tunectl.studies.schema import Age, Schema, newest_version
from tunectl.studies.sqlite_file import (
    NEEDED_TABLES,
    can_be_read_as_it_is,
    journal_of,
    look_into,
)

MOST_PROBLEMS = 5
UNREADABLE, DAMAGED = "database-unreadable", "database-damaged"
LEAVE_WAL = "let it keep a rollback journal"
UPGRADE = "keep a copy of it and upgrade it"


@dataclass(frozen=True, kw_only=True)
class DatabaseFacts:
    """What a database is.

    Args:
        url: Its URL as it may be shown.
        exists: Whether it is there.
        size_bytes: Its size, None where that is not known.
        file_system: The kind of file system that it lies on, None where that is not known.
        journal: How it keeps what is being written: `wal` or `delete`; None for a server.
        schema: The layout of its tables, None where it has none.
        wanted_schema: The layout that this Optuna wants.
    """

    url: str
    exists: bool
    size_bytes: int | None = None
    file_system: str | None = None
    journal: str | None = None
    schema: str | None = None
    wanted_schema: str | None = None

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class DatabaseInspection:
    """A database and what was found about it.

    Args:
        facts: What it is.
        findings: What was found.
        is_usable: Whether its studies can be looked at.
    """

    facts: DatabaseFacts
    findings: Sequence[Finding]
    is_usable: bool


def inspect_file(
    path: Path, shown_url: str, mounts: Sequence[Mount], timeout_s: float
) -> DatabaseInspection:
    """Look at a SQLite file of studies.

    Args:
        path: The file; it need not be there.
        shown_url: Its URL as it may be shown.
        mounts: What is mounted where.
        timeout_s: How long to wait for a process that keeps it locked, in seconds.
    """
    mount = mount_of(path, mounts)
    kind = mount.kind if mount is not None else None
    if not path.exists():
        facts = DatabaseFacts(url=shown_url, exists=False, file_system=kind)
        message = "there is no database yet; tunectl tune makes it"
        missing = Finding(
            code="database-missing", severity=Severity.NOTICE, message=message, path=shown_url
        )
        return DatabaseInspection(facts=facts, findings=[missing], is_usable=False)
    facts = DatabaseFacts(
        url=shown_url, exists=True, file_system=kind, wanted_schema=newest_version()
    )
    look = _FileLook(path, facts, timeout_s)
    try:
        findings = list(look.findings())
    except (sqlite3.Error, OSError) as error:
        findings = [_failed(shown_url, path, error)]
    findings += _journal_findings(path, shown_url, mount, look.facts.journal)
    usable = not any(one.severity is Severity.ERROR for one in findings)
    return DatabaseInspection(facts=look.facts, findings=findings, is_usable=usable)


def unreadable(shown_url: str, reason: str) -> Finding:
    """Return the finding that a database cannot be read."""
    return Finding(code=UNREADABLE, severity=Severity.ERROR, message=reason, path=shown_url)


class _FileLook:
    """One look at a SQLite file that is there.

    Args:
        path: The file.
        facts: What is known of it so far.
        timeout_s: How long to wait for a process that keeps it locked, in seconds.
    """

    def __init__(self, path: Path, facts: DatabaseFacts, timeout_s: float) -> None:
        self.facts = facts
        self._path = path
        self._timeout_s = timeout_s

    def findings(self) -> Iterator[Finding]:
        """Yield what is found.

        Raises:
            sqlite3.Error, OSError: it cannot be read.
        """
        if self._path.is_dir():
            yield unreadable(self.facts.url, "it is a folder, not a database; name a file")
            return
        size = self._path.stat().st_size
        if size == 0:
            what = "it is empty; if it held studies, restore a copy, else remove it"
            yield unreadable(self.facts.url, what)
            return
        self._learn(size_bytes=size, journal=journal_of(self._path))
        with closing(self._connection()) as connection:
            contents = look_into(connection)
            self._learn(schema=contents.schema.version)
            if contents.tables and "studies" not in contents.tables:
                what = "it is a database, but not one of studies; name another one: storage.url"
                yield unreadable(self.facts.url, what)
                return
            yield from self._soundness(connection)
            yield from self._schema(contents.schema)
            missing = sorted(NEEDED_TABLES - contents.tables)
            if missing and contents.is_finished and contents.schema.age is Age.CURRENT:
                what = f"it has no table {', '.join(missing)}; restore a copy"
                yield self._finding(DAMAGED, Severity.ERROR, what)
        yield self._writability()

    def _learn(self, **facts: Any) -> None:
        self.facts = replace(self.facts, **facts)

    def _connection(self) -> sqlite3.Connection:
        """Return a connection that only reads, also where SQLite could not keep its log."""
        connection = connect(self._path, self._timeout_s)
        try:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except sqlite3.OperationalError as error:
            connection.close()
            locked = sqlite_code(error).startswith("SQLITE_BUSY")
            if locked or not can_be_read_as_it_is(self._path):
                raise
            return connect(self._path, self._timeout_s, immutable=True)
        return connection

    def _soundness(self, connection: sqlite3.Connection) -> Iterator[Finding]:
        query = f"PRAGMA integrity_check({MOST_PROBLEMS})"
        problems = [str(text) for (text,) in connection.execute(query)]
        if problems != ["ok"]:
            what = f"it is damaged: {'; '.join(problems)}; {_way_out(self._path)}"
            yield self._finding(DAMAGED, Severity.ERROR, what)
            return
        orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
        if orphans:
            tables = ", ".join(sorted({str(row[0]) for row in orphans}))
            what = f"{len(orphans)} rows of {tables} belong to nothing; restore a copy if you can"
            yield self._finding("database-orphans", Severity.WARNING, what)
            return
        yield self._finding("database-sound", Severity.OK, "sound: integrity and foreign keys")

    def _schema(self, schema: Schema) -> Iterator[Finding]:
        by = f"Optuna {schema.library}" if schema.library else "another version of Optuna"
        wanted = self.facts.wanted_schema
        if schema.age is Age.OLDER:
            what = f"it was made by {by}: layout {schema.version}, today's is {wanted}"
            yield self._finding("schema-older", Severity.ERROR, what, fix=UPGRADE)
        elif schema.age is Age.NEWER:
            what = f"it was made by {by}, which is newer: pip install --upgrade optuna"
            yield self._finding("schema-newer", Severity.ERROR, what)
        else:
            what = f"layout {schema.version or 'not complete yet'}, today's"
            yield self._finding("schema-current", Severity.OK, what)

    def _writability(self) -> Finding:
        try:
            with closing(connect(self._path, 0.0, writing=True)) as connection:
                connection.isolation_level = None
                connection.execute("BEGIN IMMEDIATE")
                # SQLite begins on a read-only file as well, and refuses only to write.
                (number,) = connection.execute("PRAGMA user_version").fetchone()
                connection.execute(f"PRAGMA user_version = {number}")
                connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            if not sqlite_code(error).startswith("SQLITE_BUSY"):  # a study that runs is writing
                what = reason_of(error, self._path)
                return self._finding("database-read-only", Severity.WARNING, what)
        return self._finding("database-writable", Severity.OK, "can be written")

    def _finding(
        self, code: str, severity: Severity, message: str, fix: str | None = None
    ) -> Finding:
        return Finding(code=code, severity=severity, message=message, path=self.facts.url, fix=fix)


def _failed(shown_url: str, path: Path, error: Exception) -> Finding:
    if sqlite_code(error).startswith("SQLITE_CORRUPT"):
        what = f"it is damaged ({error}); {_way_out(path)}"
        return Finding(code=DAMAGED, severity=Severity.ERROR, message=what, path=shown_url)
    return unreadable(shown_url, reason_of(error, path))


def _way_out(path: Path) -> str:
    recover = f"sqlite3 {path} .recover | sqlite3 {path.with_name('recovered.db')}"
    return f"restore a copy, or save what can be read: {recover}"


def _journal_findings(
    path: Path, shown_url: str, mount: Mount | None, journal: str | None
) -> Iterator[Finding]:
    if mount is None or not mount.is_network:
        return
    place = f"a network file system ({mount.kind} at {mount.point})"
    if journal == "wal":
        yield Finding(
            code="journal-unsuitable",
            severity=Severity.WARNING,
            message=f"it keeps a write-ahead log, which does not work on {place}",
            path=shown_url,
            fix=LEAVE_WAL,
        )
    yield Finding(
        code="network-file-system",
        severity=Severity.NOTICE,
        message=f"it lies on {place}, where locks are slow and may fail; a local disk is better",
        path=str(path),
    )
