"""Asking for a trial: twelve parameters proposed by TPE beside a thousand stored trials.

    python benchmarks/asking.py [--quick]

Ours is `study.ask` and the search space's `suggest`, as a worker does it; the yardstick is Optuna's
`study.ask` and twelve `suggest` calls on a file of its own, opened as Optuna opens it, with
Optuna's default TPE sampler. Both store the parameters.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import optuna
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from pairs import Pairs, in_turn, timed
from projects import SPACE_YAML
from rows import Row, run_alone, seconds
from stored import SPACE, store_trials
from tunectl.config.schema import Settings, Surroundings
from tunectl.config.search_schema import Search
from tunectl.config.signal_run import TrainingRun
from tunectl.search.space import SearchSpace
from tunectl.studies.lifecycle import create_study
from tunectl.studies.storage import open_storage

STORED, STEPS = 1000, 10
ASKS, QUICK_ASKS = 60, 10
Ask = Callable[[], optuna.Trial]


def our_ask(folder: Path) -> tuple[optuna.Study, Ask]:
    """Return a study of ours, and what asks for a trial with all its parameters."""
    search = Search.model_validate({"study": {"name": "asking"}, **yaml.safe_load(SPACE_YAML)})
    settings = Settings(surroundings=Surroundings(), run=TrainingRun(), search=search)
    storage = open_storage(f"sqlite:///{folder / 'study.db'}", create=True)
    assert storage is not None
    study = create_study(storage, settings)
    store_trials(storage, study, STORED, STEPS)

    def ask() -> optuna.Trial:
        trial = study.ask()
        SearchSpace(settings.search.params_to_tune).suggest(trial)
        return trial

    return study, ask


def optunas_ask(folder: Path) -> tuple[optuna.Study, Ask]:
    """Return a study of Optuna's own, and what does the same there."""
    storage = RDBStorage(f"sqlite:///{folder / 'optuna.db'}")
    sampler = optuna.samplers.TPESampler(seed=42)
    study = optuna.create_study(study_name="asking", storage=storage, sampler=sampler)
    store_trials(storage, study, STORED, STEPS)

    def ask() -> optuna.Trial:
        trial = study.ask()
        for name, one in SPACE.items():
            if isinstance(one, IntDistribution):
                trial.suggest_int(name, one.low, one.high, step=one.step, log=one.log)
            elif isinstance(one, FloatDistribution):
                trial.suggest_float(name, one.low, one.high, step=one.step, log=one.log)
            elif isinstance(one, CategoricalDistribution):
                trial.suggest_categorical(name, one.choices)
        return trial

    return study, ask


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield the row."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    asks = QUICK_ASKS if quick else ASKS
    with tempfile.TemporaryDirectory() as name:
        sides = {"ours": our_ask(Path(name)), "Optuna": optunas_ask(Path(name))}

        def once(side: str) -> float:
            study, ask = sides[side]
            asked: list[optuna.Trial] = []
            taken_s = timed(lambda: asked.append(ask()))()
            assert len(asked[0].params) == len(SPACE)
            study.tell(asked[0], state=TrialState.FAIL)
            return taken_s

        for side in sides:
            once(side)  # not counted
        taken = in_turn({side: partial(once, side) for side in sides}, asks)
    pairs = Pairs(ours=taken["ours"], theirs=taken["Optuna"])
    result, spread = pairs.times_slower()
    yield Row(
        what=f"ask and suggest of {len(SPACE)} parameters, TPE, {STORED:,} stored trials",
        ours=seconds(pairs.ours_s),
        theirs=f"{seconds(pairs.theirs_s)} (Optuna alone)",
        result=result,
        spread=spread,
        at_most=1.0,
        note=f"{asks} pairs",
    )


if __name__ == "__main__":
    run_alone(measure)
