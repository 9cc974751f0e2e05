"""Two runs of one trial side by side: what is the same to the bit, and how far off the rest is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.errors import ArtifactError


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Something that is not the same to the bit.

    Args:
        what: What was compared.
        first: Where the first difference is: an epoch, or the name of a tensor.
        stored: What the trial has there.
        replayed: What came out now.
        largest: The largest absolute difference of all, None where it cannot be told.
    """

    what: str
    first: str | None = None
    stored: float | str | None = None
    replayed: float | str | None = None
    largest: float | None = None

    def to_document(self) -> dict[str, Any]:
        """Return it as it stands in `trial replay --json`."""
        return {
            "what": self.what,
            "first": self.first,
            "stored": self.stored,
            "replayed": self.replayed,
            "largest_difference": self.largest,
        }


def compare_series(
    what: str, stored: Sequence[float | None], replayed: Sequence[float | None]
) -> list[Difference]:
    """Compare one number per epoch.

    Args:
        what: Their name.
        stored: From epoch 1 on; None where there was no finite number.
        replayed: Likewise.

    Returns:
        One difference, or none.
    """
    pairs = list(zip(stored, replayed, strict=False))
    unlike = [epoch for epoch, (a, b) in enumerate(pairs, start=1) if not _is_same(a, b)]
    if not unlike and len(stored) == len(replayed):
        return []
    gaps = [abs(a - b) for a, b in pairs if a is not None and b is not None]
    if not unlike:
        counts = (f"{len(stored)} epochs", f"{len(replayed)} epochs")
        return [Difference(what=what, stored=counts[0], replayed=counts[1])]
    then, now = pairs[unlike[0] - 1]
    place = None if len(stored) == len(replayed) == 1 else f"epoch {unlike[0]}"
    largest = max(gaps) if gaps and all(map(math.isfinite, gaps)) else None
    return [
        Difference(
            what=what, first=place, stored=_finite(then), replayed=_finite(now), largest=largest
        )
    ]


def compare_files(then: TrialDir, now: TrialDir) -> Mapping[str, list[Difference]]:
    """Compare weights and predictions.

    Args:
        then: The trial's folder.
        now: That of its replay.

    Returns:
        What there was to compare → its differences.

    Raises:
        ArtifactError: what the trial left is damaged.
    """
    kinds: list[tuple[str, Path, Path, _Read]] = [
        ("weights", then.weights_file, now.weights_file, _read_weights),
        ("truth of the test split", then.truth_file, now.truth_file, _read_array),
        ("predictions of the test split", then.predictions_file, now.predictions_file, _read_array),
    ]
    return {
        what: _compare_arrays(what, read(old), read(new) if new.is_file() else {})
        for what, old, new, read in kinds
        if old.is_file()
    }


_Arrays = Mapping[str, NDArray[Any]]
_Read = Callable[[Path], _Arrays]


def _compare_arrays(what: str, before: _Arrays, after: _Arrays) -> list[Difference]:
    if not after:
        return [Difference(what=what, stored="there", replayed="none")]
    if _shapes(before) != _shapes(after):
        return [Difference(what=what, stored=_shapes(before), replayed=_shapes(after))]
    first = next(_unlike(before, after), None)
    if first is None:
        return []
    gaps = [_largest_gap(before[name], after[name]) for name in before]
    one, other = before[first].ravel(), after[first].ravel()
    place = int(np.argmax(one != other))
    difference = Difference(
        what=what,
        first=first or None,
        stored=_finite(float(one[place])),
        replayed=_finite(float(other[place])),
        largest=max(gaps) if all(math.isfinite(gap) for gap in gaps) else None,
    )
    return [difference]


def _shapes(arrays: _Arrays) -> str:
    return ", ".join(
        f"{name} {array.dtype}{list(array.shape)}".strip() for name, array in arrays.items()
    )


def _unlike(before: _Arrays, after: _Arrays) -> Iterator[str]:
    """Yield the names of arrays that are not the same to the bit."""
    for name, one in before.items():
        other = after[name]
        if one.dtype != other.dtype or one.tobytes() != other.tobytes():
            yield name


def _largest_gap(one: NDArray[Any], other: NDArray[Any]) -> float:
    if one.size == 0:
        return 0.0
    return float(np.max(np.abs(one.astype(np.float64) - other.astype(np.float64))))


def _read_weights(file: Path) -> _Arrays:
    import torch

    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
        return {name: tensor.numpy() for name, tensor in weights.items()}
    except Exception as error:  # whatever is wrong with it
        raise ArtifactError(f"{file} is damaged: {error}") from error


def _read_array(file: Path) -> _Arrays:
    try:
        return {"": np.load(file, allow_pickle=False)}
    except (OSError, ValueError, EOFError) as error:
        raise ArtifactError(f"{file} is damaged: {error}") from error


def _is_same(one: float | None, other: float | None) -> bool:
    both_none = one is None or other is None
    return one is other if both_none else _bits(one) == _bits(other)


def _bits(value: float | None) -> bytes:
    return np.float64(value if value is not None else math.nan).tobytes()


def _finite(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)
