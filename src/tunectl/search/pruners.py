"""Pruners by name."""

from __future__ import annotations

from collections.abc import Collection

import optuna
from optuna.pruners import BasePruner

from tunectl.config.schema import Component
from tunectl.search.components import build, find_class

KEY = "study.pruner"
PRUNERS: dict[str, type[BasePruner]] = {
    name: getattr(optuna.pruners, name)
    for name in (
        "HyperbandPruner",
        "MedianPruner",
        "NopPruner",
        "PercentilePruner",
        "SuccessiveHalvingPruner",
        "ThresholdPruner",
        "WilcoxonPruner",
    )
}


def make_pruner(component: Component, allow: Collection[str] = ()) -> BasePruner:
    """Return the configured pruner.

    Args:
        component: Name and arguments as configured.
        allow: Top packages that a dotted name may come from.

    Raises:
        ConfigError: unknown name or argument, or an argument that the class refuses.
    """
    cls = find_class(component, PRUNERS, BasePruner, allow, KEY)
    pruner: BasePruner = build(cls, component, {}, KEY, {})
    return pruner
