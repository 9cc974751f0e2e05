"""Predictions as a file or a table; whole or not at all."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from tunectl.artifacts import atomic
from tunectl.errors import StorageError

if TYPE_CHECKING:
    from tunectl.training.data_files import Floats

FILE_COLUMNS = ("file", "predicted")
"""What stands before the classes where images are files of their own."""
_BLOCK = 2**16


def write_predictions(
    target: Path | None,
    names: Sequence[str],
    samples: int,
    batches: Iterable[Floats],
    out: TextIO,
    files: Sequence[str] | None = None,
) -> None:
    """Write all predictions once the last one is known.

    Args:
        target: An `.npy` file, for an array (N, T) of 32-bit floats, or a `.csv` file; an earlier
            file is replaced. None for CSV to `out`.
        names: One per target, the head of the table.
        samples: N.
        batches: Targets (n, T), in order.
        out: Where a table goes without a target.
        files: Of images in files of their own the name of each: a table begins with it and with
            the class that is the most probable.

    Raises:
        StorageError: the file cannot be written; an earlier one is as it was.
    """
    try:
        if target is None:
            with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as table:
                _write_table(table, names, batches, files)
                table.seek(0)
                while block := table.read(_BLOCK):
                    out.write(block)
            out.flush()
            return
        with atomic.replacing(target) as beside:
            if target.suffix.lower() == ".csv":
                with beside.open("w", encoding="utf-8", newline="") as table:
                    _write_table(table, names, batches, files)
            else:
                _write_array(beside, samples, len(names), batches)
    except OSError as error:
        place = target or "the predictions"
        raise StorageError(f"cannot write {place}: {error.strerror or error}") from error


def _write_table(
    table: TextIO,
    names: Sequence[str],
    batches: Iterable[Floats],
    files: Sequence[str] | None,
) -> None:
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(names if files is None else [*FILE_COLUMNS, *names])
    named = iter(files or ())
    for batch in batches:
        for row in batch:
            head = [] if files is None else [next(named), names[int(row.argmax())]]
            # NumPy's own text of a number is the shortest that reads back as the same one.
            rows.writerow([*head, *map(str, row)])


def _write_array(file: Path, samples: int, targets: int, batches: Iterable[Floats]) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (samples, targets)}
    with file.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, header)
        for batch in batches:
            out.write(np.ascontiguousarray(batch, dtype="<f4").tobytes())
