"""What pruners save on this project's own learning curves, and what they kill that was good.

    python benchmarks/pruners.py            replay the curves of curves.json under each pruner
    python benchmarks/pruners.py --record   train them again (about four minutes on one thread)

A pruner changes nothing but when a trial ends, so curves that were trained once, whole, can be
replayed under any pruner, in any order, and it is known how each pruned trial would have ended.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner, PercentilePruner

from tunectl.config.section import Scalar
from tunectl.config.signal_run import TrainingRun
from tunectl.search.pruners import PFLPruner

HERE = Path(__file__).parent
CURVES = HERE / "curves.json"
EPOCHS = 40
CONFIGURATIONS = 48
ORDERS = 10
BEST = 10
# The space of `tunectl init`, with networks small enough for four minutes.
OVERRIDES = (
    "model.hidden=range(8,33,8)",
    "training.batch_size=choice(4,8,16)",
    f"training.epochs={EPOCHS}",
)


def record(count: int) -> None:
    """Train random configurations of the demonstration study to their end and store the curves."""
    import torch

    from tunectl.config.load import load
    from tunectl.search.space import SearchSpace

    torch.set_num_threads(1)
    settings = load(HERE.parent, overrides=OVERRIDES).settings
    space = SearchSpace(settings.search.params_to_tune)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    curves = []
    with tempfile.TemporaryDirectory() as project:
        for number in range(count):
            parameters = space.suggest(study.ask())
            start = time.perf_counter()
            values = _train(_with(settings.run.as_kind(TrainingRun), parameters), Path(project))
            print(f"{number}: {min(values):.4f}, {time.perf_counter() - start:.1f} s", flush=True)
            curves.append({"params": parameters, "val_mse": [round(value, 6) for value in values]})
    text = ",\n".join(json.dumps(curve) for curve in curves)
    CURVES.write_text(f"[\n{text}\n]\n", encoding="utf-8")


def _with(run: TrainingRun, parameters: Mapping[str, Scalar]) -> TrainingRun:
    """Return a training run with parameters merged into its sections."""
    tree = run.model_dump()
    for key, value in parameters.items():
        section, _, name = key.partition(".")
        tree[section][name] = value
    return TrainingRun.model_validate(tree)


def _train(config: TrainingRun, project: Path) -> list[float]:
    """Return val_mse of each epoch."""
    from tunectl.training.architecture import Architecture, resolve_kind
    from tunectl.training.data import load_dataset, split_indices
    from tunectl.training.loop import fit, start_training
    from tunectl.training.losses import WeightedMSELoss
    from tunectl.training.state import FitPlan
    from tunectl.training.tensors import SampleTensors

    samples = load_dataset(config.dataset, project)
    split = split_indices(len(samples.x), config.data_split)
    training, targets = config.training, samples.t.shape[1]
    data = SampleTensors(samples, split, normalize_targets=training.normalize_targets, device="cpu")
    architecture = Architecture(
        kind=resolve_kind(config.model.type, samples.x.ndim),
        channels=samples.x.shape[1],
        targets=targets,
        hidden=config.model.hidden,
        dropout_rate=config.model.dropout_rate,
        use_residual=config.model.use_residual,
    )
    plan = FitPlan(
        epochs=training.epochs,
        batch_size=training.batch_size,
        seed=training.seed,
        metric="val_mse",
        direction="minimize",
    )
    weights = training.target_weights[:targets] if training.use_weighted_loss else [1.0] * targets
    state = start_training(architecture, training, "cpu")
    result = fit(state, data, split, plan, WeightedMSELoss(weights), lambda _: None)
    return list(result.histories["val_mse"])


@dataclass(frozen=True)
class Tally:
    """What a pruner did in one study.

    Args:
        saved: Share of the epochs that were not trained.
        pruned: Trials pruned.
        good: Pruned trials whose whole curve ends among the `BEST` best of all.
        best: Whether the best of all was pruned.
        loss: Best value found, as a multiple of the best there is.
    """

    saved: float
    pruned: int
    good: int
    best: bool
    loss: float


def replay(pruner: BasePruner, curves: Sequence[Sequence[float]]) -> Tally:
    """Run a study whose trials follow the curves, one after the other."""
    study = optuna.create_study(pruner=pruner)
    ends = [min(curve) for curve in curves]
    trained, found, killed = 0, np.inf, []
    for number, curve in enumerate(curves):
        trial = study.ask()
        for epoch, value in enumerate(curve, start=1):
            trial.report(value, epoch)
            trained += 1
            found = min(found, value)
            if trial.should_prune():
                killed.append(number)
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, ends[number])
    ranks = np.argsort(np.argsort(ends))
    return Tally(
        saved=1 - trained / sum(map(len, curves)),
        pruned=len(killed),
        good=sum(bool(ranks[number] < BEST) for number in killed),
        best=any(ranks[number] == 0 for number in killed),
        loss=found / min(ends),
    )


def table(curves: Sequence[Sequence[float]]) -> Iterable[str]:
    """Yield the lines of the table: each pruner's means over `ORDERS` orders of the same trials."""
    pruners: dict[str, Callable[[], BasePruner]] = {
        "NopPruner()": lambda: NopPruner(),
        "MedianPruner(5, 10)": lambda: MedianPruner(5, 10),
        "MedianPruner(10, 10)": lambda: MedianPruner(10, 10),
        "PercentilePruner(75, 10, 10)": lambda: PercentilePruner(75.0, 10, 10),
        "PFLPruner(target_epoch=null)": lambda: PFLPruner(target_epoch=None),
        "PFLPruner(top_k=5, target_epoch=null)": lambda: PFLPruner(top_k=5, target_epoch=None),
    }
    orders = [np.random.default_rng(seed).permutation(len(curves)) for seed in range(ORDERS)]
    yield f"| pruner | epochs saved | pruned | of the {BEST} best | the best | value found |"
    yield "|---|---|---|---|---|---|"
    for name, make in pruners.items():
        tallies = [replay(make(), [curves[index] for index in order]) for order in orders]
        saved, pruned, good, loss = (
            float(np.mean([getattr(one, field) for one in tallies]))
            for field in ("saved", "pruned", "good", "loss")
        )
        best = sum(one.best for one in tallies)
        yield (
            f"| `{name}` | {saved:.0%} | {pruned:.1f} | {good:.2f} | {best} of {ORDERS} "
            f"| {loss:.3f} |"
        )


def main() -> None:
    """Record, or replay and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--record", action="store_true", help="train the curves again")
    parser.add_argument("--count", type=int, default=CONFIGURATIONS, help="how many to train")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    if arguments.record:
        record(arguments.count)
    curves = [one["val_mse"] for one in json.loads(CURVES.read_text(encoding="utf-8"))]
    print(f"{len(curves)} trials of {EPOCHS} epochs, means over {ORDERS} orders\n")
    print("\n".join(table(curves)))


if __name__ == "__main__":
    main()
