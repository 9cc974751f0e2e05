"""The data of a trial as they are now, as its objective tells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tunectl.artifacts.trial_dir import TrialDir
from tunectl.config.schema import TrialConfig
from tunectl.objectives.base import Traceable
from tunectl.objectives.data_facts import DataFacts
from tunectl.objectives.registry import find_objective

if TYPE_CHECKING:
    from tunectl.training.packaged import PackagedNet


def look_at_data(
    directory: TrialDir, config: TrialConfig, project: Path, network: PackagedNet
) -> DataFacts | None:
    """Return what is known of a completed trial's data; see `Traceable.data_facts`."""
    objective = find_objective(config.run)
    if not isinstance(objective, Traceable):
        return None
    return objective.data_facts(directory, config, project, network)
