"""Small real data sets that scikit-learn brings with it, as files like those of a user.

They are written once, whole or not at all. It knows files and arrays, nothing of training.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from tunectl.artifacts import atomic
from tunectl.errors import StorageError, UsageError

X_NAME, T_NAME = "x.npy", "t.npy"
README_NAME, LOCK_NAME = "README.txt", ".lock"

Arrays = tuple[NDArray[Any], NDArray[Any]]

_ABOUT = {
    "diabetes": """\
442 people with diabetes: age, sex, body mass index, blood pressure and six blood values (x.npy, in
their own units), and a measure of the disease one year later (t.npy). From Efron, Hastie, Johnstone
and Tibshirani, "Least angle regression", Annals of Statistics 32, 2004; as scikit-learn has it.
""",
    "digits": """\
1797 images of handwritten digits, 8 by 8 pixels of 0 to 16 (x.npy), and which digit it is (t.npy).
From the "Optical recognition of handwritten digits" set of the UCI Machine Learning Repository
(E. Alpaydin and C. Kaynak, 1998; its test part); as scikit-learn has it.
""",
}


def ensure_embedded(name: str, folder: Path) -> tuple[Path, Path]:
    """Return the files of inputs and targets of an embedded data set; written if not there.

    Args:
        name: `diabetes`, inputs (442, 10) and targets (442, 1); or `digits`, images (1797, 8, 8)
            of whole numbers and labels (1797,).
        folder: Where they stand. Several processes may ask at once: one writes them.

    Raises:
        UsageError: `folder` is a file.
        StorageError: the folder cannot be written.
    """
    files = folder / X_NAME, folder / T_NAME
    if all(file.is_file() for file in files):
        return files
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / LOCK_NAME):
            if not all(file.is_file() for file in files):  # else another process was first
                atomic.write_text(folder / README_NAME, _ABOUT[name])
                for file, values in zip(files[::-1], _READERS[name]()[::-1], strict=True):
                    with atomic.replacing(file) as beside, beside.open("wb") as out:
                        np.save(out, values, allow_pickle=False)
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror or error}") from error
    return files


def _diabetes() -> Arrays:
    from sklearn.datasets import load_diabetes

    x, t = load_diabetes(return_X_y=True, scaled=False)
    return x.astype(np.float32), t.astype(np.float32).reshape(-1, 1)


def _digits() -> Arrays:
    from sklearn.datasets import load_digits

    x, labels = load_digits(return_X_y=True)
    return x.astype(np.uint8).reshape(-1, 8, 8), labels.astype(np.int64)


_READERS: dict[str, Callable[[], Arrays]] = {"diabetes": _diabetes, "digits": _digits}
