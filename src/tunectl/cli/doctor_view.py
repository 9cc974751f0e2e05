"""What `doctor` found, as JSON for programs and in lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from tunectl.cli.plan_view import size_text
from tunectl.cli.render import fields, states_text

if TYPE_CHECKING:
    from tunectl.reports.findings import Finding, Repair
    from tunectl.reports.inspection import Inspection
    from tunectl.reports.inspection_database import DatabaseFacts
    from tunectl.reports.inspection_machine import MachineFacts

# Of findings of the same kind so many are shown to a person.
MOST_ALIKE = 3
STYLES = {"ok": "green", "notice": "cyan", "warning": "yellow", "error": "red"}


def document(
    machine: MachineFacts, inspection: Inspection, repairs: Sequence[Repair]
) -> dict[str, Any]:
    """Return `doctor --json`."""
    return {
        "schema_version": 1,
        "sound": inspection.is_sound,
        "readable": inspection.is_readable,
        "machine": machine.to_document(),
        **inspection.to_document(),
        "repaired": [one.to_document() for one in repairs],
    }


def view(
    machine: MachineFacts, inspection: Inspection, repairs: Sequence[Repair], *, in_full: bool
) -> Iterator[Any]:
    """Yield what was found, part by part.

    Args:
        machine: What the machine is.
        inspection: What was found.
        repairs: What was done about it.
        in_full: Leave nothing out.
    """
    yield fields(_head(machine, inspection))
    yield Text("")
    if repairs:
        yield _repair_table(repairs)
        yield Text("")
    yield _finding_table(inspection.findings, in_full=in_full)
    yield Text("")
    yield _conclusion(inspection)


def _head(machine: MachineFacts, inspection: Inspection) -> dict[str, Any]:
    memory = f"{size_text(machine.memory_bytes)} of memory"
    free = f"{size_text(machine.available_bytes)} free"
    lines: dict[str, Any] = {
        "versions": ", ".join(f"{name} {text}" for name, text in machine.versions.items()),
        "machine": f"{machine.cores} cores, {memory} ({free}), {', '.join(machine.devices)}",
        "database": _database_text(inspection.database),
    }
    for disk in inspection.disks:
        free, total = size_text(disk.free_bytes), size_text(disk.total_bytes)
        lines[f"disk of {disk.path}"] = f"{free} free of {total}"
    for study in inspection.studies:
        lines[f"study {study.summary.name}"] = states_text(study.summary.states)
    return lines


def _database_text(facts: DatabaseFacts) -> str:
    parts = [facts.url]
    if facts.size_bytes is not None:
        parts.append(size_text(facts.size_bytes))
    if facts.file_system is not None:
        parts.append(f"on {facts.file_system}")
    if facts.journal is not None:
        parts.append("write-ahead log" if facts.journal == "wal" else "rollback journal")
    if facts.schema is not None:
        parts.append(f"layout {facts.schema}")
    return ", ".join(parts)


def _finding_table(findings: Sequence[Finding], *, in_full: bool) -> Table:
    table = _table()
    shown = [one for one in findings if in_full or not _is_dull(one)]
    for _, group in groupby(shown, key=lambda one: (one.severity, one.code, one.study)):
        alike = list(group)
        most = len(alike) if in_full or len(alike) <= MOST_ALIKE + 1 else MOST_ALIKE
        for one in alike[:most]:
            severity = Text(one.severity.value, style=STYLES[one.severity.value])
            table.add_row(severity, _where(one), _what(one))
        if alike[most:]:
            more = f"… and {len(alike) - most} more like it; -v and --json show all"
            table.add_row("", "", Text(more, style="dim"))
    return table


def _repair_table(repairs: Sequence[Repair]) -> Table:
    table = _table()
    for one in repairs:
        done = one.error is None
        label = Text("repaired" if done else "left", style="green" if done else "yellow")
        text = Text(f"{one.finding.path}: " if one.finding.path else "")
        text.append(f"{one.done}" if done else f"{one.error}")
        table.add_row(label, _where(one.finding), text)
    return table


def _table() -> Table:
    table = Table.grid(padding=(0, 2))
    for name in ("what", "where", "message"):
        table.add_column(name, overflow="fold", no_wrap=name != "message")
    return table


def _is_dull(finding: Finding) -> bool:
    """Whether nobody misses a finding: what is as it should be with a trial or a disk."""
    is_ok = finding.severity.value == "ok"
    return is_ok and (finding.trial is not None or finding.code.startswith("disk"))


def _where(finding: Finding) -> Text:
    if finding.study is None:
        return Text("database" if finding.code.startswith(("database", "schema")) else "project")
    number = "" if finding.trial is None else f", trial {finding.trial}"
    return Text(f"{finding.study}{number}")


def _what(finding: Finding) -> Text:
    text = Text()
    if finding.path is not None and not finding.code.startswith(("database", "schema")):
        text.append(f"{finding.path}: ")
    text.append(finding.message)
    if finding.fix is not None:
        text.append(f"  [fix: {finding.fix}]", style="dim")
    return text


def _conclusion(inspection: Inspection) -> Text:
    counts = dict.fromkeys(("error", "warning", "notice"), 0)
    for one in inspection.findings:
        if one.severity.value in counts:
            counts[one.severity.value] += 1
    said = ", ".join(
        f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items() if count
    )
    if inspection.is_sound:
        return Text(f"nothing is wrong ({said})" if said else "nothing is wrong", style="green")
    return Text(said, style="red" if counts["error"] else "yellow")
