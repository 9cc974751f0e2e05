from __future__ import annotations

import datetime as dt
import gc
import json
import logging
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from told import Told

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import TrialConfig
from tunectl.config.signal_run import TrainingRun
from tunectl.errors import (
    DataError,
    DeviceError,
    DivergedError,
    MemoryExhaustedError,
    StorageError,
)
from tunectl.objectives import figures, network_trial
from tunectl.objectives.base import (
    Objective,
    Outcome,
    TrialInterrupted,
    TrialPruned,
    TrialTimedOut,
)
from tunectl.objectives.costs import COSTS
from tunectl.objectives.flow_cnn import FlowCnn
from tunectl.training.architecture import Architecture
from tunectl.training.data import Scaler, forget_datasets, split_indices
from tunectl.training.models import FlowNet, build_from

NAMES = ["gas_velocity", "gas_fraction", "a/b $x$ µ"]
CURVES_AND_METRICS = {"learning_curves.png", "metrics.json"}


@pytest.fixture(autouse=True)
def _fresh_cache() -> None:
    forget_datasets()


def _write_data(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    t = rng.uniform(0, 1, size=(40, 3))
    time = np.linspace(0, 1, 48)
    waves = np.sin(6 * time + 4 * t[:, :1, None]) * (0.5 + t[:, 1:2, None])
    np.save(folder / "x.npy", np.repeat(waves, 4, axis=1) + rng.normal(0, 0.05, (40, 4, 48)))
    np.save(folder / "t.npy", t * [10.0, 1.0, 5.0])
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return _write_data(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Told, Outcome]:
    """Return a trial that came to its end, for tests that only look at what it left."""
    context = _context(
        _write_data(tmp_path_factory.mktemp("finished")),
        training={"epochs": 6, "learning_rate": 0.02},
    )
    return context, _run(context)


def _context(project: Path, **changes: Any) -> Told:
    sections: dict[str, Any] = {
        "dataset": {
            "source": "npy",
            "x_path": "x.npy",
            "t_path": "t.npy",
            "target_names": NAMES,
            "downsample_factor": 2,
        },
        "model": {"hidden": 4},
        "training": {"epochs": 4},
        "study": {
            "name": "s",
            "metric": "val_mse",
            "direction": "minimize",
            "values": ["val_mse"],
        },
        "runtime": {"threads_per_worker": 1},
        "number": 3,
        "parameters": {},
    }
    batch_parts = changes.pop("batch_parts", 1)
    told = ("stop_at", "stop_with", "stop_at_check", "fail_at_settle", "device")
    stop = {key: changes.pop(key) for key in told if key in changes}
    for name, section in changes.items():
        sections[name] = {**sections.get(name, {}), **section}
    sections["batch_parts"] = batch_parts
    started_at = dt.datetime(2026, 1, 31, 12, 0, 59)
    directory = TrialDir.create(project / "outputs", started_at)
    config = TrialConfig.model_validate(sections)
    return Told(config=config, project=project, directory=directory, **stop)


def _run(context: Told) -> Outcome:
    return FlowCnn().run(context)


def _left(directory: TrialDir) -> set[str]:
    """Return the files that a trial left, apart from what it could go on from."""
    return {
        str(path.relative_to(directory.path))
        for path in directory.path.rglob("*")
        if path.is_file() and path.parent != directory.checkpoints_dir
    }


def _metrics(directory: TrialDir) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(directory.metrics_file.read_text(encoding="utf-8"))
    return document


def test_it_is_an_objective_with_errors_and_costs_as_metrics() -> None:
    objective: Objective = FlowCnn()
    assert dict(objective.metrics or {}) == {
        "val_mse": "minimize",
        "val_mae": "minimize",
        "val_rmse": "minimize",
        "val_r2": "maximize",
        "n_parameters": "minimize",
        "train_time_s": "minimize",
        "inference_time_ms": "minimize",
    }
    assert set(objective.epoch_metrics) == {"val_mse", "val_mae", "val_rmse", "val_r2"}


def test_asking_it_imports_nothing_heavy() -> None:
    code = (
        "import sys; import tunectl.objectives.flow_cnn as f; f.FlowCnn().metrics; "
        "print({'torch', 'matplotlib', 'sklearn', 'optuna'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_complete_trial_leaves_everything_and_nothing_half_written(
    finished: tuple[Told, Outcome],
) -> None:
    context, _ = finished
    assert _left(context.directory) == {
        *CURVES_AND_METRICS,
        "y_pred.npy",
        "y_true.npy",
        "scaling.json",
        "model.json",
        "evaluation_summary.txt",
        "weights/model_simplecnn_real.pth",
        "evaluation_plots/target_0_gas_velocity.png",
        "evaluation_plots/target_1_gas_fraction.png",
        "evaluation_plots/target_2_a_b_x.png",
        "evaluation_plots/overview.png",
    }


def test_the_outcome_is_that_of_the_best_epoch_and_agrees_with_the_files(
    finished: tuple[Told, Outcome],
) -> None:
    context, outcome = finished
    document = _metrics(context.directory)

    history = document["histories"]["val_mse"]
    assert outcome.value == min(history) == document["val_mse"]
    assert outcome.best_epoch == document["best_epoch"] == 1 + history.index(min(history))
    assert outcome.epochs == len(history) == len(context.reported) == 6
    assert {epoch: m["val_mse"] for epoch, m in context.reported.items()} == dict(
        enumerate(history, 1)
    )
    assert set(outcome.metrics) - set(COSTS) == {
        f"{split}_{name}" for split in ("val", "test") for name in ("mse", "mae", "rmse", "r2")
    }
    assert {name: document[name] for name in outcome.metrics} == dict(outcome.metrics)
    assert dict(outcome.attributes) == {
        f"target_{i}_r2": document["per_target"][name]["r2"] for i, name in enumerate(NAMES)
    }


def test_predictions_and_truth_are_the_test_split_in_own_units(
    finished: tuple[Told, Outcome],
) -> None:
    context, outcome = finished
    project = context.project
    y_pred, y_true = (
        np.load(file) for file in (context.directory.predictions_file, context.directory.truth_file)
    )
    test = split_indices(40, context.config.run.as_kind(TrainingRun).data_split).test
    np.testing.assert_array_equal(y_true, np.load(project / "t.npy")[test].astype(np.float32))
    assert y_pred.shape == y_true.shape == (6, 3)
    assert np.mean((y_pred - y_true) ** 2) == pytest.approx(outcome.metrics["test_mse"], rel=1e-5)
    per_target = _metrics(context.directory)["per_target"]["gas_velocity"]
    assert np.mean(np.abs(y_pred - y_true)[:, 0]) == pytest.approx(per_target["mae"], rel=1e-5)


@pytest.mark.parametrize("normalize", [True, False])
def test_the_directory_is_enough_to_predict_again(
    project: Path, normalize: bool, finished: tuple[Told, Outcome]
) -> None:
    context, _ = finished
    if not normalize:
        context = _context(project, training={"epochs": 1, "normalize_targets": False})
        _run(context)
    plan = json.loads(context.directory.model_file.read_text(encoding="utf-8"))
    scaling = json.loads(context.directory.scaling_file.read_text(encoding="utf-8"))
    assert plan["input_shape"] == [2, 24]
    assert plan["target_names"] == NAMES

    model = build_from(Architecture.from_json(plan)).eval()
    model.load_state_dict(torch.load(context.directory.weights_file, weights_only=True))
    x = np.load(project / "x.npy").astype(np.float32)
    kept = [c for c in range(x.shape[1]) if c not in plan["drop_channels"]]
    x = x[split_indices(40, context.config.run.as_kind(TrainingRun).data_split).test][:, kept]
    x = x.reshape(len(x), len(kept), -1, plan["downsample_factor"]).mean(axis=3)
    inputs = Scaler.from_json(scaling["inputs"])
    x = (x - np.array(inputs.mean)[:, None]) / np.array(inputs.scale)[:, None]
    with torch.inference_mode():
        y = model(torch.tensor(x, dtype=torch.float32)).numpy()
    if scaling["normalize_targets"]:
        y = Scaler.from_json(scaling["targets"]).restore(y)
    np.testing.assert_allclose(y, np.load(context.directory.predictions_file), rtol=1e-3, atol=1e-4)


def _repeatable(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics without times, which are the machine's."""
    return {name: value for name, value in metrics.items() if not re.search("time", name)}


def test_the_same_configuration_gives_the_same_bits(project: Path) -> None:
    one, other = (_context(project, training={"epochs": 2}) for _ in range(2))
    first, second = _run(one), _run(other)
    assert (first.value, first.attributes) == (second.value, second.attributes)
    assert _repeatable(first.metrics) == _repeatable(second.metrics)
    assert _repeatable(_metrics(one.directory)) == _repeatable(_metrics(other.directory))
    assert one.directory.predictions_file.read_bytes() == (
        other.directory.predictions_file.read_bytes()
    )


@pytest.mark.parametrize("why", [TrialPruned, TrialTimedOut])
def test_a_pruned_trial_leaves_its_histories_and_no_evaluation(
    project: Path, why: type[Exception]
) -> None:
    context = _context(project, stop_at=2, stop_with=why)
    with pytest.raises(why, match="epoch 2"):
        _run(context)
    assert _left(context.directory) == CURVES_AND_METRICS
    document = _metrics(context.directory)
    assert len(document["histories"]["val_mse"]) == document["epochs"] == 2
    assert document["val_mse"] == min(document["histories"]["val_mse"])
    assert not [name for name in document if name.startswith("test_")]
    assert "per_target" not in document


def test_an_interrupted_trial_leaves_nothing_final(project: Path) -> None:
    context = _context(project, stop_at=2, stop_with=TrialInterrupted)
    with pytest.raises(TrialInterrupted):
        _run(context)
    assert _left(context.directory) == set()


def test_a_diverged_trial_is_named_and_leaves_its_histories(project: Path) -> None:
    context = _context(project, training={"learning_rate": 1e30, "optimizer": "sgd"})
    with pytest.raises(DivergedError, match="epoch 1"):
        _run(context)
    assert _left(context.directory) == CURVES_AND_METRICS
    assert _metrics(context.directory)["best_epoch"] is None


def test_how_much_is_an_explosion_stands_in_the_trials_configuration(project: Path) -> None:
    training = {"learning_rate": 1e3, "use_weighted_loss": False}
    tolerant = _context(project, training=training, failures={"explosion": 1e30})
    strict = _context(project, training=training, failures={"explosion": 10.0})
    assert _run(tolerant).epochs == 4
    with pytest.raises(DivergedError, match=r"more than 10 times that of a constant guess"):
        _run(strict)
    history = _metrics(strict.directory)["histories"]["val_mse"]
    assert history == _metrics(tolerant.directory)["histories"]["val_mse"][: len(history)]


def test_told_to_stop_before_the_training_a_trial_does_not_begin(project: Path) -> None:
    context = _context(project, stop_at_check=1, stop_with=TrialInterrupted)
    with pytest.raises(TrialInterrupted):
        _run(context)
    assert context.reported == {}
    assert _left(context.directory) == set()


def test_told_to_stop_before_it_goes_on_a_trial_keeps_the_checkpoint_that_it_has(
    project: Path,
) -> None:
    context = _context(project, stop_at_check=10, stop_with=TrialInterrupted)
    with pytest.raises(TrialInterrupted):
        _run(context)
    before = {file: file.read_bytes() for file in context.directory.checkpoints_dir.iterdir()}
    context.checks, context.stop_at_check = 0, 1
    with pytest.raises(TrialInterrupted):
        _run(context)
    after = {file: file.read_bytes() for file in context.directory.checkpoints_dir.iterdir()}
    assert before == after != {}


def test_between_training_and_evaluation_nothing_is_lost(
    project: Path, finished: tuple[Told, Outcome]
) -> None:
    _, whole = finished
    training = {"epochs": 6, "learning_rate": 0.02}
    # Before the training, after each of its 6 × 7 batches, and then once more.
    context = _context(project, training=training, stop_at_check=44, stop_with=TrialInterrupted)
    with pytest.raises(TrialInterrupted):
        _run(context)
    assert sorted(context.reported) == [1, 2, 3, 4, 5, 6]
    context.reported.clear()

    outcome = _run(context)

    assert context.reported == {}, "it trained again"
    assert (outcome.value, outcome.best_epoch) == (whole.value, whole.best_epoch)
    assert _repeatable(outcome.metrics) == _repeatable(whole.metrics)


def test_no_checkpoint_is_written_before_what_was_reported_is(project: Path) -> None:
    first = _context(project, fail_at_settle=1)
    with pytest.raises(StorageError):
        _run(first)
    assert set(first.reported) == {1}
    assert list(first.directory.checkpoints_dir.iterdir()) == []

    # The second one may be due after some epoch, and is when the trial is told to stop.
    second = _context(project, fail_at_settle=2, stop_at_check=20, stop_with=TrialInterrupted)
    with pytest.raises(StorageError):
        _run(second)
    saved = [path.name for path in second.directory.checkpoints_dir.iterdir()]
    assert saved == ["epoch-000001-batch-000000.pt"]


def test_a_long_epoch_is_saved_on_its_way_and_gone_on_with_in_its_middle(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_trial, "LONG_EPOCH_S", 0.0)
    killed = _context(project)
    killed.stop_at_check, killed.stop_with = 5, KeyboardInterrupt  # as if there was no warning

    with pytest.raises(KeyboardInterrupt):
        _run(killed)
    saved = [path.name for path in killed.directory.checkpoints_dir.iterdir()]
    assert re.fullmatch(r"epoch-000000-batch-00000[1-3]\.pt", max(saved))

    monkeypatch.undo()
    killed.stop_at_check = None
    other = tmp_path / "whole"
    other.mkdir()
    whole = _context(_write_data(other))
    assert _run(killed).value == _run(whole).value
    assert killed.reported == whole.reported


def test_a_trial_over_its_time_when_it_is_taken_up_has_the_histories_of_its_checkpoint(
    project: Path,
) -> None:
    context = _context(project, stop_at=2, stop_with=TrialInterrupted)
    with pytest.raises(TrialInterrupted):
        _run(context)
    context.checks, context.stop_at_check, context.stop_with = 0, 1, TrialTimedOut
    with pytest.raises(TrialTimedOut):
        _run(context)
    assert len(_metrics(context.directory)["histories"]["val_mse"]) == 2


def test_a_trial_in_halves_comes_to_its_end_and_gives_the_same_bits_again(project: Path) -> None:
    one, other = (_context(project, batch_parts=2, training={"batch_size": 8}) for _ in range(2))
    whole = _context(project, training={"batch_size": 8})
    values = [_run(context).value for context in (one, other, whole)]
    assert values[0] == values[1] != values[2]
    assert one.directory.predictions_file.read_bytes() == (
        other.directory.predictions_file.read_bytes()
    )


@pytest.mark.parametrize("stop_at", [None, 1])
def test_the_network_is_let_go_however_the_trial_ends(project: Path, stop_at: int | None) -> None:
    kept: list[object] = []
    try:
        kept.append(_run(_context(project, stop_at=stop_at, training={"epochs": 1})))
    except TrialPruned as error:
        kept.append(error)  # whoever keeps the error must not keep the network
    assert not [thing for thing in gc.get_objects() if type(thing) is FlowNet]


def test_a_figure_that_fails_does_not_cost_the_trial(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no font")

    monkeypatch.setattr(figures, "draw_learning_curves", fail)
    monkeypatch.setattr(figures, "draw_predictions", fail)
    context = _context(project)
    with caplog.at_level(logging.WARNING):
        _run(context)
    assert context.directory.metrics_file.is_file()
    assert "no learning curves: RuntimeError: no font" in caplog.text
    assert "no evaluation plots" in caplog.text


def test_a_target_that_is_constant_in_the_test_split_has_no_r2(project: Path) -> None:
    t = np.load(project / "t.npy")
    t[:, 1] = 0.5
    np.save(project / "t.npy", t)
    context = _context(project, training={"epochs": 1})
    outcome = _run(context)
    assert set(outcome.attributes) == {"target_0_r2", "target_2_r2"}
    assert _metrics(context.directory)["per_target"]["gas_fraction"]["r2"] is None
    assert "none" in context.directory.summary_file.read_text(encoding="utf-8")


def test_the_summary_is_a_table_of_all_targets(finished: tuple[Told, Outcome]) -> None:
    context, outcome = finished
    text = context.directory.summary_file.read_text(encoding="utf-8")
    assert "28 training, 6 validation, 6 test" in text
    for words in ("gas_velocity", "m/s", "RMSE", "R²", f"{outcome.metrics['test_mae']:.4g}"):
        assert words in text


def test_parameters_that_do_not_fit_the_data_are_named(project: Path) -> None:
    with pytest.raises(DataError) as raised:
        _run(_context(project, dataset={"downsample_factor": 49}, training={"batch_size": 30}))
    assert {problem.key for problem in raised.value.problems} == {
        "dataset.downsample_factor",
        "training.batch_size",
    }


def test_a_device_that_is_not_there(project: Path) -> None:
    with pytest.raises(DeviceError, match="cuda:99"):
        _run(_context(project, device="cuda:99"))


def test_problems_are_those_of_configuration_and_data(project: Path) -> None:
    run = _context(project).config.run
    assert FlowCnn().problems(run, project) == []
    (project / "t.npy").unlink()
    assert [problem.key for problem in FlowCnn().problems(run, project)] == ["dataset.t_path"]


def test_running_out_of_memory_says_what_needs_less(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(self: FlowNet, x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(FlowNet, "forward", exhausted)
    context = _context(project)
    with pytest.raises(MemoryExhaustedError, match=r"out of memory on cpu: .*batch_size"):
        _run(context)
    assert _left(context.directory) == set()


def test_images_are_read_by_the_2d_network(project: Path) -> None:
    x = np.load(project / "x.npy").reshape(40, 4, 6, 8)
    np.save(project / "x.npy", x)
    context = _context(project, training={"epochs": 1})
    _run(context)
    plan = json.loads(context.directory.model_file.read_text(encoding="utf-8"))
    assert (plan["kind"], plan["input_shape"]) == ("cnn2d", [2, 6, 4])
