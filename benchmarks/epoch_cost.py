"""What an epoch costs outside of its training, beside few and beside many stored trials.

    python benchmarks/epoch_cost.py [--quick]

Ours is what a trial does after each epoch (report, the pruner's question, the histories, and a
checkpoint where one is due) and its question after each batch, whether to stop. The yardstick is
Optuna alone on a SQLite file of its own, opened as Optuna opens it: `trial.report` and
`trial.should_prune`. Both have the median pruner. The epochs are slept through: short ones, of
which several are written together, and long ones, each of which is written by itself.
"""

from __future__ import annotations

import datetime as dt
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from pairs import timed
from rows import Row, number, run_alone
from stored import store_trials
from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import Settings, Surroundings
from tunectl.config.search_schema import Search
from tunectl.config.signal_run import TrainingRun
from tunectl.objectives.flow_cnn import FlowCnn
from tunectl.objectives.signal_setup import SignalSetup
from tunectl.running.context import RunningTrial
from tunectl.running.trial_config import configure_trial
from tunectl.studies.lifecycle import create_study
from tunectl.studies.storage import open_storage
from tunectl.training.checkpoint import CheckpointClock
from tunectl.training.loop import start_training
from tunectl.training.state import TrainingState

SHORT_S, LONG_S, BATCHES = 0.05, 0.25, 10
"""Of the short epochs several are written together, of the long ones each by itself."""
EPOCHS, LONG_EPOCHS, QUICK_EPOCHS = 60, 30, 20
ROUNDS, QUICK_ROUNDS = 3, 1
FEW, MANY = 10, 1000
STEPS = 50
PRUNER = {"n_startup_trials": 5, "n_warmup_steps": 10}
TARGET_S, GROWTH = 1.5e-3, 1.5


class Side(Protocol):
    """A study that runs the epochs of one more trial."""

    def run_trial(self, epochs: int, epoch_s: float) -> list[float]:
        """Run a trial; return the seconds that each of its epochs cost outside of its training."""


class Ours:
    """A study of `tunectl`'s.

    Args:
        folder: Where everything is written.
        n_trials: Trials that are stored.
    """

    def __init__(self, folder: Path, n_trials: int) -> None:
        self.folder = folder
        study = {"name": "epochs", "pruner": {"name": "MedianPruner", "kwargs": PRUNER}}
        space = {"training.learning_rate": {"type": "float", "low": 1e-4, "high": 1.0}}
        self.run = TrainingRun.model_validate({"model": {"hidden": 32}})
        self.settings = Settings(
            surroundings=Surroundings(),
            run=self.run,
            search=Search.model_validate({"study": study, "params_to_tune": space}),
        )
        storage = open_storage(f"sqlite:///{folder / 'study.db'}", create=True)
        assert storage is not None
        self.url = storage.url
        self.study = create_study(storage, self.settings)
        store_trials(storage, self.study, n_trials, STEPS)

    def run_trial(self, epochs: int, epoch_s: float) -> list[float]:
        """See `Side`."""
        asked = self.study.ask()
        directory = TrialDir.create(self.folder, dt.datetime.now())
        directory.make_parts()
        config = configure_trial(self.settings, FlowCnn(), asked.number, {})
        trial = RunningTrial(
            trial=asked,
            config=config,
            project=self.folder,
            directory=directory,
            device="cpu",
            log=logging.getLogger("benchmark"),
            storage_url=self.url,
            on_epoch=lambda *_: None,
            should_stop=lambda: False,
        )
        plan = SignalSetup().plan(self.run, (1, 2, 128), 6)
        state = start_training(plan, self.run.training, "cpu")
        with trial:
            taken = _run_epochs(trial, state, epochs, epoch_s)
        self.study.tell(asked, state=TrialState.FAIL)
        return taken


def _run_epochs(
    trial: RunningTrial, state: TrainingState, epochs: int, epoch_s: float
) -> list[float]:
    """Sleep through epochs; return the seconds that each of them cost besides."""
    clock, settle = CheckpointClock(), trial.settle
    taken = []
    for epoch in range(1, epochs + 1):
        spent_s = 0.0
        for _ in range(BATCHES):  # what waits may be written here, so it counts
            time.sleep(epoch_s / BATCHES)
            spent_s += timed(trial.check_stop)()
        start = time.perf_counter()
        state.epoch = epoch
        metrics = {"val_mse": 0.5 / epoch, "val_mae": 0.5, "val_rmse": 0.5, "val_r2": 0.5}
        for name, value in {"train_loss": 0.5, "learning_rate": 1e-3, **metrics}.items():
            state.histories.setdefault(name, []).append(value)
        trial.report(epoch, metrics)
        if clock.is_due():
            settle()
            clock.save(trial.directory.checkpoints_dir, state)
        taken.append(spent_s + time.perf_counter() - start)
    taken[-1] += timed(settle)()
    return taken


class Optunas:
    """A study of Optuna's own.

    Args: as for `Ours`.
    """

    def __init__(self, folder: Path, n_trials: int) -> None:
        storage = RDBStorage(f"sqlite:///{folder / 'optuna.db'}")
        pruner = optuna.pruners.MedianPruner(**PRUNER)
        self.study = optuna.create_study(study_name="epochs", storage=storage, pruner=pruner)
        store_trials(storage, self.study, n_trials, STEPS)

    def run_trial(self, epochs: int, epoch_s: float) -> list[float]:
        """See `Side`."""
        trial = self.study.ask()
        taken = []
        for epoch in range(1, epochs + 1):
            time.sleep(epoch_s)
            start = time.perf_counter()
            trial.report(0.5 / epoch, epoch)
            trial.should_prune()
            taken.append(time.perf_counter() - start)
        self.study.tell(trial, state=TrialState.FAIL)
        return taken


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield the rows of short epochs and of long ones."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    with tempfile.TemporaryDirectory() as name:
        sides: dict[tuple[str, int], Side] = {}
        for count in (FEW, MANY):
            folder = Path(name) / str(count)
            folder.mkdir()
            sides["ours", count] = Ours(folder, count)
            sides["Optuna", count] = Optunas(folder, count)
        for side in sides.values():
            side.run_trial(3, SHORT_S)  # not counted
        for epoch_s, epochs in ((SHORT_S, EPOCHS), (LONG_S, LONG_EPOCHS)):
            yield from _compare(sides, epoch_s, QUICK_EPOCHS if quick else epochs, quick=quick)


def _compare(
    sides: Mapping[tuple[str, int], Side], epoch_s: float, epochs: int, *, quick: bool
) -> Iterator[Row]:
    """Yield a row for few stored trials, one for many, and one for how they compare."""
    taken: dict[tuple[str, int], list[float]] = {key: [] for key in sides}
    for turn in range(QUICK_ROUNDS if quick else ROUNDS):
        for key in list(sides) if turn % 2 == 0 else reversed(list(sides)):
            taken[key] += sides[key].run_trial(epochs, epoch_s)
    ms = {key: 1e3 * statistics.median(values) for key, values in taken.items()}
    mean_ms = {key: 1e3 * statistics.mean(values) for key, values in taken.items()}
    what = f"cost of an epoch of {epoch_s:g} s outside of its training"
    for count in (FEW, MANY):
        yield Row(
            what=f"{what}, {count:,} stored trials",
            ours=f"{number(ms['ours', count])} ms",
            theirs=f"{number(ms['Optuna', count])} ms (Optuna alone)",
            result=ms["ours", count],
            unit="ms",
            at_most=1e3 * TARGET_S,
            note=f"median of {len(taken['ours', count])} epochs; mean "
            f"{number(mean_ms['ours', count])} and {number(mean_ms['Optuna', count])} ms",
        )
    yield Row(
        what=f"{what}, {MANY:,} stored trials against {FEW}",
        ours=f"{number(ms['ours', MANY])} ms",
        theirs=f"{number(ms['ours', FEW])} ms",
        result=ms["ours", MANY] / ms["ours", FEW],
        at_most=GROWTH,
        note=f"means: {number(mean_ms['ours', MANY] / mean_ms['ours', FEW])} ×",
    )


if __name__ == "__main__":
    run_alone(measure)
