"""Images that a trained network is to tell apart: folders, archives and IDX files without labels.

They are read as a training reads them, and what is wrong with them is said in the same words.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunectl.config.image_run import ImageDataset
from tunectl.errors import DataError, Problem
from tunectl.training.architecture import Layout
from tunectl.training.data_files import DataFile
from tunectl.training.image_arrays import read_idx_images, read_npz_images
from tunectl.training.image_files import SUFFIXES, read_files, shortened, size_of

_ZIP, _GZIP, _IDX = b"PK", b"\x1f\x8b", b"\0\0"


@dataclass(frozen=True, kw_only=True)
class ImageForm:
    """How a network was given the images that it was trained on.

    Args:
        layout: `grey` (N, H, W), `signals` (N, C, H, W) or `channels_last` (N, H, W, C).
        shape: Of one image, (C, H, W).
        image_size: Image files were brought to so many pixels a side; None: taken as they are.
    """

    layout: Layout
    shape: tuple[int, ...]
    image_size: int | None = None


class ImageFiles:
    """Images in files of their own, read when they are asked for.

    Args:
        files: The files, in order.
        root: The folder that their names are relative to.
        shown: That folder as the user wrote it.
        dataset: How they are read.
        form: What the network takes.
    """

    def __init__(
        self,
        files: Sequence[Path],
        root: Path,
        shown: Path,
        dataset: ImageDataset,
        form: ImageForm,
    ) -> None:
        self._files, self._root, self._shown = tuple(files), root, shown
        self._dataset, self._form = dataset, form

    @property
    def names(self) -> Sequence[str]:
        """The files' paths within the folder."""
        inside = (file.relative_to(self._root).as_posix() for file in self._files)
        return [os.fsencode(name).decode("utf-8", "replace") for name in inside]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all of them, in the order of axes that the network takes."""
        channels, height, width = self._form.shape
        one = {"grey": (height, width), "channels_last": (height, width, channels)}
        return (len(self._files), *one.get(self._form.layout, self._form.shape))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._files)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Read some of them.

        Raises:
            DataError: one is damaged.
        """
        try:
            images = read_files(self._files[rows], self._dataset, self._root)
        except DataError as error:
            raise DataError(self.placed(error.problems)) from error
        if self._form.layout == "channels_last":
            return images if images.ndim == 4 else images[..., None]
        as_channels = images[:, None] if images.ndim == 3 else np.moveaxis(images, 3, 1)
        return images if self._form.layout == "grey" else as_channels

    def placed(self, problems: Sequence[Problem]) -> list[Problem]:
        """Return problems of files with their paths, and without a key of the configuration's."""
        return [
            dataclasses.replace(one, key=None, file=str(self._shown / (one.file or "")))
            for one in problems
        ]


def are_images(path: Path) -> bool:
    """Whether a path is a folder or one of the files that hold nothing but images."""
    if path.is_dir() or path.suffix.lower() in (*SUFFIXES, ".npz"):
        return path.exists()
    if not path.is_file():
        return False
    try:
        with path.open("rb") as stream:
            return stream.read(2) in (_ZIP, _GZIP, _IDX)
    except OSError:
        return False


def open_new_images(path: Path, shown: str, form: ImageForm) -> ImageFiles | NDArray[Any]:
    """Open images for which `are_images` holds.

    Args:
        path: A folder, an image, an `.npz` archive or an IDX file.
        shown: Its path as the user wrote it.
        form: What the network takes.

    Returns:
        The images in the order of axes of their file; those in files of their own in that of the
        network.

    Raises:
        DataError: with everything that is wrong with them, as far as headers tell.
    """
    if path.is_dir() or path.suffix.lower() in SUFFIXES:
        return _open_files(path, shown, form)
    file = DataFile("", shown, path)
    try:
        with path.open("rb") as stream:
            is_idx = stream.read(2) in (_GZIP, _IDX)
    except OSError as error:
        raise DataError([file.problem(f"cannot be read: {error.strerror}")]) from error
    x = read_idx_images(file) if is_idx else read_npz_images(file)
    if x.dtype.kind not in "iuf":
        raise DataError([file.problem(f"images must be numbers, not {x.dtype}")])
    return x


def _open_files(path: Path, shown: str, form: ImageForm) -> ImageFiles:
    is_folder = path.is_dir()
    root = path if is_folder else path.parent
    files = _images_in(path) if is_folder else [path]
    if not files:
        message = f"holds no images ({', '.join(SUFFIXES)})"
        raise DataError([Problem(file=shown, message=message)])
    channels, height, width = form.shape
    if channels not in (1, 3):
        message = f"the network takes images of {channels} channels, which these files do not have"
        raise DataError([Problem(file=shown, message=message)])
    dataset = ImageDataset(
        source="folder",
        path=shown,
        color="grey" if channels == 1 else "rgb",
        image_size=form.image_size,
    )
    folder = Path(shown) if is_folder else Path(shown).parent
    opened = ImageFiles(files, root, folder, dataset, form)
    problems = []
    for file in files:
        size = size_of(file, dataset) or (height, width)  # what is damaged is said when it is read
        if size != (height, width):
            message = f"is {size[1]} × {size[0]} pixels; the network takes {width} × {height}"
            problems.append(Problem(file=file.relative_to(root).as_posix(), message=message))
    if problems:
        raise DataError(opened.placed(shortened(problems)))
    return opened


def _images_in(folder: Path) -> list[Path]:
    """Return the images of a folder and of those in it, in alphabetical order."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
