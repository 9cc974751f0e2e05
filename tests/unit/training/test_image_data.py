from __future__ import annotations

import gzip
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tunectl.config.image_run import Augmentation, ImageDataset
from tunectl.config.network_run import DataSplit
from tunectl.errors import DataError
from tunectl.training.augment import augment
from tunectl.training.brightness import correct
from tunectl.training.data import split_sizes
from tunectl.training.image_data import forget_images, load_images, look_at_images, split_by_class
from tunectl.training.image_networks import cut

HUGE_IDX = struct.pack(">HBB3I", 0, 14, 3, *[2**32 - 1] * 3)
LABELS = np.array([3, 7, 3, 7, 7, 3])


@pytest.fixture(autouse=True)
def _forget() -> None:
    forget_images()


def grey() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (6, 5, 7)).astype(np.uint8)


def dataset(**fields: Any) -> ImageDataset:
    return ImageDataset.model_validate(fields)


def problems_of(project: Path, **fields: Any) -> str:
    with pytest.raises(DataError) as caught:
        load_images(dataset(**fields), project)
    return " | ".join(f"{one.file} {one.key} {one.message}" for one in caught.value.problems)


def write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    head = struct.pack(">HBB", 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    content = head + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_folder(root: Path) -> None:
    for number, (image, label) in enumerate(zip(grey(), LABELS, strict=True)):
        folder = root / f"class_{label}"
        folder.mkdir(parents=True, exist_ok=True)
        colours = np.stack([image, image // 2, image // 4], axis=-1)
        Image.fromarray(colours).save(folder / f"{number}.png")
    (root / "notes.txt").write_text("not a class")
    (root / "class_3" / "Thumbs.db").write_bytes(b"not an image")


def test_a_folder_has_a_class_for_each_sub_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "photos")
    images = load_images(dataset(source="folder", path="photos"), tmp_path)

    assert images.names == ("class_3", "class_7")
    assert images.counts == {"class_3": 3, "class_7": 3}
    assert images.x.shape == (6, 3, 5, 7)
    assert images.layout == "channels_last"
    first = grey()[0]
    np.testing.assert_array_equal(images.x[0], [first, first // 2, first // 4])


def test_images_are_brought_to_one_size_and_to_grey(tmp_path: Path) -> None:
    write_folder(tmp_path)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "class_3" / "z.png")

    said = problems_of(tmp_path, source="folder", path=".")
    assert "dataset.image_size" in said
    assert "7 × 5, 9 × 9" in said
    images = load_images(dataset(source="folder", path=".", image_size=8, color="grey"), tmp_path)
    assert images.x.shape == (7, 1, 8, 8)
    assert images.layout == "grey"


def test_what_is_wrong_with_a_folder_is_named(tmp_path: Path) -> None:
    assert "no such folder" in problems_of(tmp_path, source="folder", path="nowhere")
    (tmp_path / "one").mkdir()
    assert "at least two sub-folders" in problems_of(tmp_path, source="folder", path=".")
    write_folder(tmp_path)
    (tmp_path / "class_7" / "broken.jpg").write_bytes(b"\xff\xd8 no image")
    said = problems_of(tmp_path, source="folder", path=".")
    assert "class_7/broken.jpg" in said
    assert "cannot be read" in said


def test_a_changed_folder_is_read_again(tmp_path: Path) -> None:
    write_folder(tmp_path)
    wanted = dataset(source="folder", path=".")
    assert load_images(wanted, tmp_path) is load_images(wanted, tmp_path)
    (tmp_path / "class_3" / "0.png").unlink()

    assert load_images(wanted, tmp_path).counts == {"class_3": 2, "class_7": 3}


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files_of_mnist_are_read(suffix: str, tmp_path: Path) -> None:
    x_path, t_path = f"images-idx3-ubyte{suffix}", f"labels-idx1-ubyte{suffix}"
    write_idx(tmp_path / x_path, grey())
    write_idx(tmp_path / t_path, LABELS.astype(np.uint8))
    images = load_images(dataset(source="idx", x_path=x_path, t_path=t_path), tmp_path)

    np.testing.assert_array_equal(images.x[:, 0], grey())
    assert images.names == ("3", "7")
    np.testing.assert_array_equal(images.labels, LABELS == 7)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00\x08\x03",
        b"\x00\x00\x08\x01\x00\x00\x00\x09abc",
        b"\x1f\x8bnot gzip",
        gzip.compress(bytes(range(256)) * 50)[:40] + b"damaged" * 9,
        HUGE_IDX,
        gzip.compress(HUGE_IDX),
    ],
    ids=["empty", "no axes", "cut off", "no gzip", "damaged gzip", "too large", "packed too large"],
)
def test_a_damaged_idx_file_is_refused(content: bytes, tmp_path: Path) -> None:
    write_idx(tmp_path / "t", LABELS.astype(np.uint8))
    (tmp_path / "x").write_bytes(content)

    said = problems_of(tmp_path, source="idx", x_path="x", t_path="t")
    assert "dataset.x_path cannot be read as IDX" in said


def test_an_archive_has_images_and_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.stack([grey()] * 3, axis=-1), labels=LABELS)
    fields = {"source": "npz", "path": "a.npz", "class_names": ["cat", "dog"]}
    images = load_images(dataset(**fields), tmp_path)

    assert images.names == ("cat", "dog")
    assert images.x.shape == (6, 3, 5, 7)
    np.savez(tmp_path / "a.npz", pictures=grey())
    assert "holds pictures" in problems_of(tmp_path, **fields)
    (tmp_path / "a.npz").write_bytes(b"no archive")
    assert "cannot be read as .npz" in problems_of(tmp_path, **fields)


def test_an_archive_that_is_none_or_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    fields = {"source": "npz", "path": "a.npz"}
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, grey())  # an .npy file by another name
    assert "a.npz dataset.path cannot be read as .npz" in problems_of(tmp_path, **fields)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, shape in (("x", (2**40, 8, 8)), ("y", (6,))):
            with archive.open(f"{name}.npy", "w") as member:
                described = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, described)  # and nothing after it
    assert "x is shorter than its header says" in problems_of(tmp_path, **fields)


@pytest.mark.parametrize("source", ["npy", "idx", "folder"])
def test_no_more_is_read_than_is_used(source: str, tmp_path: Path) -> None:
    whole = dataset(**write_images(tmp_path, source))
    some = whole.model_copy(update={"limit_samples": 4})
    images = load_images(some, tmp_path)
    everything = load_images(whole, tmp_path)
    kept = [
        row for row in range(6) if (everything.x[row] == images.x[:, None]).all((2, 3, 4)).any()
    ]
    assert len(kept) == 4
    np.testing.assert_array_equal(images.labels, everything.labels[kept])

    facts = look_at_images(some, tmp_path)
    assert (facts.shape, facts.layout) == (images.shape, images.layout)
    np.testing.assert_array_equal(facts.labels, images.labels)
    if source == "folder":  # damage shows only where it is looked at
        for row, file in enumerate(sorted(tmp_path.glob("class_*/*.png"))):
            if row not in kept:
                file.write_bytes(b"no image")
        forget_images()
        np.testing.assert_array_equal(load_images(some, tmp_path).x, images.x)


def write_images(project: Path, source: str) -> dict[str, str]:
    if source == "folder":
        write_folder(project)
        return {"source": source, "path": "."}
    if source == "idx":
        write_idx(project / "x", grey())
        write_idx(project / "t", LABELS.astype(np.uint8))
        return {"source": source, "x_path": "x", "t_path": "t"}
    np.save(project / "x.npy", grey())
    np.save(project / "t.npy", LABELS)
    return {"source": source, "x_path": "x.npy", "t_path": "t.npy"}


@pytest.mark.parametrize(
    ("x", "labels", "said"),
    [
        (grey(), LABELS[:5], "has 5 labels for 6 images"),
        (grey()[0], LABELS[:5], "images must be numbers"),
        (grey(), LABELS / 2, "labels must be whole numbers or text"),
        (grey(), np.zeros(6, int), "all images are of one class"),
        (np.full((6, 5, 7), np.nan), LABELS, "NaN or infinite"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    x: NDArray[Any], labels: NDArray[Any], said: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "t.npy", labels)

    assert said in problems_of(tmp_path, source="npy", x_path="x.npy", t_path="t.npy")


def test_only_so_many_images_are_used_and_of_all_classes(tmp_path: Path) -> None:
    images = load_images(dataset(limit_samples=200), tmp_path)

    assert len(images.x) == 200
    assert min(images.counts.values()) > 5


def test_each_part_has_each_class_in_the_same_proportion() -> None:
    labels = np.repeat([0, 1, 2], [100, 60, 20]).astype(np.int64)
    split = split_by_class(labels, DataSplit())

    parts = [split.train, split.valid, split.test]
    assert [np.bincount(labels[part]).tolist() for part in parts] == [
        [70, 42, 14], [15, 9, 3], [15, 9, 3]
    ]  # fmt: skip
    assert sorted(np.concatenate(parts).tolist()) == list(range(180))
    other = split_by_class(labels, DataSplit(seed=1))
    assert other.train.tolist() != split.train.tolist()
    assert split_by_class(labels, DataSplit()).train.tolist() == split.train.tolist()


@pytest.mark.parametrize("counts", [[3] * 40, [4, 5, 7, 11, 101], [3, 500], [10] * 7])
def test_the_parts_of_small_classes_have_their_shares_and_every_class(counts: list[int]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    shares = DataSplit()
    split = split_by_class(labels, shares)

    parts = [split.train, split.valid, split.test]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    for part in parts:
        assert np.bincount(labels[part], minlength=len(counts)).min() >= 1
    wanted = split_sizes(len(labels), shares)
    if counts[0] > 3:  # three images can be split in one way only
        assert tuple(map(len, parts)) == wanted
    else:
        assert len(parts[0]) >= len(labels) / 3


def test_equalising_levels_the_histogram_whatever_the_exposure() -> None:
    rng = np.random.default_rng(0)
    dark = np.clip(rng.normal(30, 5, (1, 1, 64, 64)), 0, 255)
    level = correct(dark, {"method": "equalize"})

    assert level.dtype == np.float32
    counts, _ = np.histogram(level, bins=4, range=(0, 1))
    assert counts.min() > 0.15 * level.size
    brighter = correct(3 * dark + 10, {"method": "equalize"})
    np.testing.assert_allclose(brighter, level, atol=0.02)
    assert correct(np.full((1, 1, 8, 8), 5), {"method": "equalize"}).max() == 0


def test_clahe_shows_what_is_hidden_in_one_corner_and_spares_the_noise() -> None:
    rng = np.random.default_rng(0)
    image = np.full((32, 32), 200.0) + rng.normal(0, 0.5, (32, 32))
    image[:16, :16] = 20 + np.indices((16, 16)).sum(axis=0) / 2
    plan = {"method": "clahe", "clip": 4.0, "tiles": 2}
    local = correct(image[None, None], plan)[0, 0]
    spread = image.max() - image.min()
    assert 0 <= local.min() <= local.max() <= 1
    corner = local[:16, :16]
    assert corner.max() - corner.min() > 2 * 15 / spread
    everywhere = correct(image[None, None], {"method": "equalize"})[0, 0]
    assert local[20:, 20:].std() < everywhere[20:, 20:].std()


def test_colours_keep_their_proportions() -> None:
    rng = np.random.default_rng(0)
    grey_values = rng.uniform(0.05, 0.3, (16, 16))
    image = np.stack([grey_values, grey_values / 2, grey_values / 4])[None]
    image[0, :, 0, 0] = 0  # black stays black, so that only the gain is seen
    corrected = correct(image, {"method": "equalize"})[0]

    inside = (corrected[0] < 1) & (corrected[2] > 0.01)
    corrected = corrected + 1e-12
    np.testing.assert_allclose((corrected[1] / corrected[0])[inside], 0.5, rtol=1e-3)


def test_augmentation_is_drawn_anew_and_the_same_from_the_same_seed() -> None:
    x = torch.randn(4, 2, 8, 8)
    how = Augmentation(shift=0.2, rotation=20.0, zoom=0.1, flip_horizontal=True, noise=0.1)

    torch.manual_seed(5)
    one, other = augment(x, how), augment(x, how)
    torch.manual_seed(5)
    again = augment(x, how)

    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.shape == x.shape


def test_a_flip_mirrors_about_half_of_the_images_exactly() -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 1, 4, 6)
    flipped = augment(x, Augmentation(flip_horizontal=True))

    mirrored = (flipped == x.flip(3)).flatten(1).all(dim=1)
    assert ((flipped == x).flatten(1).all(dim=1) | mirrored).all()
    assert 60 < int(mirrored.sum()) < 140


def test_a_turned_image_keeps_its_middle_and_its_size() -> None:
    torch.manual_seed(0)
    x = torch.zeros(8, 1, 9, 9)
    x[:, :, 4, 4] = 1.0
    x[:, :, 4, 8] = 2.0
    turned = augment(x, Augmentation(rotation=90.0))

    assert (turned[:, 0, 4, 4] > 0.9).all()
    assert not torch.allclose(turned, x)


def test_patches_cover_the_image_from_its_corner() -> None:
    x = torch.arange(2 * 1 * 5 * 7).reshape(2, 1, 5, 7)
    patches = cut(x, 2)

    assert patches.shape == (2, 6, 1, 2, 2)
    assert torch.equal(patches[1, 0, 0], x[1, 0, :2, :2])
    assert torch.equal(patches[1, 5, 0], x[1, 0, 2:4, 4:6])
