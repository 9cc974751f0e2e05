"""Who becomes the champion: only a network that is strictly better by the same metric."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunectl.artifacts.study_dir import ProjectTree
from tunectl.config.schema import Mlflow, Surroundings
from tunectl.errors import TrackingError
from tunectl.tracking.destination import find_destination
from tunectl.tracking.model import LoggedModel
from tunectl.tracking.registry import Candidate, Registration, register
from tunectl.tracking.service import connect, find_experiment

CHAMPION = Candidate(
    model=LoggedModel(model_id="m-1", trial=3),
    study="s",
    study_id="1",
    metric="val_mse",
    direction="minimize",
    value=0.5,
    data="d",
    targets='["a"]',
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


@pytest.mark.parametrize(
    ("other", "words"),
    [({"data": "e"}, "other data"), ({"data": None}, "other data"), ({"targets": "[]"}, "targets")],
)
def test_what_was_measured_otherwise_is_not_compared(other: dict[str, Any], words: str) -> None:
    better = replace(CHAMPION, value=0.1, **other)

    with pytest.raises(ValueError, match=words):
        better.beats(CHAMPION.tags())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_the_alias_moves_to_a_better_network_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = Mlflow(registered_model_name="m")
    store = find_destination(wanted, ProjectTree.of(tmp_path, Surroundings()), "s")
    client = connect(store)
    place = find_experiment(client, store)
    run_id = client.create_run(place).info.run_id

    def offer(trial: int, value: float, **more: Any) -> Registration:
        made = client.create_logged_model(place, name="model", source_run_id=run_id)
        model = LoggedModel(model_id=made.model_id, trial=trial)
        candidate = replace(CHAMPION, model=model, value=value, parent_run_id=run_id, **more)
        return register(client, store, candidate)

    first, worse, equal, better = offer(0, 0.5), offer(1, 0.6), offer(2, 0.5), offer(3, 0.4)

    found = [(one.version, one.is_new) for one in (first, worse, equal, better)]
    assert found == [("1", True), ("1", False), ("1", False), ("2", True)]
    with pytest.raises(TrackingError, match="was measured on other data"):
        offer(4, 0.1, data="e")
    assert len(client.search_model_versions("name = 'm'")) == 2
    assert client.get_model_version_by_alias("m", "champion").tags["tunectl.trial"] == "3"
    assert not (tmp_path / "mlflow.db").exists()  # MLflow's own default store


def test_a_tag_tells_trial_and_model() -> None:
    model = LoggedModel(model_id="m-1", trial=3)

    assert LoggedModel.from_tag(model.to_tag()) == model
    assert LoggedModel.from_tag(None) is None
    assert LoggedModel.from_tag("something else") is None
