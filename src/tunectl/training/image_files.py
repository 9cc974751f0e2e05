"""Images and their classes as files hold them; nobody vouches for those.

It reads and says what is wrong; it knows nothing of networks or splits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunectl.config.image_run import ImageDataset
from tunectl.demo.embedded import ensure_embedded
from tunectl.errors import DataError, Problem
from tunectl.training.architecture import Layout
from tunectl.training.data_files import DataFile
from tunectl.training.image_arrays import OpenArrays, Read, Rows, open_idx, open_npy, open_npz

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif")
MOST_SHOWN = 5
Scanned = dict[Path, Mapping[str, Sequence[Path]]]
"""Folder → the images of each class, both in alphabetical order."""
_ORIENTATION = 0x0112
"""The tag of EXIF; from 5 on height and width change places."""


@dataclass(frozen=True, kw_only=True)
class OpenImages:
    """Images that can be read: what their headers say, and all labels.

    Args:
        shape: Of one image, (C, H, W); of a folder's the first one that can be read.
        labels: (N,), the class of each, numbers or text.
        layout: `grey` (N, H, W), `signals` (N, C, H, W) or `channels_last` (N, H, W, C).
        names: Of all classes, in order; None where the labels are their names.
        read: Returns the images of some rows, or all, in the order of axes that `layout` says;
            raises DataError.
    """

    shape: tuple[int, ...]
    labels: NDArray[Any]
    layout: Layout
    names: tuple[str, ...] | None = None
    read: Read


def image_files(dataset: ImageDataset, project: Path) -> list[Path]:
    """Return the files that a data set is read from, in order; the embedded ones are written.

    Raises:
        DataError: the folder is none.
        StorageError: the embedded images cannot be written.
    """
    if dataset.source == "digits":
        return list(ensure_embedded("digits", project / "data" / "digits"))
    if dataset.source == "folder":
        return [file for files in _by_class(dataset, project).values() for file in files]
    given = (dataset.path, dataset.x_path, dataset.t_path)
    return [project / Path(path).expanduser() for path in given if path is not None]


def open_images(dataset: ImageDataset, project: Path, scanned: Scanned | None = None) -> OpenImages:
    """Look at the headers of images, and read their labels.

    Args:
        dataset: What is read.
        project: The project folder.
        scanned: Folders that need not be listed again; this one is added.

    Raises:
        DataError: with everything that is wrong with the files.
        StorageError: the embedded images cannot be written.
    """
    if dataset.source == "folder":
        return _open_folder(dataset, project, scanned)
    files = image_files(dataset, project)
    keys = ("dataset.path",) if dataset.source == "npz" else ("dataset.x_path", "dataset.t_path")
    keys = ("dataset.source",) * 2 if dataset.source == "digits" else keys
    shown = [
        DataFile(key, _shown(file, project), file) for key, file in zip(keys, files, strict=True)
    ]
    openers: dict[str, Callable[[Sequence[DataFile]], OpenArrays]] = {
        "npz": open_npz,
        "idx": open_idx,
    }
    return _checked(openers.get(dataset.source, open_npy)(shown), shown)


def _checked(arrays: OpenArrays, files: Sequence[DataFile]) -> OpenImages:
    """Return images whose shapes and types fit each other."""
    problems: list[Problem] = []
    shape, dtype, labels = arrays.shape, arrays.dtype, arrays.labels
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iuU":
        message = f"labels must be whole numbers or text (N,), not {labels.dtype} {labels.shape}"
        problems.append(files[-1].problem(message))
    if len(shape) not in (3, 4) or dtype.kind not in "iuf" or not math.prod(shape):
        wanted = "images must be numbers (N, H, W), (N, C, H, W) or (N, H, W, C)"
        problems.append(files[0].problem(f"{wanted}, not {dtype} {shape}"))
    elif not problems and shape[0] != len(labels):
        message = f"has {len(labels)} labels for {shape[0]} images"
        problems.append(files[-1].problem(message))
    if problems:
        raise DataError(problems)

    def read(rows: Rows | None) -> NDArray[Any]:
        x = arrays.read(rows)
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            raise DataError([files[0].problem("has NaN or infinite values")])
        return x

    layout, one = _layout(shape)
    return OpenImages(shape=one, labels=labels, layout=layout, read=read)


def _layout(shape: tuple[int, ...]) -> tuple[Layout, tuple[int, ...]]:
    """Return how images of a recorded shape are laid out, and one's shape (C, H, W)."""
    if len(shape) == 3:
        return "grey", (1, *shape[1:])
    if shape[-1] in (1, 3, 4) and shape[1] not in (1, 3, 4):
        return "channels_last", (shape[3], *shape[1:3])
    return "signals", shape[1:]


# -- a folder of images --------------------------------------------------------------------------


def _by_class(dataset: ImageDataset, project: Path) -> dict[str, list[Path]]:
    """Return the images of each class, both in alphabetical order."""
    shown = str(dataset.path)
    root = project / Path(shown).expanduser()
    if not root.is_dir():
        message = "no such folder" if not root.exists() else "is not a folder"
        raise DataError([Problem(message=message, file=shown, key="dataset.path")])
    found = {
        folder.name: sorted(
            file
            for file in folder.rglob("*")
            if file.suffix.lower() in SUFFIXES and file.is_file() and file.name[0] != "."
        )
        for folder in sorted(root.iterdir())
        if folder.is_dir() and folder.name[0] != "."
    }
    classes = {name: files for name, files in found.items() if files}
    if len(classes) < 2:
        there = f"only {next(iter(classes))}" if classes else "none"
        message = (
            f"needs at least two sub-folders with images, one for each class; there is {there}"
        )
        raise DataError([Problem(message=message, file=shown, key="dataset.path")])
    return classes


def _open_folder(dataset: ImageDataset, project: Path, scanned: Scanned | None) -> OpenImages:
    known = {} if scanned is None else scanned
    root = project / Path(str(dataset.path)).expanduser()
    if root not in known:
        known[root] = _by_class(dataset, project)
    classes = known[root]
    files = [file for inside in classes.values() for file in inside]
    labels = np.repeat(np.arange(len(classes)), [len(inside) for inside in classes.values()])
    is_grey = dataset.color == "grey"
    sizes = (size_of(file, dataset) for file in files)
    size = next((size for size in sizes if size is not None), None)
    if size is None:
        read_files(files, dataset, project)  # which says what is wrong with them
    height, width = size or (0, 0)
    return OpenImages(
        shape=(1 if is_grey else 3, height, width),
        labels=labels,
        layout="grey" if is_grey else "channels_last",
        names=tuple(classes),
        read=lambda rows: read_files(
            files if rows is None else [files[row] for row in rows], dataset, project
        ),
    )


def read_files(files: Sequence[Path], dataset: ImageDataset, project: Path) -> NDArray[np.uint8]:
    """Read images in files of their own.

    Args:
        files: The files.
        dataset: Colour and size.
        project: The folder that names in messages are relative to.

    Returns:
        (N, H, W) of grey ones, else (N, H, W, 3).

    Raises:
        DataError: one is damaged, or they differ in size.
    """
    images: list[NDArray[np.uint8]] = []
    problems: list[Problem] = []
    for file in files:
        try:
            images.append(_read_image(file, dataset))
        except MemoryError:
            raise
        except Exception as error:  # Pillow raises anything
            problems.append(_damaged(file, project, error))
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        listed = ", ".join(f"{shape[1]} × {shape[0]}" for shape in sorted(sizes)[:MOST_SHOWN])
        message = f"images have different sizes ({listed}); say one here"
        problems.append(Problem(message=message, key="dataset.image_size"))
    if problems:
        raise DataError(shortened(problems))
    return np.stack(images)


def _damaged(file: Path, project: Path, error: Exception) -> Problem:
    reason = " ".join(str(error).split()) or type(error).__name__
    return Problem(
        message=f"cannot be read: {reason}", file=_shown(file, project), key="dataset.path"
    )


def shortened(problems: list[Problem]) -> list[Problem]:
    """Return the first of many problems, and how many more there are."""
    if len(problems) <= MOST_SHOWN:
        return problems
    more = Problem(message=f"and {len(problems) - MOST_SHOWN} more", key="dataset.path")
    return [*problems[:MOST_SHOWN], more]


def size_of(file: Path, dataset: ImageDataset) -> tuple[int, int] | None:
    """Return height and width of an image as it will be read, None where its header is damaged."""
    from PIL import Image

    if dataset.image_size is not None:
        return dataset.image_size, dataset.image_size
    try:
        with Image.open(file) as opened:
            is_turned = opened.getexif().get(_ORIENTATION, 1) >= 5
            return opened.size if is_turned else (opened.height, opened.width)
    except Exception:  # Pillow raises anything
        return None


def _read_image(file: Path, dataset: ImageDataset) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    with Image.open(file) as opened:
        image = ImageOps.exif_transpose(opened).convert("L" if dataset.color == "grey" else "RGB")
    if dataset.image_size is not None:
        image = image.resize((dataset.image_size,) * 2, Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def _shown(file: Path, project: Path) -> str:
    return str(file.relative_to(project)) if file.is_relative_to(project) else str(file)
