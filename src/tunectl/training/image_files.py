"""Images and their classes as files hold them; nobody vouches for those, and nothing is unpickled.

It reads and says what is wrong; it knows nothing of networks or splits.
"""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunectl.config.image_run import ImageDataset
from tunectl.demo.embedded import ensure_embedded
from tunectl.errors import DataError, Problem
from tunectl.training.architecture import Layout
from tunectl.training.data_files import DataFile, map_file

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif")
NPZ_PAIRS = (("x", "y"), ("x", "t"), ("images", "labels"), ("x_train", "y_train"))
MOST_SHOWN = 5
_IDX_TYPES = {
    0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"
}  # fmt: skip


@dataclass(frozen=True)
class RawImages:
    """Images as recorded.

    Args:
        x: (N, …) in the order of axes that `layout` says.
        labels: (N,), the class of each, numbers or text.
        layout: `grey` (N, H, W), `signals` (N, C, H, W) or `channels_last` (N, H, W, C).
        names: Of all classes, in order; None where the labels are their names.
    """

    x: NDArray[Any]
    labels: NDArray[Any]
    layout: Layout
    names: tuple[str, ...] | None = None


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


def read_images(dataset: ImageDataset, project: Path) -> RawImages:
    """Read images and labels.

    Raises:
        DataError: with everything that is wrong with the files.
        StorageError: the embedded images cannot be written.
    """
    if dataset.source == "folder":
        return _read_folder(dataset, project)
    files = image_files(dataset, project)
    keys = ("dataset.path",) if dataset.source == "npz" else ("dataset.x_path", "dataset.t_path")
    keys = ("dataset.source",) * 2 if dataset.source == "digits" else keys
    shown = [
        DataFile(key, _shown(file, project), file) for key, file in zip(keys, files, strict=True)
    ]
    read: dict[str, Callable[[Sequence[DataFile]], tuple[NDArray[Any], NDArray[Any]]]] = {
        "npz": _read_npz,
        "idx": _read_idx_pair,
    }
    x, labels = read.get(dataset.source, _read_npy)(shown)
    return _checked(x, labels, shown)


def _checked(x: NDArray[Any], labels: NDArray[Any], files: Sequence[DataFile]) -> RawImages:
    """Return images whose shapes and types fit each other."""
    problems: list[Problem] = []
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iuU":
        message = f"labels must be whole numbers or text (N,), not {labels.dtype} {labels.shape}"
        problems.append(files[-1].problem(message))
    if x.ndim not in (3, 4) or x.dtype.kind not in "iuf" or not x.size:
        wanted = "images must be numbers (N, H, W), (N, C, H, W) or (N, H, W, C)"
        problems.append(files[0].problem(f"{wanted}, not {x.dtype} {x.shape}"))
    elif len(x) != len(labels):
        message = f"has {len(labels)} labels for {len(x)} images"
        problems.append(files[-1].problem(message))
    elif x.dtype.kind == "f" and not np.isfinite(x).all():
        problems.append(files[0].problem("has NaN or infinite values"))
    if problems:
        raise DataError(problems)
    layout: Layout = "grey" if x.ndim == 3 else "signals"
    if x.ndim == 4 and x.shape[-1] in (1, 3, 4) and x.shape[1] not in (1, 3, 4):
        layout = "channels_last"
    return RawImages(x, labels, layout)


def _read_npy(files: Sequence[DataFile]) -> tuple[NDArray[Any], NDArray[Any]]:
    problems: list[Problem] = []
    x = map_file(files[0], problems)
    labels = _read_text(files[1].path)
    if labels is None:
        labels = map_file(files[1], problems)
    if x is None or labels is None:
        raise DataError(problems)
    return np.array(x), np.array(labels)


def _read_text(path: Path) -> NDArray[np.str_] | None:
    """Return the text in an .npy file, None where it holds something else or cannot be read."""
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # what is wrong with it is said by whoever maps it
        return None
    is_text = isinstance(values, np.ndarray) and values.dtype.kind == "U"
    return np.array(values) if is_text else None


def _read_npz(files: Sequence[DataFile]) -> tuple[NDArray[Any], NDArray[Any]]:
    (file,) = files
    try:
        with np.load(file.path, allow_pickle=False) as archive:
            for pair in NPZ_PAIRS:
                if all(name in archive for name in pair):
                    return archive[pair[0]], archive[pair[1]]
            there = ", ".join(archive) or "nothing"
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError([file.problem(f"cannot be read as .npz: {error}")]) from error
    wanted = " or ".join(" and ".join(pair) for pair in NPZ_PAIRS)
    raise DataError([file.problem(f"needs {wanted}, but holds {there}")])


def _read_idx_pair(files: Sequence[DataFile]) -> tuple[NDArray[Any], NDArray[Any]]:
    x, labels = (_read_idx(file) for file in files)
    return x, labels


def _read_idx(file: DataFile) -> NDArray[Any]:
    """Read a file of the format that MNIST is in, also compressed with gzip."""
    try:
        with file.path.open("rb") as plain:
            is_zipped = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            stream: Any = gzip.GzipFile(fileobj=plain) if is_zipped else plain
            zero, kind, axes = struct.unpack(">HBB", stream.read(4))
            if zero or kind not in _IDX_TYPES or not 1 <= axes <= 4:
                raise ValueError("it does not begin as an IDX file does")
            shape = struct.unpack(f">{axes}I", stream.read(4 * axes))
            dtype = np.dtype(_IDX_TYPES[kind])
            size = math.prod(shape) * dtype.itemsize
            content = stream.read(size + 1)
            if len(content) != size:
                raise ValueError("its length is not what its header says")
    except (OSError, ValueError, EOFError, struct.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError([file.problem(f"cannot be read as IDX: {reason}")]) from error
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))


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


def _read_folder(dataset: ImageDataset, project: Path) -> RawImages:
    classes = _by_class(dataset, project)
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    problems: list[Problem] = []
    for label, files in enumerate(classes.values()):
        for file in files:
            try:
                image = _read_image(file, dataset)
            except Exception as error:  # Pillow raises anything
                shown = _shown(file, project)
                reason = " ".join(str(error).split()) or type(error).__name__
                problems.append(
                    Problem(message=f"cannot be read: {reason}", file=shown, key="dataset.path")
                )
                continue
            images.append(image)
            labels.append(label)
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        listed = ", ".join(f"{shape[1]} × {shape[0]}" for shape in sorted(sizes)[:MOST_SHOWN])
        message = f"images have different sizes ({listed}); say one here"
        problems.append(Problem(message=message, key="dataset.image_size"))
    if problems:
        raise DataError(_shortened(problems))
    layout: Layout = "grey" if dataset.color == "grey" else "channels_last"
    return RawImages(np.stack(images), np.array(labels), layout, tuple(classes))


def _shortened(problems: list[Problem]) -> list[Problem]:
    if len(problems) <= MOST_SHOWN:
        return problems
    more = Problem(message=f"and {len(problems) - MOST_SHOWN} more", key="dataset.path")
    return [*problems[:MOST_SHOWN], more]


def _read_image(file: Path, dataset: ImageDataset) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    with Image.open(file) as opened:
        image = ImageOps.exif_transpose(opened).convert("L" if dataset.color == "grey" else "RGB")
    if dataset.image_size is not None:
        image = image.resize((dataset.image_size,) * 2, Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def _shown(file: Path, project: Path) -> str:
    return str(file.relative_to(project)) if file.is_relative_to(project) else str(file)
