"""The benchmarks can be run, and their page of results keeps what was not measured again."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
IMPORT_ALL = "import importlib, run; [importlib.import_module(n).measure for n in run.NAMES]"


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module that writes the page of results."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("results")


def test_every_benchmark_that_is_listed_can_be_imported() -> None:
    listed = subprocess.run(
        [sys.executable, FOLDER / "run.py", "--list"], capture_output=True, text=True, check=True
    )
    imported = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], cwd=FOLDER, capture_output=True, text=True, check=False
    )

    assert imported.returncode == 0, imported.stderr
    assert "trials_per_hour" in listed.stdout
    for line in listed.stdout.splitlines():
        assert (FOLDER / f"{line.split()[0]}.py").is_file()


def test_an_unknown_benchmark_is_an_error_that_lists_those_there_are() -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / "run.py", "askin"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "askin" in done.stderr
    assert "asking" in done.stderr


def test_the_page_of_results_keeps_what_was_not_measured_again(
    results: ModuleType, tmp_path: Path
) -> None:
    def section(name: str, result: float) -> object:
        row = results.Row(what=f"what {name} is", result=result, at_least=2.0)
        return results.Section(name=name, about="About it.", rows=[row], took_s=60.0)

    page = tmp_path / "results.md"
    names = ("first", "second", "third")
    results.write(page, names, [section("second", 1.0), section("first", 2.5)], "0.10 processes")
    results.write(page, names, [section("second", 4.0)], "0.10 processes")
    text = page.read_text()

    assert text.index("## first") < text.index("## second")
    assert "## third" not in text
    assert "2.50 × | – | ≥ 2 × | met" in text
    assert "4.00 ×" in text
    assert "1.00 ×" not in text
    assert "2 met, 0 missed" in text
    assert str(Path.home()) not in text


def test_results_of_another_machine_are_not_kept(results: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    row = results.Row(what="this", result=3.0)
    section = results.Section(name="first", about="About it.", rows=[row], took_s=1.0)
    page.write_text("| processor | another one, 64 cores |\n\n## second\n\n| that | 9.00 × |\n")

    results.write(page, ("first", "second"), [section], "0.10 processes")

    assert "9.00" not in page.read_text()
    assert "3.00 ×" in page.read_text()
