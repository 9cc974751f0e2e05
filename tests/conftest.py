"""What several tests need: settings, and the URL of a real SQLite file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tunectl.config.schema import Settings, Surroundings, TrainingRun
from tunectl.config.search_schema import Search

# No test depends on speed, on a busy machine either.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture
def make_settings() -> Callable[..., Settings]:
    """Return a maker of settings: a search space by dotted key, and what differs."""

    def make(
        space: Mapping[str, Any] | None = None,
        *,
        constraints: Sequence[str] = (),
        run: TrainingRun | None = None,
        **study: Any,
    ) -> Settings:
        default = {"training.learning_rate": {"type": "float", "low": 1e-4, "high": 1.0}}
        search = {
            "study": study,
            "params_to_tune": default if space is None else space,
            "constraints": constraints,
        }
        return Settings(
            surroundings=Surroundings(),
            run=run or TrainingRun(),
            search=Search.model_validate(search),
        )

    return make


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Return the URL of a SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'optuna' / 'study.db'}"
