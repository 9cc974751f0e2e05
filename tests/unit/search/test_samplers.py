from __future__ import annotations

from typing import Any

import optuna
import pytest

from tunectl.config.schema import Component, Search
from tunectl.errors import ConfigError
from tunectl.search.pruners import PRUNERS, make_pruner
from tunectl.search.samplers import make_sampler
from tunectl.search.space import SearchSpace

SPACE = SearchSpace(
    Search.model_validate(
        {
            "params_to_tune": {
                "x": {"type": "float", "low": -5.0, "high": 5.0, "step": 0.5},
                "n": {"type": "int", "low": 1, "high": 4},
                "kind": {"type": "categorical", "choices": ["a", "b"]},
            }
        }
    ).params_to_tune
)


def run(storage: str, sampler: str, count: int, seed: int = 7) -> list[dict[str, Any]]:
    """Run some trials as a process of its own would: everything but the database is made anew."""
    study = optuna.create_study(
        storage=storage,
        study_name="s",
        load_if_exists=True,
        sampler=make_sampler(Component(name=sampler), seed, SPACE),
    )
    for _ in range(count):
        trial = study.ask()
        values = SPACE.suggest(trial)
        x, n = values["x"], values["n"]
        assert isinstance(x, float)
        assert isinstance(n, int)
        study.tell(trial, x**2 + n)
    return [trial.params for trial in study.get_trials()]


@pytest.mark.parametrize(
    "sampler", ["TPESampler", "RandomSampler", "QMCSampler", "GridSampler", "BruteForceSampler"]
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_study_that_is_taken_up_again_proposes_what_it_would_have_proposed(
    tmp_path: Any, sampler: str
) -> None:
    whole = run(f"sqlite:///{tmp_path}/whole.db", sampler, 13)
    run(f"sqlite:///{tmp_path}/parts.db", sampler, 4)
    parts = run(f"sqlite:///{tmp_path}/parts.db", sampler, 9)

    assert whole == parts


def test_another_seed_gives_another_study(tmp_path: Any) -> None:
    one = run(f"sqlite:///{tmp_path}/one.db", "TPESampler", 2, seed=1)
    two = run(f"sqlite:///{tmp_path}/two.db", "TPESampler", 2, seed=2)

    assert one != two


def test_the_grid_comes_from_the_space_and_is_exhausted_after_it(tmp_path: Any) -> None:
    small = SearchSpace({key: SPACE.specs[key] for key in ("n", "kind")})
    sampler = make_sampler(Component(name="GridSampler"), 1, small)
    study = optuna.create_study(sampler=sampler)
    seen = set()
    while not sampler.is_exhausted(study):
        trial = study.ask()
        seen.add(tuple(small.suggest(trial).values()))
        study.tell(trial, 1.0)

    assert len(seen) == len(study.get_trials()) == 8


@pytest.mark.parametrize(
    ("component", "words"),
    [
        (Component(name="TPESampller"), "did you mean TPESampler?"),
        (Component(name="TPESampler", kwargs={"n_startup": 3}), "n_startup_trials"),
        (Component(name="TPESampler", kwargs={"seed": 3}), "study.seed"),
        (Component(name="os.path.Sampler"), "plugins.allow"),
    ],
)
def test_a_wrong_sampler_is_an_error_that_says_what_is_valid(
    component: Component, words: str
) -> None:
    with pytest.raises(ConfigError, match=r"study.sampler") as error:
        make_sampler(component, 1, SPACE)

    assert words in str(error.value)


def test_a_grid_needs_steps() -> None:
    search = Search.model_validate(
        {"params_to_tune": {"lr": {"type": "float", "low": 0.1, "high": 0.2}}}
    )

    with pytest.raises(ConfigError, match=r"params_to_tune\.lr: the grid sampler needs a step"):
        make_sampler(Component(name="GridSampler"), 1, SearchSpace(search.params_to_tune))


def test_a_pruner_is_found_by_name_and_its_arguments_are_checked() -> None:
    assert isinstance(make_pruner(Component(name="MedianPruner")), PRUNERS["MedianPruner"])
    with pytest.raises(ConfigError, match="did you mean n_warmup_steps"):
        make_pruner(Component(name="MedianPruner", kwargs={"n_warmup_step": 1}))
    with pytest.raises(ConfigError, match="Percentile must be between 0 and 100"):
        make_pruner(Component(name="PercentilePruner", kwargs={"percentile": 200.0}))


def test_an_allowed_package_may_bring_its_own_sampler() -> None:
    component = Component(name="optuna.samplers.RandomSampler")

    sampler = make_sampler(component, 1, SPACE, allow=("optuna",))

    assert sampler is not None
