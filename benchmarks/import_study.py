"""How long a large study takes out of a database, through a file and into another database.

    python benchmarks/import_study.py [N_TRIALS] [N_STEPS]

It makes a study of 10,000 trials with 20 intermediate values each, exports and imports it, and
prints the seconds of each step.
"""

from __future__ import annotations

import math
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tunectl.studies.portable import PortableStudy, write_study
from tunectl.studies.portable_source import read_study
from tunectl.studies.storage import open_storage
from tunectl.studies.transfer import pack_study, unpack_study

SPACE: dict[str, BaseDistribution] = {
    "model.hidden": IntDistribution(32, 128, step=16),
    "model.use_residual": CategoricalDistribution((True, False)),
    "training.batch_size": CategoricalDistribution((2, 4, 8)),
    "training.epochs": IntDistribution(50, 200, step=50),
    "training.learning_rate": FloatDistribution(1e-5, 1e-2, log=True),
    "training.weight_decay": FloatDistribution(1e-6, 1e-3, log=True),
}


def make_trial(number: int, n_steps: int, source: random.Random) -> FrozenTrial:
    """Return a trial as a run of `flow_cnn` leaves it, one in four pruned."""
    start = datetime(2026, 1, 31) + timedelta(seconds=30 * number)
    curve = {step: math.exp(-step / 9) + source.random() / 50 for step in range(1, n_steps + 1)}
    lowest = min(curve.values())
    return FrozenTrial(
        number=number,
        state=TrialState.PRUNED if number % 4 == 3 else TrialState.COMPLETE,
        value=lowest,
        datetime_start=start,
        datetime_complete=start + timedelta(seconds=29, microseconds=source.randrange(10**6)),
        params={
            "model.hidden": source.randrange(32, 129, 16),
            "model.use_residual": source.random() < 0.5,
            "training.batch_size": source.choice((2, 4, 8)),
            "training.epochs": source.randrange(50, 201, 50),
            "training.learning_rate": 10 ** source.uniform(-5, -2),
            "training.weight_decay": 10 ** source.uniform(-6, -3),
        },
        distributions=SPACE,
        user_attrs={
            "output_dir": f"outputs/2026-01-31/{number}",
            "best_epoch": n_steps,
            "metrics": {f"{split}_mse": lowest for split in ("val", "test")},
        },
        system_attrs={},
        intermediate_values=curve,
        trial_id=number,
    )


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long a block takes."""
    start = time.perf_counter()
    yield
    sys.stdout.write(f"{what:<28}{time.perf_counter() - start:8.2f} s\n")


def new_database(file: Path) -> RDBStorage:
    """Return an empty database."""
    storage = open_storage(f"sqlite:///{file}", create=True)
    assert storage is not None
    return storage


def main(n_trials: int, n_steps: int) -> None:
    """Make, store, export and import a study."""
    source = random.Random(0)
    made = PortableStudy(
        name="large",
        directions=(StudyDirection.MINIMIZE,),
        user_attrs={},
        system_attrs={},
        trials=[make_trial(number, n_steps, source) for number in range(n_trials)],
    )
    with tempfile.TemporaryDirectory() as folder:
        first, second = new_database(Path(folder) / "1.db"), new_database(Path(folder) / "2.db")
        file, again = Path(folder) / "study.jsonl", Path(folder) / "again.jsonl"
        with timed("into the first database"):
            unpack_study(first, made)
        with timed("export: read the database"):
            packed = pack_study(first, optuna.load_study(study_name="large", storage=first))
        with timed("export: write the file"):
            write_study(packed, file)
        size = file.stat().st_size / 1e6
        sys.stdout.write(f"{n_trials} trials of {n_steps} values, {size:.1f} MB\n")
        with timed("import: read the file"):
            portable = read_study(file, name=file.name)
        with timed("import: into the database"):
            unpack_study(second, portable)
        write_study(
            pack_study(second, optuna.load_study(study_name="large", storage=second)), again
        )
        same = file.read_bytes() == again.read_bytes()
        sys.stdout.write(f"exported again: {'the same' if same else 'OTHER'} bytes\n")


if __name__ == "__main__":
    main(*[int(text) for text in sys.argv[1:3]] or (10_000, 20))
