"""Which parameters decide whether a trial is among the best: PED-ANOVA, in a few milliseconds.

It gives what `optuna.importance` gives for a study of one metric, to the last digits that matter,
but that module imports scikit-learn, which takes longer than all that `summary` does. For each
parameter the density of its values in the best tenth of the trials is compared with that in all of
them; the more they differ, the more the parameter matters (arXiv:2304.10255, and 2601.20800 for
conditional parameters).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

FEWEST = 10
"""With fewer completed trials nothing can be said."""
ENOUGH = 50
"""With fewer than so many, the best tenth is fewer than five trials, which says little."""
COMMON = 0.8
"""A parameter that a smaller share of the trials has is not ranked: of the few best, hardly any has
it, so a single one of them could bring it to the top."""
MOST_LEFT_OUT = 8
_BEST = 0.1
_CELLS = 50
_FEWEST_ALIKE = 2
_NOTHING = 1e-12
# At least so wide that 90 % of a kernel lie within its own cell.
_NARROWEST = 0.5 / 1.64

Range = IntDistribution | FloatDistribution


@dataclass(frozen=True, kw_only=True)
class Importances:
    """How much each parameter matters.

    Args:
        shares: Dotted key → its share, largest first; they sum to 1.
        n_trials: How many completed trials they are made from.
        left_out: Dotted keys of those that too few trials have to be ranked, by name.
    """

    shares: Mapping[str, float]
    n_trials: int
    left_out: Sequence[str] = ()

    @property
    def is_rough(self) -> bool:
        """Whether there are so few trials that other ones might well say otherwise."""
        return self.n_trials < ENOUGH

    @property
    def note(self) -> str:
        """Which parameters are not ranked, and why; empty where all are."""
        return left_out_text(self.left_out)


def importances_of(
    trials: Sequence[FrozenTrial], direction: str, metric: int = 0
) -> Importances | None:
    """Return how much each parameter matters for reaching the best tenth of the values.

    Args:
        trials: A study's trials.
        direction: `minimize` or `maximize`.
        metric: Which of the study's metrics, counted from 0.

    Returns:
        None where nothing can be said: fewer than `FEWEST` completed trials with a finite value, no
        parameter that most of them have, or values that are all the same.
    """
    complete = [
        trial
        for trial in trials
        if trial.state == TrialState.COMPLETE and math.isfinite(trial.values[metric])
    ]
    left_out = scarce(complete)
    names = sorted({name for trial in complete for name in trial.params}.difference(left_out))
    if len(complete) < FEWEST or not names:
        return None
    sign = -1.0 if direction == "maximize" else 1.0
    losses = np.array([sign * trial.values[metric] for trial in complete])
    is_best = losses <= np.sort(losses)[math.ceil(_BEST * losses.size) - 1]
    if is_best.all():
        return None
    weights = {name: _importance(name, complete, is_best) for name in names}
    total = sum(weights.values())
    if total <= 0:
        return None
    ranked = sorted(names, key=lambda name: (-weights[name], name))
    return Importances(
        shares={name: weights[name] / total for name in ranked},
        n_trials=len(complete),
        left_out=left_out,
    )


def scarce(trials: Sequence[FrozenTrial]) -> list[str]:
    """Return the parameters that too few of the trials have to be ranked, by name."""
    counts = Counter(name for trial in trials for name in trial.params)
    return sorted(name for name, count in counts.items() if count < COMMON * len(trials))


def left_out_text(names: Sequence[str]) -> str:
    """Say which parameters are not ranked, and why; empty where all are.

    Args:
        names: Those that are not, as they are to be shown.
    """
    if not names:
        return ""
    more = len(names) - MOST_LEFT_OUT
    listed = ", ".join(names[:MOST_LEFT_OUT]) + (f" and {more} more" if more > 0 else "")
    them = "it" if len(names) == 1 else "them"
    return f"not ranked, since only some trials have {them}: {listed}"


def _importance(name: str, trials: Sequence[FrozenTrial], is_best: np.ndarray) -> float:
    """Return a parameter's importance: the sum over the ranges that it was searched in.

    Args:
        name: The parameter.
        trials: Completed trials; (n,) trials.
        is_best: Which of them are among the best; (n,) booleans.
    """
    # A range that was changed, or that depends on a condition, is looked at by itself.
    regimes: dict[str, list[int]] = defaultdict(list)
    texts: dict[int, str] = {}  # trials that were read together share their distributions
    for index, trial in enumerate(trials):
        if name in trial.params:
            distribution = trial.distributions[name]
            if id(distribution) not in texts:
                texts[id(distribution)] = repr(distribution)
            regimes[texts[id(distribution)]].append(index)
    importance = 0.0
    for indices in regimes.values():
        best = [index for index in indices if is_best[index]]
        distribution = trials[indices[0]].distributions[name]
        if len(indices) < _FEWEST_ALIKE or not best or distribution.single():
            continue
        among_best = _density(distribution, [trials[i].params[name] for i in best])
        among_all = _density(distribution, [trials[i].params[name] for i in indices])
        divergence = float(among_all @ ((among_best / among_all - 1) ** 2))
        share, usual = len(best) / int(is_best.sum()), len(indices) / len(trials)
        importance += share**2 / usual * divergence
    return importance


def _density(distribution: BaseDistribution, values: Sequence[Any]) -> np.ndarray:
    """Return how likely each cell of a parameter's range is, given some values; (n_cells,)."""
    if isinstance(distribution, CategoricalDistribution):
        chosen = [int(distribution.to_internal_repr(value)) for value in values]
        counts = np.bincount(chosen, minlength=len(distribution.choices))
    else:
        assert isinstance(distribution, Range)
        counts = _counts_on_grid(distribution, np.array(values, dtype=float))
    seen = np.flatnonzero(counts)
    weights = np.append(counts[seen], 1.0) / (counts.sum() + 1.0)  # the last kernel is the prior
    if isinstance(distribution, CategoricalDistribution):
        kernels = np.full((seen.size + 1, counts.size), 1.0 / (seen.size + 1))
        kernels[np.arange(seen.size), seen] += 1.0
        kernels /= kernels.sum(axis=1, keepdims=True)
    else:
        kernels = _kernels(seen, counts[seen], counts.size)
    density: np.ndarray = weights @ kernels + _NOTHING
    return density


def _counts_on_grid(distribution: Range, values: np.ndarray) -> np.ndarray:
    """Return how many values fall into each cell of the parameter's own scale; (n_cells,)."""
    low, high = float(distribution.low), float(distribution.high)
    n_cells = _CELLS
    if isinstance(distribution, IntDistribution) and distribution.log:
        n_cells = min(math.ceil(math.log2(high - low + 1)) + 1, n_cells)
    elif distribution.step is not None:
        n_cells = min(round((high - low) / distribution.step) + 1, n_cells)
    if distribution.log:
        low, high, values = math.log(low), math.log(high), np.log(values)
    cells = np.ceil((values - low) / ((high - low) / (n_cells - 1)) - 0.5).astype(int)
    return np.bincount(np.clip(cells, 0, n_cells - 1), minlength=n_cells)


def _kernels(seen: np.ndarray, counts: np.ndarray, n_cells: int) -> np.ndarray:
    """Return a normal kernel over the grid for each occupied cell, and the prior's, cut to it.

    Args:
        seen: Occupied cells, in ascending order; (k,).
        counts: How often each was seen; (k,).
        n_cells: Cells of the grid.

    Returns:
        (k + 1, n_cells), each row summing to 1.
    """
    total = int(counts.sum())
    mean = seen @ counts / total
    spread = math.sqrt((seen - mean) ** 2 @ counts / max(1, total - 1))
    cumulated = np.cumsum(counts)
    first = np.searchsorted(cumulated, total // 4, side="left")
    third = np.searchsorted(cumulated, total * 3 // 4, side="right")
    between = seen[min(seen.size - 1, int(third))] - seen[int(first)]
    width = max(1.059 * min(between / 1.34, spread) * total**-0.2, _NARROWEST)  # Scott's rule
    centres = np.append(seen, (n_cells - 1) / 2)
    widths = np.append(np.full(seen.size, width), float(n_cells))
    edges = (np.arange(n_cells + 1) - 0.5 - centres[:, None]) / widths[:, None]
    below = np.array([math.erf(edge) for edge in (edges / math.sqrt(2)).flat]).reshape(edges.shape)
    masses = np.diff(below, axis=1)
    normalised: np.ndarray = masses / masses.sum(axis=1, keepdims=True)
    return normalised
