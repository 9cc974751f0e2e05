"""Files that a reader never sees half-written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunectl.artifacts import atomic


def test_an_error_names_the_file_that_was_to_be_written(tmp_path: Path) -> None:
    file = tmp_path / "gone" / "metrics.json"

    with pytest.raises(FileNotFoundError) as caught:
        atomic.write_json(file, {})

    assert caught.value.filename == str(file)


def test_a_file_that_cannot_be_finished_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    file.write_text("old")

    with pytest.raises(OSError, match="No space left"), atomic.replacing(file) as beside:
        beside.write_text("half")
        raise OSError(28, "No space left on device")

    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]
    assert file.read_text() == "old"
