"""Who becomes the champion: only a network that is strictly better by the same metric."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tunectl.tracking.model import LoggedModel
from tunectl.tracking.registry import Candidate

CHAMPION = Candidate(
    model=LoggedModel(model_id="m-1", trial=3),
    study="s",
    study_id="1",
    metric="val_mse",
    direction="minimize",
    value=0.5,
    run_id="r",
    parent_run_id="p",
)


@pytest.mark.parametrize(
    ("direction", "value", "wins"),
    [
        ("minimize", 0.4, True),
        ("minimize", 0.5, False),
        ("minimize", 0.6, False),
        ("maximize", 0.6, True),
        ("maximize", 0.5, False),
    ],
)
def test_only_a_better_one_wins(direction: str, value: float, wins: bool) -> None:
    champion = replace(CHAMPION, direction=direction)

    assert replace(champion, value=value).beats(champion.tags()) is wins


def test_two_metrics_are_not_compared() -> None:
    other = replace(CHAMPION, metric="val_mae", value=0.1)

    with pytest.raises(ValueError, match="val_mse"):
        other.beats(CHAMPION.tags())


def test_a_tag_tells_trial_and_model() -> None:
    model = LoggedModel(model_id="m-1", trial=3)

    assert LoggedModel.from_tag(model.to_tag()) == model
    assert LoggedModel.from_tag(None) is None
    assert LoggedModel.from_tag("something else") is None
