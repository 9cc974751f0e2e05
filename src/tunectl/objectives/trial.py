"""What a function of the user's own is called with: one trial, in the user's own words.

It stands on the `TrialContext` that every objective gets. A report never ends the function by the
pruner: `should_prune` says what the pruner thinks, and the function returns when it likes.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from tunectl.artifacts import atomic
from tunectl.config.section import Scalar
from tunectl.errors import ObjectiveError
from tunectl.objectives.base import (
    TAKEN,
    TrialContext,
    TrialInterrupted,
    TrialPruned,
    TrialTimedOut,
)

C = TypeVar("C")

DEFAULT_SEED = 42


class Trial(Generic[C]):
    """One trial, as a function sees it.

    Args:
        context: What the trial is given.
        config: The run's sections: an instance of the model that the function's annotation names,
            `Trial[Config]`, else plain nested mappings.
    """

    def __init__(self, context: TrialContext, config: C) -> None:
        self._context = context
        self.config = config
        self.checkpoint = Checkpoint(context, self)
        self.histories: dict[str, list[float]] = {}
        self.steps: list[int] = []
        self._pruned: TrialPruned | None = None
        self._asked = False
        self._stopped: Exception | None = None

    @property
    def number(self) -> int:
        """The trial's number within its study, from 0."""
        return self._context.config.number

    @property
    def study(self) -> str:
        """The study's name."""
        return self._context.config.study.name

    @property
    def parameters(self) -> Mapping[str, Scalar]:
        """What the sampler proposed, by dotted key; it is in `config` already."""
        return self._context.config.parameters

    @property
    def seed(self) -> int:
        """`training.seed` or `seed` of the configuration, else 42. Random numbers start from it."""
        return seed_of(self._context)

    @property
    def device(self) -> str:
        """The device to run on, as PyTorch names it; to find out imports PyTorch."""
        from tunectl.training.device import resolve_device

        return resolve_device(self._context.device)

    @property
    def directory(self) -> Path:
        """The trial's own folder."""
        return self._context.directory.path

    @property
    def log(self) -> logging.Logger:
        """The trial's log; what is printed ends there too."""
        return self._context.log

    def report(self, step: int, value: float | None = None, **metrics: float) -> None:
        """Tell what a step reached. Steps are whole numbers from 1 on, each larger than the last.

        Args:
            step: The step, for example an epoch.
            value: The study's metric, where it is not given by its name.
            **metrics: Metrics by name; the study's metric must be among them.

        Raises:
            TrialInterrupted, TrialTimedOut: the trial is to end here; let them through.
            ObjectiveError: the metric is missing, or the step is not larger than the last.
            DivergedError: the metric is no finite number.
        """
        self._go_on()
        numbers = self._numbers(step, value, metrics)
        self.steps.append(step)
        for name, number in numbers.items():
            self.histories.setdefault(name, []).append(number)
        try:
            self._context.report(step, numbers)
        except TrialPruned as pruned:
            self._pruned = pruned
        except (TrialInterrupted, TrialTimedOut) as stop:
            self._stopped = stop
            raise
        self._go_on()

    def should_prune(self) -> bool:
        """Whether the pruner gives the trial up; return then, and it is recorded as pruned.

        Raises:
            TrialInterrupted, TrialTimedOut: the trial is to end here; let them through.
        """
        self._go_on()
        self._asked = self._asked or self._pruned is not None
        return self._pruned is not None

    def log_artifact(self, path: str | Path, name: str | None = None) -> Path:
        """Keep a copy of a file or folder with the trial; MLflow gets it too.

        Args:
            path: What to copy.
            name: What to call it, its own name by default.

        Returns:
            Where it is kept.

        Raises:
            ObjectiveError: there is no such file, or the name leads somewhere else.
        """
        source = Path(path)
        chosen = name or source.name
        if Path(chosen).name != chosen or chosen in ("", ".", ".."):
            raise ObjectiveError(f"{chosen!r} is no name for an artifact")
        if not source.exists():
            raise ObjectiveError(f"there is no {source} to keep")
        folder = self.directory / "artifacts"
        folder.mkdir(exist_ok=True)
        target = folder / chosen
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            with atomic.replacing(target) as beside:
                shutil.copyfile(source, beside)
        return target

    def end_as_told(self) -> None:
        """End the trial as it was told to, where the function has not let that through.

        Raises:
            TrialInterrupted, TrialTimedOut: it was told to stop.
            TrialPruned: the function was told that it should prune, and has returned.
        """
        if self._stopped is not None:
            raise self._stopped
        if self._asked and self._pruned is not None:
            raise self._pruned

    def _go_on(self) -> None:
        """Stop here if the program has been told to, or the trial's time is over."""
        if self._stopped is not None:
            raise self._stopped
        try:
            self._context.check_stop()
        except (TrialInterrupted, TrialTimedOut) as stop:
            self._stopped = stop
            raise

    def _numbers(
        self, step: int, value: float | None, metrics: Mapping[str, float]
    ) -> dict[str, float]:
        if isinstance(step, bool) or not isinstance(step, int) or step < 1:
            raise ObjectiveError(f"a step is a whole number from 1 on, not {step!r}")
        if self.steps and step <= self.steps[-1]:
            raise ObjectiveError(f"step {step} was reported after step {self.steps[-1]}")
        named = dict(metrics)
        if value is not None:
            named[self._context.config.study.metric] = value
        refuse_taken(named)
        try:
            numbers = {name: float(number) for name, number in named.items()}
        except (TypeError, ValueError) as error:
            raise ObjectiveError(f"step {step}: a metric is no number: {error}") from error
        if self.histories and numbers.keys() != self.histories.keys():
            first = ", ".join(sorted(self.histories))
            raise ObjectiveError(f"step {step}: every step reports the same metrics: {first}")
        return numbers


class Checkpoint:
    """What a trial needs for going on after an interruption.

    Args:
        context: What the trial is given.
        trial: The trial.
    """

    def __init__(self, context: TrialContext, trial: Trial[Any]) -> None:
        self._context = context
        self._trial = trial

    @property
    def folder(self) -> Path:
        """A folder for files of your own; it is removed when the trial has ended."""
        folder = self._context.directory.checkpoints_dir
        folder.mkdir(exist_ok=True)
        return folder

    def save(self, **state: Any) -> None:
        """Write a checkpoint, whole or not at all; the last two are kept.

        Args:
            **state: Numbers, text, lists, mappings, NumPy arrays and PyTorch tensors.

        Raises:
            ObjectiveError: there is something else in it.
        """
        from tunectl.objectives.keeping import to_storable
        from tunectl.training.checkpoint_file import write_checkpoint

        last = self._trial.steps[-1] if self._trial.steps else 0
        told = {"steps": self._trial.steps, "histories": self._trial.histories}
        plain = {"state": to_storable(state), "told": told}
        self._context.settle()  # no checkpoint is ahead of the database
        write_checkpoint(self._context.directory.checkpoints_dir, last, 0, plain)

    def load(self) -> dict[str, Any] | None:
        """Return what was last saved, None where the trial begins; what was reported comes back.

        A damaged checkpoint is passed over, and the one before it is taken.
        """
        if self._context.directory.newest_checkpoint() is None:
            return None
        from tunectl.objectives.keeping import from_storable
        from tunectl.training.checkpoint_file import read_latest

        found = read_latest(self._context.directory.checkpoints_dir)
        if found is None:
            return None
        path, plain = found
        self._trial.steps[:] = plain["told"]["steps"]
        self._trial.histories.clear()
        self._trial.histories.update(plain["told"]["histories"])
        self._context.log.info("goes on from %s", path.name)
        state: dict[str, Any] = from_storable(plain["state"])
        return state


def refuse_taken(names: Iterable[object]) -> None:
    """Refuse metrics whose names mean something else in `metrics.json`.

    Raises:
        ObjectiveError: there is one.
    """
    taken = [name for name in names if name in TAKEN]
    if taken:
        raise ObjectiveError(
            f"{taken[0]} is no name for a metric: metrics.json has something else under it"
        )


def seed_of(context: TrialContext) -> int:
    """Return the seed of a trial of the user's own."""
    run = context.config.run
    named = run.seed if run.seed is not None else run.value("seed")
    return named if isinstance(named, int) and not isinstance(named, bool) else DEFAULT_SEED
