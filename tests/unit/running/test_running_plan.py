"""What a `tune` would do: corners, warnings, samples, estimate, with an objective that is quick."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tunectl.config.schema import Runtime, Settings
from tunectl.config.search_schema import Direction
from tunectl.config.signal_run import TrainingRun
from tunectl.errors import DeviceError, ObjectiveError, Problem
from tunectl.objectives import registry
from tunectl.objectives.base import ModelSize, Outcome, Rehearsal, TrialContext
from tunectl.running.corners import bounds, corners
from tunectl.running.plan import Plan, make_plan, sample
from tunectl.search.space import SearchSpace

Make = Callable[..., Settings]


@dataclass
class Modelled:
    """An objective whose costs follow from its configuration."""

    tried: list[TrainingRun] = field(default_factory=list)
    metrics: Mapping[str, Direction] = field(default_factory=lambda: {"val_mse": "minimize"})
    epoch_metrics: Sequence[str] = ("val_mse",)
    needs_device: bool = True
    leaves_network: bool = True
    size_keys: Sequence[str] = ("model.hidden", "training.batch_size", "dataset.downsample_factor")

    def problems(self, run: TrainingRun, project: Path) -> list[Problem]:
        return self.misfits(run, project)

    def misfits(self, run: TrainingRun, project: Path) -> list[Problem]:
        if run.training.batch_size <= 50:
            return []
        return [Problem(key="training.batch_size", message="more than there is")]

    def size(self, run: TrainingRun, project: Path) -> ModelSize:
        return ModelSize(
            n_parameters=run.model.hidden**2,
            batch_size=run.training.batch_size,
            sample_values=100 // run.dataset.downsample_factor,
            n_samples=50,
        )

    def rate(
        self, run: TrainingRun, runtime: Runtime, project: Path, device: str, seconds: float
    ) -> float:
        return 1.0

    def rehearse(self, run: TrainingRun, runtime: Runtime, project: Path, device: str) -> Rehearsal:
        self.tried.append(run)
        if run.model.hidden > 1000:
            raise ObjectiveError("out of memory")
        return Rehearsal(
            input_shape=(run.training.batch_size, 100),
            output_shape=(run.training.batch_size, 2),
            n_parameters=run.model.hidden**2,
            gradients_finite=run.training.learning_rate < 5,
            loss=1.0,
            data_bytes=1,
            peak_memory_bytes=1,
            step_s=0.5,
            steps_per_epoch=4,
            epoch_s=float(run.model.hidden),
            disk_bytes=1000 * run.model.hidden,
        )

    def run(self, context: TrialContext) -> Outcome:
        raise AssertionError("a plan runs no trial")


@pytest.fixture
def objective(monkeypatch: pytest.MonkeyPatch) -> Modelled:
    modelled = Modelled()
    monkeypatch.setitem(registry.OBJECTIVES, "flow_cnn", lambda: modelled)
    return modelled


@pytest.fixture
def plan(objective: Modelled, make_settings: Make, tmp_path: Path) -> Callable[..., Plan]:
    def make(space: Mapping[str, Any], **study: Any) -> Plan:
        result = make_plan(make_settings(space, **study), tmp_path)
        assert list(tmp_path.iterdir()) == []
        return result

    return make


def space_of(make_settings: Make, specs: Mapping[str, Any]) -> SearchSpace:
    return SearchSpace(make_settings(specs).search.params_to_tune)


def said(plan: Plan) -> str:
    return "\n".join(str(warning) for warning in plan.warnings)


HIDDEN = {"type": "int", "low": 2, "high": 11, "step": 4}
BATCH = {"type": "categorical", "choices": [8, 2, 4]}
RESIDUAL = {"type": "categorical", "choices": [True, False]}


# -- corners -------------------------------------------------------------------------------------


def test_corners_are_reachable_ends_of_every_parameter(make_settings: Make) -> None:
    space = space_of(make_settings, {"model.hidden": HIDDEN, "training.batch_size": BATCH})

    found = corners(space, ["model.hidden", "training.batch_size", "model.type"])

    assert sorted(tuple(corner.values()) for corner in found) == [(2, 2), (2, 8), (10, 2), (10, 8)]


def test_corners_vary_what_a_condition_depends_on(make_settings: Make) -> None:
    when = {"model.use_residual": True}
    specs = {"model.hidden": {**HIDDEN, "when": when}, "model.use_residual": RESIDUAL}

    found = corners(space_of(make_settings, specs), ["model.hidden"])

    assert sorted(map(str, found)) == sorted(
        map(
            str,
            [
                {"model.use_residual": True, "model.hidden": 2},
                {"model.use_residual": True, "model.hidden": 10},
                {"model.use_residual": False},
            ],
        )
    )


def test_bounds_include_the_base_value_where_the_parameter_may_be_absent(
    make_settings: Make,
) -> None:
    when = {"model.use_residual": True}
    free = space_of(make_settings, {"model.hidden": HIDDEN})
    bound = space_of(
        make_settings,
        {"model.hidden": {**HIDDEN, "when": when}, "model.use_residual": RESIDUAL},
    )

    assert bounds(free, "model.hidden", 64) == (2, 10)
    assert bounds(bound, "model.hidden", 64) == (2, 64)
    assert bounds(SearchSpace({}), "model.hidden", 64) == (64, 64)


def test_a_value_between_the_ends_that_a_condition_asks_for_is_a_corner_too(
    make_settings: Make,
) -> None:
    rate = {"type": "float", "low": 0.1, "high": 0.2, "when": {"model.hidden": [6]}}
    space = space_of(make_settings, {"model.hidden": HIDDEN, "model.dropout_rate": rate})

    assert bounds(space, "model.dropout_rate", 0.0) == (0.0, 0.2)


# -- the plan ------------------------------------------------------------------------------------


def test_the_extremes_are_tried_and_each_configuration_once(
    plan: Callable[..., Plan], objective: Modelled
) -> None:
    factor = {"type": "int", "low": 1, "high": 4}
    made = plan(
        {
            "model.hidden": HIDDEN,
            "training.batch_size": BATCH,
            "dataset.downsample_factor": factor,
        }
    )

    assert made.rehearsal is not None
    tried = {
        name: tuple(getattr(made.rehearsal, name).parameters.values())
        for name in ("smallest", "largest", "slowest", "quickest")
    }
    # In the order of the keys: downsample_factor, hidden, batch_size.
    assert tried == {
        "smallest": (4, 2, 2),
        "largest": (1, 10, 8),
        "slowest": (1, 10, 2),
        "quickest": (4, 2, 8),
    }
    assert len(objective.tried) == 4


def test_a_space_without_sizes_is_tried_once(
    plan: Callable[..., Plan], objective: Modelled
) -> None:
    made = plan({"model.use_residual": RESIDUAL})

    assert len(objective.tried) == 1
    assert made.rehearsal is not None
    assert made.rehearsal.smallest == made.rehearsal.largest


def test_samples_are_the_same_for_the_same_seed_and_respect_conditions(
    make_settings: Make,
) -> None:
    when = {"model.use_residual": True}
    specs = {"model.hidden": {**HIDDEN, "when": when}, "model.use_residual": RESIDUAL}
    space = space_of(make_settings, specs)

    drawn = sample(space, 1, 20)

    assert drawn == sample(space, 1, 20) != sample(space, 2, 20)
    assert all(("model.hidden" in one) == one["model.use_residual"] for one in drawn)


def test_the_size_counts_points_types_and_conditions(plan: Callable[..., Plan]) -> None:
    when = {"model.use_residual": True}
    finite = plan({"model.hidden": {**HIDDEN, "when": when}, "model.use_residual": RESIDUAL})
    rate = {"type": "float", "low": 1e-4, "high": 1e-3}
    continuous = plan({"training.learning_rate": rate})

    assert finite.space.n_points == 6
    assert finite.space.by_type == {"categorical": 1, "int": 1}
    assert finite.space.conditions == {"model.hidden": when}
    assert continuous.space.n_points is None
    assert len(finite.samples) == len(continuous.samples) == 5


def test_the_estimate_lies_between_all_quick_and_all_slow(plan: Callable[..., Plan]) -> None:
    epochs = {"type": "int", "low": 10, "high": 30, "step": 10}
    made = plan({"model.hidden": HIDDEN, "training.epochs": epochs}, n_trials=7)

    estimate = made.estimate
    assert estimate is not None
    assert estimate.n_trials == 7
    assert (estimate.min_time_s, estimate.max_time_s) == (7 * 10 * 2, 7 * 30 * 10)
    assert (estimate.min_disk_bytes, estimate.max_disk_bytes) == (7 * 2000, 7 * 10_000)


def test_a_grid_and_a_timeout_shorten_the_estimate(plan: Callable[..., Plan]) -> None:
    grid = plan({"model.hidden": HIDDEN}, n_trials=7, sampler={"name": "GridSampler"})
    timed = plan({"model.hidden": HIDDEN}, n_trials=7, timeout=50)

    assert grid.estimate is not None and timed.estimate is not None
    assert grid.estimate.n_trials == 3
    assert timed.estimate.max_time_s == 50 + 100 * 10  # the trial that is running is finished


def test_an_unknown_device_is_an_error(
    objective: Modelled, make_settings: Make, tmp_path: Path
) -> None:
    settings = make_settings()
    runtime = settings.surroundings.runtime.model_copy(update={"device": "cuda:77"})
    surroundings = settings.surroundings.model_copy(update={"runtime": runtime})

    with pytest.raises(DeviceError, match="cuda:77"):
        make_plan(settings.model_copy(update={"surroundings": surroundings}), tmp_path)


# -- warnings ------------------------------------------------------------------------------------


def test_a_sensible_search_gives_no_warnings(plan: Callable[..., Plan]) -> None:
    rate = {"type": "float", "low": 1e-5, "high": 1e-2, "log": True}

    assert said(plan({"training.learning_rate": rate, "model.hidden": HIDDEN})) == ""


@pytest.mark.parametrize(
    ("specs", "study", "warning"),
    [
        (
            {"training.weight_decay": {"type": "float", "low": 1e-6, "high": 1e-3}},
            {},
            "params_to_tune.training.weight_decay: 1e-06 to 0.001 without log: true",
        ),
        (
            {"training.learning_rate": {"type": "float", "low": 0.01, "high": 0.5}},
            {},
            "params_to_tune.training.learning_rate: up to 0.5",
        ),
        ({}, {"n_trials": 10}, "study.n_trials: 10, but the first 10 trials of TPESampler"),
        ({}, {"n_trials": 5}, "study.n_trials: 5, but MedianPruner prunes nothing before 5"),
        (
            {},
            {"sampler": {"name": "GPSampler", "kwargs": {"n_startup_trials": 30}}},
            "the first 30 trials of GPSampler",
        ),
        (
            {"training.epochs": {"type": "int", "low": 5, "high": 40}},
            {},
            "study.pruner: no trial of 5 epochs can be pruned: MedianPruner waits for 10 epochs",
        ),
        (
            {},
            {
                "n_trials": 9,
                "pruner": {
                    "name": "PatientPruner",
                    "kwargs": {"wrapped_pruner": {"name": "PFLPruner"}, "patience": 3},
                },
            },
            "study.n_trials: 9, but PFLPruner prunes nothing before 10",
        ),
        (
            {"model.use_residual": RESIDUAL},
            {"sampler": {"name": "CmaEsSampler"}},
            "study.sampler.name: CmaEsSampler",
        ),
        (
            {"training.epochs": {"type": "int", "low": 5, "high": 10}},
            {},
            "study.pruner: no trial can be pruned",
        ),
        (
            {"model.use_residual": RESIDUAL},
            {},
            "the space has no more than 2 points: trials will repeat earlier ones",
        ),
        (
            {"model.use_residual": RESIDUAL},
            {"sampler": {"name": "BruteForceSampler"}},
            "the space has no more than 2 points: the study ends after them",
        ),
        (
            {"training.batch_size": {"type": "int", "low": 2, "high": 64}},
            {},
            "training.batch_size: trials with training.batch_size=64 will fail: "
            "training.batch_size: more than there is",
        ),
        (
            {"model.hidden": {"type": "int", "low": 8, "high": 2000}},
            {},
            "model.hidden=2000: out of memory",
        ),
        (
            {"training.learning_rate": {"type": "categorical", "choices": [7.0]}},
            {},
            "the gradients of the first batch are not finite",
        ),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(
    plan: Callable[..., Plan],
    objective: Modelled,
    specs: Mapping[str, Any],
    study: Mapping[str, Any],
    warning: str,
) -> None:
    objective.size_keys = (*objective.size_keys, "training.learning_rate")
    startup = {"n_startup_trials": 5, "n_warmup_steps": 10}
    pruner = {"name": "MedianPruner", "kwargs": startup}

    made = plan(specs, **{"n_trials": 20, "pruner": pruner, **study})

    assert warning in said(made)


def test_one_misfit_is_said_once_however_many_corners_have_it(plan: Callable[..., Plan]) -> None:
    batch = {"type": "int", "low": 2, "high": 64}

    made = plan({"training.batch_size": batch, "model.hidden": HIDDEN})

    assert said(made).count("will fail") == 1


def test_corners_that_do_not_fit_or_break_a_constraint_are_not_tried(
    objective: Modelled, make_settings: Make, tmp_path: Path
) -> None:
    batch = {"type": "int", "low": 2, "high": 64}
    settings = make_settings({"training.batch_size": batch, "model.hidden": HIDDEN})
    search = settings.search.model_copy(update={"constraints": ("model.hidden < 10",)})

    make_plan(settings.model_copy(update={"search": search}), tmp_path)

    assert [(run.training.batch_size, run.model.hidden) for run in objective.tried] == [(2, 2)]


def test_constraints_that_leave_nothing_are_a_warning(
    objective: Modelled, make_settings: Make, tmp_path: Path
) -> None:
    settings = make_settings({"model.hidden": HIDDEN})
    search = settings.search.model_copy(update={"constraints": ("model.hidden > 50",)})

    made = make_plan(settings.model_copy(update={"search": search}), tmp_path)

    assert "constraints: only 0 of 100 random configurations satisfy them" in said(made)
    assert (made.rehearsal, made.estimate) == (None, None)
