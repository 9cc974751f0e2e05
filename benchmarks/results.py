"""The page of results: a section for each benchmark, kept where it was not run again."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import machine
from rows import COLUMNS, Row, seconds

HEAD = """\
# Results of the benchmarks

Made by `make bench`; do not edit. A ratio is the median over pairs that were run in turn, and the
spread is its lowest and highest value. `yardstick` is what the result compares with, where there is
such a thing. What each benchmark does stands at the top of its file in this folder.
"""
_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Section:
    """What one benchmark gave.

    Args:
        name: Of the benchmark.
        about: Its first line.
        rows: What it measured.
        took_s: Seconds that it took.
    """

    name: str
    about: str
    rows: Sequence[Row]
    took_s: float

    def text(self) -> str:
        """Return the section below its heading."""
        today = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d")
        lines = [
            self.about,
            "",
            f"{today}, {machine.commit()}, {seconds(self.took_s)}: "
            f"`python benchmarks/{self.name}.py`",
            "",
            _line(COLUMNS),
            _line(["---"] * len(COLUMNS)),
            *(_line(row.cells()) for row in self.rows),
        ]
        return "\n".join(lines)


def write(file: Path, names: Sequence[str], made: Sequence[Section], quiet: str) -> None:
    """Write the page anew.

    Args:
        file: The page; what it says of benchmarks that are not among `made` is kept if it was
            measured on this machine.
        names: All benchmarks, in the order of the page.
        made: The sections that are new.
        quiet: How busy the machine was before.
    """
    here = machine.describe()
    old = file.read_text(encoding="utf-8") if file.exists() else ""
    sections = _sections(old) if f"| processor | {here['processor']} |" in old else {}
    sections.update({section.name: section.text() for section in made})
    told = {name: sections[name] for name in names if name in sections}
    tables = "\n".join(told.values())
    met, missed = tables.count("| met |"), tables.count("| missed |")
    facts = {**here, "load before": quiet, "targets": f"{met} met, {missed} missed"}
    text = [HEAD, *_facts(facts)]
    text += [f"\n## {name}\n\n{body}" for name, body in told.items()]
    file.write_text("\n".join(text) + "\n", encoding="utf-8")


def _facts(facts: Mapping[str, str]) -> list[str]:
    return ["| | |", "|---|---|", *(_line(pair) for pair in facts.items())]


def _sections(text: str) -> dict[str, str]:
    """Return the body of each section of a page by its name."""
    parts = _SECTION.split(text)[1:]
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
