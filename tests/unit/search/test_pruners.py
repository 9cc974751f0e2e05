"""Pruners by name, and what the PFL pruner does to trials that are stored."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.pruners import PatientPruner
from optuna.trial import TrialState, create_trial

from tunectl.config.search_schema import Component, Direction
from tunectl.errors import ConfigError
from tunectl.search.pruners import PRUNERS, PFLPruner, make_pruner

EPOCHS = 50
EPOCHS_KEY = "training.epochs"
ENDS = tuple(0.1 * k for k in range(1, 11))


def curve(end: float, fall: float = 1.0, rate: float = 0.1, epochs: int = EPOCHS) -> list[float]:
    """Return an exponential decay towards `end`."""
    return [end + fall * math.exp(-rate * epoch) for epoch in range(1, epochs + 1)]


def study_of(
    ends: Sequence[float] = ENDS,
    direction: Direction = "minimize",
    storage: str | None = None,
    epochs: int = EPOCHS,
) -> optuna.Study:
    """Return a study with one complete trial per end."""
    study = optuna.create_study(direction=direction, storage=storage, study_name="s")
    for end in ends:
        add(study, curve(end, epochs=epochs), value=end)
    return study


def add(
    study: optuna.Study,
    values: Sequence[float],
    state: TrialState = TrialState.COMPLETE,
    value: float | None = None,
    **attributes: Any,
) -> None:
    steps = dict(enumerate(values, start=1))
    study.add_trial(create_trial(state=state, value=value, intermediate_values=steps, **attributes))


def pruned_at(
    pruner: PFLPruner, study: optuna.Study, values: Sequence[float], epochs: int | None = None
) -> int | None:
    """Return the epoch after which a new trial with these values is pruned."""
    trial = study.ask()
    if epochs is not None:
        trial.suggest_int(EPOCHS_KEY, epochs, epochs)
    for epoch, value in enumerate(values, start=1):
        trial.report(value, epoch)
        if pruner.prune(study, study.get_trials()[trial.number]):
            return epoch
    return None


def mirrored(values: Sequence[float]) -> list[float]:
    return [-value for value in values]


# -- PFL -----------------------------------------------------------------------------------------


def test_a_trial_that_will_end_worse_than_the_k_best_is_pruned_as_soon_as_may_be() -> None:
    assert pruned_at(PFLPruner(), study_of(), curve(1.5)) == 10
    assert pruned_at(PFLPruner(n_warmup_epochs=17), study_of(), curve(1.5)) == 17
    assert pruned_at(PFLPruner(top_k=2), study_of(), curve(0.3)) == 10


def test_a_trial_that_still_looks_bad_but_falls_far_enough_is_kept() -> None:
    slow = curve(0.2, fall=3.0, rate=0.08)

    assert slow[9] > 1.5
    assert pruned_at(PFLPruner(top_k=5), study_of(), slow) is None


def test_a_maximised_study_is_the_mirror_of_a_minimised_one() -> None:
    study = study_of((), direction="maximize")
    for k in range(1, 11):
        add(study, mirrored(curve(0.1 * k)), value=-0.1 * k)

    assert pruned_at(PFLPruner(), study, mirrored(curve(1.5))) == 10
    assert pruned_at(PFLPruner(), study, mirrored(curve(0.2, fall=3.0, rate=0.08))) is None


def test_only_complete_trials_count_as_startup_and_as_the_best() -> None:
    study = study_of(ends=[0.1 * k for k in range(1, 10)])
    add(study, curve(0.01), TrialState.PRUNED, value=0.01)
    add(study, curve(0.01), TrialState.FAIL)
    assert pruned_at(PFLPruner(), study, curve(1.5)) is None

    add(study, curve(1.0), value=1.0)
    add(study, curve(0.01), TrialState.PRUNED, value=0.01)
    assert pruned_at(PFLPruner(), study, curve(1.5)) == 10
    assert pruned_at(PFLPruner(), study, curve(0.95)) is None


def test_the_worst_of_those_there_are_counts_while_there_are_fewer_than_k() -> None:
    study = study_of(ends=[0.1, 0.2])

    assert pruned_at(PFLPruner(n_startup_trials=2), study, curve(1.5)) == 10
    assert pruned_at(PFLPruner(n_startup_trials=0), optuna.create_study(), curve(1.5)) is None


def test_a_trial_whose_best_epoch_is_among_the_k_best_is_never_pruned() -> None:
    values = [*curve(0.5)[:9], 0.05, *(1.0 + 0.1 * epoch for epoch in range(40))]

    assert pruned_at(PFLPruner(top_k=1), study_of(), values) is None


def test_a_noisy_curve_gets_the_benefit_of_its_noise() -> None:
    random = np.random.default_rng(0)
    study = study_of(ends=[0.90] * 10)
    smooth = [1.0 + 0.5 * math.exp(-epoch) for epoch in range(1, 31)]
    noisy = [value + 0.06 * z for value, z in zip(smooth, random.standard_normal(30), strict=True)]
    first = next(epoch for epoch, value in enumerate(noisy, start=1) if value <= 0.9)

    assert pruned_at(PFLPruner(), study, smooth) == 10
    assert first > 12  # so it had to survive the pruner before it was good
    assert pruned_at(PFLPruner(), study, noisy) is None


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_values_that_are_no_numbers_are_passed_over(broken: float) -> None:
    study = study_of()
    values = curve(1.5)
    values[3] = values[9] = broken

    # No verdict after the tenth epoch, which says nothing, but after the next one.
    assert pruned_at(PFLPruner(), study, values) == 11
    assert pruned_at(PFLPruner(), study, [broken] * EPOCHS) is None


def test_an_infinite_end_is_no_mark_to_reach() -> None:
    study = study_of(ends=[0.1 * k for k in range(1, 10)])
    add(study, curve(1.0), value=-math.inf)

    assert pruned_at(PFLPruner(), study, curve(1.5)) is None
    add(study, curve(1.0), value=1.0)
    assert pruned_at(PFLPruner(top_k=1), study, curve(0.05)) is None


def test_a_trial_that_breaks_a_constraint_is_no_mark_to_reach() -> None:
    study = study_of(ends=[0.5] * 10)
    trial = study.ask()
    trial.set_constraint("size", 1.0)
    study.tell(trial, 0.01)

    assert pruned_at(PFLPruner(top_k=1), study, curve(0.4)) is None


def test_the_target_epoch_is_the_argument_or_the_trials_own_or_the_longest() -> None:
    # It ends at 1.02 after 50 epochs, 0.60 after 100 and 0.41 after 200.
    slow = curve(0.4, fall=1.7, rate=0.02, epochs=60)
    long = study_of(ends=[0.61] * 10, epochs=200)
    short = study_of(ends=[0.61] * 10, epochs=50)

    assert pruned_at(PFLPruner(target_epoch=50), long, slow[:40]) is not None
    assert pruned_at(PFLPruner(target_epoch=200), short, slow[:40]) is None
    assert pruned_at(PFLPruner(target_epoch=None), long, slow[:40]) is None
    assert pruned_at(PFLPruner(target_epoch=None), short, slow[:40]) is not None
    assert pruned_at(PFLPruner(target_epoch=None), short, slow[:40], epochs=200) is None


def test_a_restart_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    study = study_of(storage=url)
    trial = study.ask()
    for epoch, value in enumerate(curve(1.5)[:12], start=1):
        trial.report(value, epoch)

    reopened = optuna.load_study(study_name="s", storage=url, pruner=PFLPruner())
    assert optuna.Trial(reopened, trial._trial_id).should_prune()


def test_gaps_and_the_order_of_steps_do_not_matter() -> None:
    values = dict(enumerate(curve(1.5), start=1))
    study = study_of()
    trial = study.ask()
    for epoch in (2, 12, 5, 3, 9, 1):
        trial.report(values[epoch], epoch)

    assert PFLPruner().prune(study, study.get_trials()[trial.number])


# -- by name -------------------------------------------------------------------------------------

COMPONENTS: Mapping[str, dict[str, Any]] = {
    "HyperbandPruner": {"max_resource": 40},
    "MedianPruner": {"n_startup_trials": 5},
    "NopPruner": {},
    "PFLPruner": {"target_epoch": None},
    "PatientPruner": {"wrapped_pruner": None, "patience": 3},
    "PercentilePruner": {"percentile": 25},
    "SuccessiveHalvingPruner": {"min_resource": "auto"},
    "ThresholdPruner": {"upper": 3},
    "WilcoxonPruner": {"p_threshold": 0.2},
}


@pytest.mark.parametrize("name", sorted(PRUNERS))
def test_every_pruner_is_made_by_name_without_a_warning_and_can_judge(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pruner = make_pruner(Component(name=name, kwargs=COMPONENTS[name]))
    study = study_of()
    trial = study.ask()
    for epoch, value in enumerate(curve(1.5)[:20], start=1):
        trial.report(value, epoch)

    assert isinstance(pruner, PRUNERS[name])
    assert pruner.prune(study, study.get_trials()[trial.number]) in (True, False)


def test_a_pruner_may_wrap_another_that_wraps_another() -> None:
    inner = {"name": "MedianPruner", "kwargs": {"n_startup_trials": 1}}
    middle = {"name": "PatientPruner", "kwargs": {"wrapped_pruner": inner, "patience": 1}}
    component = Component(name="PatientPruner", kwargs={"wrapped_pruner": middle, "patience": 2})

    pruner = make_pruner(component)

    study = optuna.create_study(pruner=pruner)
    add(study, curve(0.1), value=0.1)
    trial = study.ask()
    said = []
    for epoch in range(1, 8):
        trial.report(2.0 + epoch, epoch)
        said.append(trial.should_prune())
    assert isinstance(pruner, PatientPruner)
    assert said.index(True) == 3  # epochs 2, 3 and 4 are no better than the first
    make_pruner(Component(name="PatientPruner", kwargs={"wrapped_pruner": None, "patience": 1}))


@pytest.mark.parametrize(
    ("name", "kwargs", "key", "words"),
    [
        ("MedianPruner", {"n_warmup_step": 1}, ".n_warmup_step", "did you mean n_warmup_steps"),
        ("PercentilePruner", {"percentile": 200.0}, "", "between 0 and 100"),
        ("PercentilePruner", {}, "", "PercentilePruner needs percentile"),
        ("PatientPruner", {"patience": 1}, "", "needs wrapped_pruner: {name: …, kwargs: {…}} or"),
        ("PFLPruner", {"top_k": 0}, "", "top_k must be at least 1, not 0"),
        ("PFLPruner", {"target_epoch": "5"}, ".target_epoch", "a whole number or null, not '5'"),
        ("HyperbandPruner", {"reduction_factor": 1}, ".reduction_factor", "must be at least 2"),
        ("HyperbandPruner", {"max_resource": "all"}, "", "integer or 'auto'"),
        ("MedianPruner", {"n_startup_trials": None}, ".n_startup_trials", "whole number, not None"),
    ],
)
def test_a_wrong_argument_is_an_error_at_its_own_key(
    name: str, kwargs: dict[str, Any], key: str, words: str
) -> None:
    check(Component(name=name, kwargs=kwargs), f"study.pruner.kwargs{key}", words)


@pytest.mark.parametrize(
    ("wrapped", "key", "words"),
    [
        ("MedianPruner", "", "must be {name: …, kwargs: {…}} or null, not 'MedianPruner'"),
        ({"nam": "MedianPruner"}, ".name", "Field required"),
        ({"name": "MedianPrunner"}, ".name", "did you mean MedianPruner"),
        ({"name": "my.Pruner"}, ".name", "plugins.allow"),
        (
            {"name": "MedianPruner", "kwargs": {"n_startup": 1}},
            ".kwargs.n_startup",
            "did you mean n_startup_trials",
        ),
        (
            {"name": "PatientPruner", "kwargs": {"wrapped_pruner": {"name": "No"}, "patience": 1}},
            ".kwargs.wrapped_pruner.name",
            "valid: ",
        ),
    ],
)
def test_what_is_wrong_with_a_wrapped_pruner_is_said_at_its_own_key(
    wrapped: Any, key: str, words: str
) -> None:
    component = Component(name="PatientPruner", kwargs={"wrapped_pruner": wrapped, "patience": 1})

    check(component, f"study.pruner.kwargs.wrapped_pruner{key}", words)


def check(component: Component, key: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_pruner(component)

    assert key in [problem.key for problem in error.value.problems]
    assert words in str(error.value)


def test_the_own_epochs_of_a_trial_are_read_from_what_is_stored() -> None:
    study = study_of(ends=[0.61] * 10)
    slow = curve(0.4, fall=1.7, rate=0.02, epochs=40)
    add(
        study,
        slow,
        TrialState.RUNNING,
        params={EPOCHS_KEY: 200},
        distributions={EPOCHS_KEY: IntDistribution(50, 200)},
    )

    assert not PFLPruner(target_epoch=None).prune(study, study.get_trials()[-1])
