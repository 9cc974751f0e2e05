from __future__ import annotations

import gzip
import importlib.util
import json
import logging
import shutil
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from told import Told, context_for

from tunectl.config.image_run import ImageRun
from tunectl.config.schema import Runtime
from tunectl.errors import DataError
from tunectl.objectives.base import Advising, TrialInterrupted, TrialPruned
from tunectl.objectives.data_facts import DataFacts
from tunectl.objectives.image_classifier import ImageClassifier
from tunectl.objectives.image_setup import make_loss
from tunectl.objectives.registry import find_objective
from tunectl.reports.data_facts import look_at_data
from tunectl.training.image_data import forget_images, load_images, split_by_class
from tunectl.training.new_images import ImageFiles
from tunectl.training.packaged import load_packaged
from tunectl.training.prediction import open_signals, predict_signals

PER_CLASS, SIDE = 20, 8
NAMES = ("bar", "box", "dot")


def draw(side: int = SIDE, colours: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images of three shapes that can be told apart, and their classes."""
    rng = np.random.default_rng(0)
    images, labels = [], []
    for label in np.repeat(np.arange(3), PER_CLASS):
        image = rng.integers(0, 40, (side, side))
        at = rng.integers(1, side - 3)
        if label == 0:
            image[:, at] += 200
        elif label == 1:
            image[1:-1, 1:-1] += 100
        else:
            image[at : at + 2, at : at + 2] += 200
        images.append(image)
        labels.append(label)
    x = np.stack(images).astype(np.uint8)
    return (np.stack([x] * colours, axis=-1) if colours else x), np.array(labels)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    forget_images()
    x, labels = draw()
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "t.npy", np.array(NAMES)[labels])
    return tmp_path


def run_of(**sections: dict[str, Any]) -> dict[str, Any]:
    return {
        "objective": "image_classifier",
        "dataset": {
            "source": "npy", "x_path": "x.npy", "t_path": "t.npy", **sections.pop("dataset", {})
        },
        "model": {"width": 4, **sections.pop("model", {})},
        "training": {"epochs": 3, "batch_size": 8, **sections.pop("training", {})},
        **sections,
    }  # fmt: skip


def context_of(
    project: Path, metric: str = "val_acc", outputs: str = "outputs", **more: Any
) -> Told:
    told = {key: more.pop(key) for key in ("stop_at_check", "stop_at") if key in more}
    return context_for(project, run_of(**more), metric, outputs=outputs, **told)


def metrics_of(context: Told) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(context.directory.metrics_file.read_text())
    return document


def test_it_learns_and_leaves_everything(project: Path) -> None:
    context = context_of(project, training={"epochs": 25, "learning_rate": 0.01})
    outcome = ImageClassifier().run(context)
    document = metrics_of(context)

    assert outcome.metrics["test_acc"] >= 0.8
    assert outcome.value == max(document["histories"]["val_acc"]) == outcome.metrics["val_acc"]
    assert set(document["per_class"]) == set(NAMES)
    assert np.sum(document["confusion"]) == 9
    hits = np.trace(document["confusion"])
    assert outcome.metrics["test_acc"] == pytest.approx(hits / 9)
    left = {str(path.relative_to(context.directory.path)) for path in walk(context)}
    assert left >= {
        "y_pred.npy",
        "y_true.npy",
        "model.json",
        "scaling.json",
        "learning_curves.png",
        "evaluation_plots/confusion_matrix.png",
        "evaluation_summary.txt",
        "weights/model_simplecnn_real.pth",
    }
    assert "dot" in context.directory.summary_file.read_text()


def walk(context: Told) -> list[Path]:
    return [path for path in context.directory.path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", ["cnn", "resnet18", "resnet50", "resnet101"])
@pytest.mark.parametrize("patch_size", [0, 4])
def test_its_network_can_be_used_elsewhere(kind: str, patch_size: int, project: Path) -> None:
    from safetensors.torch import save_file

    model = {"type": kind, "width": 2, "patch_size": patch_size}
    context = context_of(project, model=model, training={"epochs": 1})
    ImageClassifier().run(context)
    x, labels = draw()
    test = split_by_class(labels.astype(np.int64), ImageRun().data_split).test
    y_pred = np.load(context.directory.predictions_file)

    packaged = load_packaged(context.directory)
    assert packaged.target_names == NAMES
    assert packaged.sample_shape == (SIDE, SIDE)
    signals = open_signals(project / "x.npy", "x.npy", packaged)
    predicted = np.concatenate(list(predict_signals(packaged, signals, "x.npy")))
    np.testing.assert_allclose(predicted.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(predicted[test], y_pred, rtol=1e-3, atol=1e-5)

    folder = context.directory.path
    save_file(torch.load(context.directory.weights_file), folder / "model.safetensors")
    np.testing.assert_allclose(
        standalone().Network(folder).predict(x[test]), y_pred, rtol=1e-3, atol=1e-5
    )


def write_new(folder: Path, x: NDArray[np.uint8]) -> None:
    """Write images as files in two folders, in the order of their paths."""
    for number, image in enumerate(x):
        file = folder / "new" / ("a" if number < 5 else "b") / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    (folder / "new" / ".hidden.png").write_bytes(b"no image")
    np.savez(folder / "new.npz", images=x)
    head = struct.pack(">HBB3I", 0, 8, 3, *x.shape)
    (folder / "new.idx").write_bytes(head + x.tobytes())
    (folder / "new-idx3-ubyte.gz").write_bytes(gzip.compress(head + x.tobytes()))


def test_new_images_are_read_from_whatever_a_training_reads(project: Path) -> None:
    context = context_of(project, training={"epochs": 1})
    ImageClassifier().run(context)
    packaged = load_packaged(context.directory)
    x, _ = draw()
    write_new(project, x[:9])
    expected = packaged.predict(x[:9].astype(np.float32))

    def predicted(name: str) -> NDArray[np.float32]:
        opened = open_signals(project / name, name, packaged)
        return np.concatenate(list(predict_signals(packaged, opened, name)))

    for name in ("new", "new.npz", "new.idx", "new-idx3-ubyte.gz", "x.npy"):
        np.testing.assert_allclose(predicted(name)[:9], expected, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(predicted("new/a/02.png"), expected[2:3], rtol=1e-5)


def test_damaged_and_wrong_new_images_are_named(project: Path) -> None:
    context = context_of(project, training={"epochs": 1})
    ImageClassifier().run(context)
    packaged = load_packaged(context.directory)
    x, _ = draw()
    write_new(project, x[:3])
    whole = (project / "new" / "a" / "01.png").read_bytes()
    (project / "damaged").mkdir()
    (project / "damaged" / "cut.png").write_bytes(whole[:-40])
    (project / "damaged" / "text.png").write_text("no image")
    (project / "large").mkdir()
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(project / "large" / "one.png")
    (project / "empty").mkdir()
    np.savez(project / "two.npz", a=x, b=x)
    (project / "cut.npz").write_bytes((project / "new.npz").read_bytes()[:200])
    (project / "cut.idx").write_bytes((project / "new.idx").read_bytes()[:200])

    def said(name: str) -> str:
        with pytest.raises(DataError) as caught:
            opened = open_signals(project / name, name, packaged)
            list(predict_signals(packaged, opened, name))
        return str(caught.value)

    assert "damaged/cut.png: cannot be read" in said("damaged")
    assert "damaged/text.png: cannot be read" in said("damaged")
    assert f"large/one.png: is 30 × 20 pixels; the network takes {SIDE} × {SIDE}" in said("large")
    assert "empty: holds no images" in said("empty")
    assert "needs x or images or x_train, but holds a, b" in said("two.npz")
    assert "cannot be read as .npz" in said("cut.npz")
    assert "its length is not what its header says" in said("cut.idx")
    assert "no such file" in said("none.npz")
    np.savez(project / "wide.npz", x=np.zeros((2, 5, 6)))
    assert "images must be" in said("wide.npz")


def test_new_images_are_brought_to_the_size_and_colours_of_the_training(tmp_path: Path) -> None:
    forget_images()
    x, labels = draw(side=16)
    for number, (image, label) in enumerate(zip(x, labels, strict=True)):
        file = tmp_path / "images" / NAMES[label] / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    folder = {"source": "folder", "path": "images", "x_path": None, "t_path": None}
    context = context_of(tmp_path, dataset={**folder, "image_size": 8}, training={"epochs": 1})
    ImageClassifier().run(context)
    packaged = load_packaged(context.directory)

    opened = open_signals(tmp_path / "images", "images", packaged)
    found = np.concatenate(list(predict_signals(packaged, opened, "images")))

    assert isinstance(opened, ImageFiles)
    assert opened.names[0].startswith(f"{min(NAMES)}/")
    images = load_images(ImageRun.model_validate(context.config.run.model_dump()).dataset, tmp_path)
    np.testing.assert_allclose(found, packaged.classify(images.x), rtol=1e-4, atol=1e-6)


def standalone() -> Any:
    spec = importlib.util.find_spec("tunectl.training.standalone")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_large_image_gets_a_large_stem(tmp_path: Path) -> None:
    forget_images()
    x, labels = draw(side=64, colours=3)
    np.savez(tmp_path / "images.npz", x=x, y=labels)
    run = ImageRun.model_validate(
        {
            "dataset": {"source": "npz", "path": "images.npz", "class_names": NAMES},
            "model": {"type": "resnet18", "width": 64},
        }
    )
    objective = ImageClassifier()

    plan = objective.setup().prepare(run, tmp_path, "cpu").plan
    assert plan.to_json()["stem"] == "large"
    # ResNet-18 as published has 11,689,512 parameters with 1000 classes, so 1000 × 513 fewer here.
    n_parameters = objective.size(run, tmp_path).n_parameters
    assert n_parameters == 11_689_512 - 1000 * 513 + 3 * 513


@pytest.mark.parametrize(
    ("kind", "published"), [("resnet50", 25_557_032), ("resnet101", 44_549_160)]
)
def test_the_deeper_networks_are_those_published(kind: str, published: int, tmp_path: Path) -> None:
    forget_images()
    x, labels = draw(side=64, colours=3)
    np.savez(tmp_path / "images.npz", x=x, y=labels)
    run = ImageRun.model_validate(
        {
            "dataset": {"source": "npz", "path": "images.npz"},
            "model": {"type": kind, "width": 64},
        }
    )

    size = ImageClassifier().size(run, tmp_path)
    assert size.n_parameters == published - 1000 * 2049 + 3 * 2049


@pytest.mark.parametrize("correction", ["equalize", "clahe"])
def test_a_corrected_image_is_corrected_for_its_predictions_too(
    correction: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    from tunectl.training import brightness

    dataset = {"correction": correction, "clahe_tiles": 2}
    context = context_of(project, dataset=dataset)
    ImageClassifier().run(context)
    x, labels = draw()
    test = split_by_class(labels.astype(np.int64), ImageRun().data_split).test
    y_pred = np.load(context.directory.predictions_file)

    packaged = load_packaged(context.directory)
    predicted = packaged.predict(x[test].astype(np.float32))
    np.testing.assert_allclose(predicted, y_pred, rtol=1e-3, atol=1e-5)
    monkeypatch.setitem(sys.modules, "brightness", brightness)  # as it stands beside predict.py
    folder = context.directory.path
    save_file(torch.load(context.directory.weights_file), folder / "model.safetensors")
    np.testing.assert_allclose(
        standalone().Network(folder).predict(x[test]), y_pred, rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("correction", ["none", "equalize"])
def test_a_card_vouches_only_for_the_images_that_it_was_trained_on(
    correction: str, project: Path
) -> None:
    context = context_of(project, dataset={"correction": correction})
    ImageClassifier().run(context)

    def looked_at() -> DataFacts | None:
        network = load_packaged(context.directory)
        return look_at_data(context.directory, context.config, project, network)

    forget_images()
    facts = looked_at()
    assert facts is not None
    assert facts.x.shape == (3 * PER_CLASS, SIDE, SIDE)
    np.save(project / "x.npy", draw()[0][:, ::-1].transpose(0, 2, 1))  # others, of the same classes
    assert looked_at() is None


AUGMENTED = {
    "flip_horizontal": True, "flip_vertical": True, "shift": 0.1, "rotation": 10.0, "zoom": 0.1,
    "brightness": 0.2, "contrast": 0.2, "noise": 0.1,
}  # fmt: skip


def test_an_interrupted_trial_goes_on_to_the_bit_also_with_augmentation(project: Path) -> None:
    training = {"epochs": 4, "scheduler": "one_cycle", "clip_norm": 1.0, "early_stopping": 3}
    sections = {"augmentation": AUGMENTED, "training": training}
    whole = context_of(project, "val_loss", "whole", **sections)
    expected = ImageClassifier().run(whole)
    broken = context_of(project, "val_loss", "broken", stop_at_check=11, **sections)
    with pytest.raises(TrialInterrupted):
        ImageClassifier().run(broken)
    assert list(broken.directory.checkpoints_dir.iterdir())

    broken.stop_at_check = None
    resumed = ImageClassifier().run(broken)

    assert resumed.value == expected.value
    assert metrics_of(broken)["histories"] == metrics_of(whole)["histories"]
    for name in ("y_pred.npy", "weights/model_simplecnn_real.pth"):
        same = [one.directory.path / name for one in (broken, whole)]
        assert same[0].read_bytes() == same[1].read_bytes(), name


def test_augmentation_changes_the_training(project: Path) -> None:
    plain = context_of(project, "val_loss", "plain")
    changed = context_of(project, "val_loss", "changed", augmentation={"shift": 0.2})

    values = [ImageClassifier().run(one).value for one in (plain, changed)]
    assert values[0] != values[1]


def test_a_pruned_trial_leaves_its_histories(project: Path) -> None:
    context = context_of(project, stop_at=2)
    with pytest.raises(TrialPruned):
        ImageClassifier().run(context)

    document = metrics_of(context)
    assert len(document["histories"]["val_acc"]) == document["epochs"] == 2
    assert not context.directory.predictions_file.exists()


def test_classes_out_of_balance_are_reported(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    x, labels = draw()
    keep = np.concatenate([np.flatnonzero(labels < 2), np.flatnonzero(labels == 2)[:5]])
    np.save(project / "x.npy", x[keep])
    np.save(project / "t.npy", np.array(NAMES)[labels][keep])
    context = context_of(project, training={"class_weights": True, "label_smoothing": 0.1})
    objective = ImageClassifier()

    assert isinstance(objective, Advising)
    (advice,) = objective.advice(context.config.run, project)
    assert "5 of dot" in advice.message
    with caplog.at_level(logging.INFO, logger="test.objective"):
        objective.run(context)
    assert "out of balance" in caplog.text


def test_class_weights_count_the_same_however_a_batch_is_cut() -> None:
    labels = np.array([0, 0, 0, 1], dtype=np.int64)
    training = {"class_weights": True, "label_smoothing": 0.1}
    loss = make_loss(ImageRun.model_validate(run_of(training=training)).training, labels, 2)
    scores = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    classes = torch.from_numpy(labels)

    each = torch.nn.functional.cross_entropy(scores, classes, reduction="none", label_smoothing=0.1)
    whole = loss(scores, classes)
    torch.testing.assert_close(whole, (each * torch.tensor([4 / 6, 4 / 6, 4 / 6, 4 / 2])).mean())
    parts = [loss(scores[rows], classes[rows]) for rows in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(sum(parts) / 2, whole)


def test_it_can_be_rehearsed(project: Path) -> None:
    run = ImageRun.model_validate(run_of())
    objective = find_objective(run)
    assert isinstance(objective, ImageClassifier)

    result = objective.rehearse(run, Runtime(), project, "cpu")

    assert result.output_shape == (8, 3)
    assert result.gradients_finite
    assert result.n_parameters == objective.size(run, project).n_parameters


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"model": {"patch_size": 9}}, "model.patch_size"),
        ({"training": {"batch_size": 1}}, "training.batch_size"),
        ({"training": {"batch_size": 1000}}, "training.batch_size"),
        ({"dataset": {"class_names": ["a", "b"]}}, "dataset.class_names"),
    ],
)
def test_what_does_not_fit_is_named_with_its_key(
    sections: dict[str, Any], key: str, project: Path
) -> None:
    run = ImageRun.model_validate(run_of(**sections))

    assert key in {problem.key for problem in ImageClassifier().problems(run, project)}


def test_without_images_of_ones_own_it_reads_digits(tmp_path: Path) -> None:
    forget_images()
    images = load_images(ImageRun().dataset, tmp_path)

    assert images.x.shape == (1797, 1, 8, 8)
    assert images.names == tuple("0123456789")
    assert ImageClassifier().problems(ImageRun(), tmp_path) == []


def test_a_folder_is_listed_once_for_all_corners_of_a_search_space(tmp_path: Path) -> None:
    x, labels = draw()
    for number, (image, label) in enumerate(zip(x, labels, strict=True)):
        file = tmp_path / "images" / NAMES[label] / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    sizes = []
    objective = ImageClassifier()
    for image_size in (8, 16):
        dataset = {"source": "folder", "path": "images", "image_size": image_size}
        run = ImageRun.model_validate({**run_of(), "dataset": dataset})
        assert objective.misfits(run, tmp_path) == []
        sizes.append(objective.size(run, tmp_path).sample_values)
        if image_size == 8:
            shutil.rmtree(tmp_path / "images" / NAMES[0])  # which a second listing would notice
    assert sizes == [3 * 8 * 8, 3 * 16 * 16]
    assert ImageClassifier().size(run, tmp_path).n_samples == 2 * PER_CLASS
