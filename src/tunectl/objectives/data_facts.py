"""What is known of the data of a trial as they are now: shapes, fingerprints, and who had them."""

from __future__ import annotations

from dataclasses import dataclass

from tunectl.training.data import Split

# How far the bundle may be from the trial, in standard deviations of a target: another device or
# reduced precision shows, other data show much more.
TOLERANCE = {"fp32": 0.02, "bf16": 0.2}


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """One of the two data files.

    Args:
        shown: Its path as the user wrote it.
        shape: All that is in it.
        dtype: NumPy's name for the type of its values.
        sha256: Of the file's bytes.
    """

    shown: str
    shape: tuple[int, ...]
    dtype: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """The data that a trial was trained on.

    Args:
        x: The signals' file.
        t: The targets' file; None where it is in the same one.
        split: Which samples were for what.
        sample_shape: Of one sample as recorded.
    """

    x: FileFacts
    t: FileFacts | None
    split: Split
    sample_shape: tuple[int, ...]
