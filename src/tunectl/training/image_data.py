"""The images of a training: in memory, corrected, with classes by number, and split by class.

It reads what `dataset` selects, once per process, and knows nothing of networks or of PyTorch.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunectl.config.image_run import ImageDataset, ImageRun
from tunectl.config.network_run import DataSplit
from tunectl.errors import DataError, Problem
from tunectl.training.architecture import Layout
from tunectl.training.brightness import correct
from tunectl.training.data import Indices, Split, split_sizes
from tunectl.training.image_files import OpenImages, Scanned, image_files, open_images

KEPT_SELECTIONS = 2
DRAWN = 0
"""Seed of the draw of `limit_samples`: the same images for every split."""


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """What is known of the selected images without their values.

    Args:
        shape: Of one, (C, H, W); of a folder's images the first one's until all are read.
        labels: (N,), the number of each image's class.
        names: One per class.
        layout: How images are recorded.
    """

    shape: tuple[int, ...]
    labels: Indices
    names: tuple[str, ...]
    layout: Layout

    @property
    def counts(self) -> dict[str, int]:
        """How many images there are of each class."""
        found = np.bincount(self.labels, minlength=len(self.names))
        return dict(zip(self.names, found.tolist(), strict=True))


@dataclass(frozen=True, kw_only=True)
class Images(ImageFacts):
    """The selected images. They are shared between trials: read them, never write into them.

    Args:
        x: (N, C, H, W), as recorded, or corrected and then from 0 to 1.
    """

    x: NDArray[Any]


_Key = tuple[object, ...]
_cache: OrderedDict[_Key, Images] = OrderedDict()
_lock = threading.Lock()


def load_images(dataset: ImageDataset, project: Path) -> Images:
    """Read what `dataset` selects, or return it from memory if the files have not changed.

    Raises:
        DataError: with everything that is wrong with the files.
        StorageError: the embedded images cannot be written.
    """
    with _lock:
        key = _key(dataset, project)
        if key is not None and key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
        while len(_cache) >= KEPT_SELECTIONS:
            _cache.popitem(last=False)
        images = _read(dataset, project)
        if key is not None:
            _cache[key] = images
        return images


def look_at_images(
    dataset: ImageDataset, project: Path, scanned: Scanned | None = None
) -> ImageFacts:
    """Return what is known of what `dataset` selects, from headers and labels.

    Args:
        dataset: What is selected.
        project: The project folder.
        scanned: Folders that need not be listed again; this one is added.

    Raises:
        DataError, StorageError: as `load_images`, for what shows there.
    """
    facts, _ = _select(open_images(dataset, project, scanned), dataset)
    return facts


def forget_images() -> None:
    """Let go of the images that are kept in memory."""
    with _lock:
        _cache.clear()


def correction_of(dataset: ImageDataset) -> dict[str, Any] | None:
    """Return the brightness correction as plain values; see `brightness.correct`."""
    if dataset.correction == "none":
        return None
    plan: dict[str, Any] = {"method": dataset.correction}
    if dataset.correction == "clahe":
        plan |= {"clip": dataset.clahe_clip, "tiles": dataset.clahe_tiles}
    return plan


def split_by_class(labels: Indices, shares: DataSplit) -> Split:
    """Split images at random so that each part has each class in the same proportion.

    The parts are as large as without classes, as far as each gets an image of every class that has
    three or more.

    Args:
        labels: (N,).
        shares: Share of each part, and the seed.
    """
    generator = np.random.default_rng(shares.seed)
    parts: tuple[list[Indices], ...] = ([], [], [])
    classes, counts = np.unique(labels, return_counts=True)
    for label, sizes in zip(classes, class_sizes(counts, shares), strict=True):
        rows = generator.permutation(np.flatnonzero(labels == label)).astype(np.int64)
        for part, chosen in zip(parts, np.split(rows, np.cumsum(sizes)[:2]), strict=True):
            part.append(chosen)
    return Split(*(np.sort(np.concatenate(part)) for part in parts))


def class_sizes(counts: Indices, shares: DataSplit) -> Indices:
    """Return how many images of each class are for training, validation and test, (K, 3).

    Each part gets the whole part of its share of a class. What is left goes where most was lost by
    that, as long as the part is not yet as large as it is to be.

    Args:
        counts: (K,), images of each class.
        shares: Share of each part.
    """
    exact = counts[:, None] * np.array([shares.train, shares.valid, shares.test])
    sizes: Indices = np.floor(exact + 1e-9).astype(np.int64)
    sizes[counts >= 3] = np.maximum(sizes[counts >= 3], 1)
    left = counts - sizes.sum(axis=1)
    for label in np.flatnonzero(left < 0):
        while left[label] < 0:  # the ones that there must be, from the largest part
            sizes[label, np.argmax(sizes[label])] -= 1
            left[label] += 1
    wanted = np.array(split_sizes(int(counts.sum()), shares)) - sizes.sum(axis=0)
    by_loss = np.argsort((sizes - exact).ravel(), kind="stable")
    for is_wanted in (True, False):  # what fits no part any more goes where most was lost
        for label, part in zip(*np.unravel_index(by_loss, sizes.shape), strict=True):
            if left[label] > 0 and (wanted[part] > 0 or not is_wanted):
                sizes[label, part] += 1
                left[label] -= 1
                wanted[part] -= 1
    return sizes


def image_problems(run: ImageRun, images: ImageFacts) -> list[Problem]:
    """Return everything in a configuration that would make a trial on such images fail."""
    problems = [*_size_problems(run, images), *_split_problems(run, images)]
    if run.augmentation.file is not None:  # a configuration that was not loaded from files
        message = "is only read with the configuration; put its keys here"
        problems.append(Problem(key="augmentation.file", message=message))
    return problems


def imbalance(images: ImageFacts) -> str | None:
    """Return a sentence where one class is more than three times as frequent as another."""
    counts = images.counts
    rarest, commonest = (pick(counts, key=lambda name: counts[name]) for pick in (min, max))
    if counts[commonest] <= 3 * counts[rarest]:
        return None
    return (
        f"the classes are out of balance: {counts[commonest]} images of {commonest}, "
        f"{counts[rarest]} of {rarest}; val_f1 weighs all classes alike, and "
        "training.class_weights makes rare ones count"
    )


def _size_problems(run: ImageRun, images: ImageFacts) -> list[Problem]:
    side, patch = min(images.shape[1:]), run.model.patch_size
    problems = []
    if side < 4:
        message = f"images are {images.shape[1]} × {images.shape[2]}; at least 4 are needed"
        problems.append(Problem(key="dataset.source", message=message))
    if patch and not 4 <= patch <= side:
        message = f"must be 0, or from 4 to {side}, the images' shorter side"
        problems.append(Problem(key="model.patch_size", message=message))
    return problems


def _split_problems(run: ImageRun, images: ImageFacts) -> list[Problem]:
    problems = []
    few = [f"{name} ({count})" for name, count in images.counts.items() if count < 3]
    if few:
        message = f"each class needs 3 images or more; too few of {', '.join(few)}"
        problems.append(Problem(key="dataset.source", message=message))
    split = split_by_class(images.labels, run.data_split)
    if not 2 <= run.training.batch_size <= len(split.train):
        message = (
            f"must be from 2 (for the batch normalisation) to {len(split.train)}, "
            "the images of the training split"
        )
        problems.append(Problem(key="training.batch_size", message=message))
    return problems


def _key(dataset: ImageDataset, project: Path) -> _Key | None:
    """Return what the selection depends on; None if a file cannot be looked at."""
    try:
        files = image_files(dataset, project)
        stats = [file.stat() for file in files]
    except (OSError, DataError):
        return None
    stamps = tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)
    return (tuple(map(str, files)), stamps, dataset.model_dump_json())


def _read(dataset: ImageDataset, project: Path) -> Images:
    opened = open_images(dataset, project)
    facts, rows = _select(opened, dataset)
    x = opened.read(rows)
    arranged = {"grey": lambda: x[:, None], "channels_last": lambda: np.moveaxis(x, 3, 1)}
    x = np.ascontiguousarray(arranged.get(opened.layout, lambda: x)())
    plan = correction_of(dataset)
    if plan is not None:
        x = correct(x, plan)
    elif x.dtype != np.uint8:
        x = x.astype(np.float32)
    shape = tuple(x.shape[1:])
    return Images(shape=shape, labels=facts.labels, names=facts.names, layout=facts.layout, x=x)


def _select(opened: OpenImages, dataset: ImageDataset) -> tuple[ImageFacts, Indices | None]:
    """Return what is selected of images, and the rows that were drawn, None for all."""
    numbers, names = _numbered(opened.labels, opened.names, dataset.class_names)
    rows = None
    if dataset.limit_samples and dataset.limit_samples < len(numbers):
        drawn = np.random.default_rng(DRAWN).permutation(len(numbers))[: dataset.limit_samples]
        rows = np.sort(drawn).astype(np.int64)
        numbers = numbers[rows]
    facts = ImageFacts(shape=opened.shape, labels=numbers, names=names, layout=opened.layout)
    return facts, rows


def _numbered(
    labels: NDArray[Any], own_names: Sequence[str] | None, given: Sequence[str] | None
) -> tuple[Indices, tuple[str, ...]]:
    """Return labels counted from 0, and the names of the classes."""
    there, numbers = np.unique(labels, return_inverse=True)
    names = tuple(own_names or map(str, there.tolist()))
    if given is not None and len(given) != len(names):
        message = f"{len(given)} names for {len(names)} classes"
        raise DataError([Problem(key="dataset.class_names", message=message)])
    if len(names) < 2:
        message = f"all images are of one class, {names[0]}"
        raise DataError([Problem(key="dataset.source", message=message)])
    return numbers.astype(np.int64), tuple(given or names)
