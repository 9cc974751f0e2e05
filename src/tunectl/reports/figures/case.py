"""What figures are drawn from: one study at one moment, its metrics, and one of its trials.

It knows neither Matplotlib nor Plotly.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from tunectl.config.search_schema import Direction
from tunectl.reports.figures.names import Importance
from tunectl.reports.figures.record import TrialRecord, read_record
from tunectl.reports.importances import ENOUGH, scarce
from tunectl.studies.lifecycle import stored_settings
from tunectl.studies.ranking import best_trials, directions_of, metrics_of

LONGEST_NAME = 26
STANDARDISED = ("val_mse", "val_mae", "val_rmse")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a study optimises.

    Args:
        name: Its name.
        direction: Which way is better.
    """

    name: str
    direction: Direction

    @property
    def label(self) -> str:
        """The name with what it is measured in, for an axis."""
        unit = " (targets standardised)" if self.name in STANDARDISED else ""
        return f"{self.name}{unit}"

    @property
    def sign(self) -> float:
        """1 where smaller is better, -1 where larger is."""
        return -1.0 if self.direction == "maximize" else 1.0


class _OwnTrial(FrozenTrial):
    """A trial that nobody else has, so that a study in memory need not copy it deeply."""

    def __deepcopy__(self, memo: object) -> _OwnTrial:
        return copy.copy(self)


@dataclass(frozen=True, kw_only=True)
class FigureCase:
    """A study as figures show it: by one of its metrics, `metric`.

    Args:
        name: The study's name.
        trials: All its trials by number, as they are stored.
        metrics: What it optimises.
        front: Numbers of the completed trials that no other beats, the best first.
        project: Absolute path of the project folder, for the trials' directories.
        target_names: Names of what the model predicts, empty where they are not known.
        focus: Which of the metrics is shown.
        others: Further studies to compare with.
        importance: How importances are worked out.
        trial: Number of the trial that figures of a trial show, None for the best one.
    """

    name: str
    trials: Sequence[FrozenTrial]
    metrics: Sequence[Metric]
    front: Sequence[int]
    project: Path
    target_names: Sequence[str] = ()
    focus: int = 0
    others: Sequence[FigureCase] = ()
    importance: Importance = Importance.PED_ANOVA
    trial: int | None = None

    @property
    def metric(self) -> Metric:
        """The metric shown."""
        return self.metrics[self.focus]

    def on(self, focus: int) -> FigureCase:
        """Return the same with another of its metrics shown, in the other studies too."""
        if focus == self.focus:
            return self
        others = tuple(one.on(focus) for one in self.others)
        return dataclasses.replace(self, focus=focus, others=others)

    @property
    def best(self) -> int | None:
        """Number of the trial that stands for the study, None while none is complete."""
        return self.front[0] if self.front else None

    @cached_property
    def record(self) -> TrialRecord | None:
        """What the trial meant left in its directory; None where there is no such trial."""
        number = self.best if self.trial is None else self.trial
        if number is None:
            return None
        return read_record(self.trials[number], self.project, self.metric.name, self.target_names)

    @cached_property
    def complete(self) -> Sequence[FrozenTrial]:
        """The completed trials whose value is a finite number, by number."""
        return [t for t in self.trials if t.state is TrialState.COMPLETE and self._is_sound(t)]

    @cached_property
    def pruned(self) -> Sequence[FrozenTrial]:
        """The pruned trials whose last value is a finite number, by number."""
        return [t for t in self.trials if t.state is TrialState.PRUNED and self._is_sound(t)]

    def value(self, trial: FrozenTrial) -> float | None:
        """Return a finished trial's value of the metric shown; a pruned one's last value."""
        if not trial.state.is_finished() or not trial.values or len(trial.values) <= self.focus:
            return None
        return float(trial.values[self.focus])

    def values(self, trials: Sequence[FrozenTrial]) -> list[float]:
        """Return the values of trials that have one."""
        return [value for value in map(self.value, trials) if value is not None]

    @cached_property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """Each parameter of the completed trials, by name, with all that it was drawn from."""
        found: dict[str, BaseDistribution] = {}
        for trial in self.complete:
            for name, distribution in trial.distributions.items():
                found[name] = _joined(found.get(name, distribution), distribution)
        return dict(sorted(found.items()))

    @cached_property
    def varied(self) -> Sequence[str]:
        """The parameters of which the completed trials have more than one value."""
        seen: dict[str, set[object]] = {name: set() for name in self.distributions}
        for trial in self.complete:
            for name, value in trial.params.items():
                seen[name].add(value)
        return [name for name, values in seen.items() if len(values) > 1]

    def is_log(self, parameter: str) -> bool:
        """Whether a parameter is searched on a logarithmic scale."""
        distribution = self.distributions[parameter]
        return isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log

    def is_whole(self, parameter: str) -> bool:
        """Whether a parameter is a whole number on a linear scale."""
        return isinstance(self.distributions[parameter], IntDistribution) and not self.is_log(
            parameter
        )

    def is_numeric(self, parameter: str) -> bool:
        """Whether a parameter is a number, not a choice."""
        return isinstance(self.distributions[parameter], FloatDistribution | IntDistribution)

    def choices(self, parameter: str) -> Sequence[str]:
        """Return the choices of a parameter that is no number, as they are shown."""
        distribution = self.distributions[parameter]
        assert isinstance(distribution, CategoricalDistribution)
        return [self.text(choice) for choice in distribution.choices]

    @staticmethod
    def text(value: object) -> str:
        """Return a parameter's value as it would stand in YAML."""
        if value is None or isinstance(value, bool):
            return {None: "null", True: "true", False: "false"}[value]
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """Each parameter's name, short enough for an axis, and no two the same."""
        return _short_names(list(self.distributions))

    @cached_property
    def importances(self) -> Mapping[str, float]:
        """The share of the importance of each varied parameter that most trials have.

        The largest comes first; empty where there is too little to work it out from.
        """
        counted = set(self.varied).difference(self.left_out)
        if len(self.complete) < 2 or not counted or len(set(self.values(self.complete))) == 1:
            return {}
        from optuna import importance

        evaluator = (
            importance.FanovaImportanceEvaluator(seed=0)
            if self.importance is Importance.FANOVA
            else importance.PedAnovaImportanceEvaluator()
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = importance.get_param_importances(self.study, evaluator=evaluator)
        named = {label: name for name, label in self.labels.items()}
        shares = {named[label]: float(share) for label, share in found.items()}
        kept = {name: share for name, share in shares.items() if name in counted}
        total = sum(kept.values()) or 1.0
        return {name: share / total for name, share in kept.items()}

    @cached_property
    def left_out(self) -> Sequence[str]:
        """The varied parameters that too few trials have for an importance."""
        rare = scarce(self.complete)
        return [name for name in self.varied if name in rare]

    @property
    def is_rough(self) -> bool:
        """Whether there are so few trials that importances say little."""
        return len(self.complete) < ENOUGH

    @cached_property
    def ranked(self) -> Sequence[str]:
        """The varied parameters, the most important first."""
        rest = [name for name in self.varied if name not in self.importances]
        return [*self.importances, *rest]

    @cached_property
    def common(self) -> Sequence[str]:
        """Those of the ranked parameters that most trials have."""
        return [name for name in self.ranked if name not in self.left_out]

    @cached_property
    def study(self) -> optuna.Study:
        """The study in memory, as Optuna's own figures need it; see `study_within`."""
        return self.study_within(-math.inf, math.inf)

    def study_within(self, low: float, high: float) -> optuna.Study:
        """Return the study in memory with no value below or above certain ones.

        It has the one metric that is shown, finite values only and short names of parameters, and
        its trials carry no attributes, which Optuna would write out beside each point.
        """
        made = optuna.create_study(
            study_name=self.name,
            storage=optuna.storages.InMemoryStorage(),
            direction=self.metric.direction,
        )
        for trial in self.trials:
            made._storage.create_new_trial(made._study_id, self._drawable(trial, low, high))
        return made

    def _is_sound(self, trial: FrozenTrial) -> bool:
        value = self.value(trial)
        return value is not None and math.isfinite(value)

    def _drawable(self, trial: FrozenTrial, low: float, high: float) -> FrozenTrial:
        value = self.value(trial)
        is_sound = self._is_sound(trial)
        state = trial.state
        if state in (TrialState.COMPLETE, TrialState.PRUNED) and not is_sound:
            state = TrialState.FAIL
        known = {name: label for name, label in self.labels.items() if name in trial.params}
        return _OwnTrial(
            number=trial.number,
            trial_id=trial.number,
            state=state,
            value=min(max(value, low), high) if is_sound and value is not None else None,
            datetime_start=trial.datetime_start,
            datetime_complete=trial.datetime_complete,
            params={label: trial.params[name] for name, label in known.items()},
            distributions={label: self.distributions[name] for name, label in known.items()},
            user_attrs={},
            system_attrs=dict(trial.system_attrs),
            intermediate_values={},
        )


def open_case(
    study: optuna.Study,
    project: Path,
    *,
    others: Sequence[optuna.Study] = (),
    importance: Importance = Importance.PED_ANOVA,
    trial: int | None = None,
) -> FigureCase:
    """Return what the figures of a study are drawn from.

    Args:
        study: The study; read once.
        project: Absolute path of the project folder.
        others: Further studies to compare with.
        importance: How importances are worked out.
        trial: Number of the trial whose figures are drawn, None for the best one.
    """
    settings = stored_settings(study)
    pairs = zip(metrics_of(study), directions_of(study), strict=True)
    return FigureCase(
        name=study.study_name,
        trials=study.get_trials(deepcopy=False),
        metrics=tuple(Metric(name=name, direction=direction) for name, direction in pairs),
        front=tuple(best.number for best in best_trials(study)),
        project=project,
        target_names=settings.run.target_names if settings else (),
        others=tuple(open_case(one, project) for one in others),
        importance=importance,
        trial=trial,
    )


def shorten(text: str, longest: int = LONGEST_NAME) -> str:
    """Return a text of at most so many characters; the end is kept, which tells names apart."""
    return text if len(text) <= longest else f"…{text[1 - longest :]}"


def _joined(one: BaseDistribution, other: BaseDistribution) -> BaseDistribution:
    """Return a distribution that has the values of both: a range may have been changed."""
    if one == other:
        return other
    if isinstance(one, CategoricalDistribution) and isinstance(other, CategoricalDistribution):
        added = tuple(choice for choice in other.choices if choice not in one.choices)
        return CategoricalDistribution((*one.choices, *added))
    if isinstance(one, FloatDistribution) and isinstance(other, FloatDistribution):
        ends = min(one.low, other.low), max(one.high, other.high)
        return FloatDistribution(*ends, log=one.log and other.log)
    if isinstance(one, IntDistribution) and isinstance(other, IntDistribution):
        whole_ends = min(one.low, other.low), max(one.high, other.high)
        return IntDistribution(*whole_ends, log=one.log and other.log)
    return other


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """Return each name as short as it can be without any two being the same."""
    lengths = range(LONGEST_NAME, max([LONGEST_NAME, *map(len, names)]) + 1)
    short = {name: [shorten(name, length) for length in lengths] for name in names}
    counts = Counter(label for labels in short.values() for label in set(labels))
    return {name: next(one for one in labels if counts[one] == 1) for name, labels in short.items()}
