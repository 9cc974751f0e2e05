"""Keys of the user's own, beside an objective of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunectl.config.load import load
from tunectl.errors import ConfigError

OWN = "objective: train:run\nforest: {depth: 3, kinds: {a: 1}}\nrate: 0.1\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in {
        "config": "",
        "params": OWN,
        "optuna_params": "params_to_tune: {forest.depth: {low: 1, high: 9}}\n",
    }.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def said(project: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(project, overrides=overrides)
    return str(caught.value)


def test_any_keys_may_stand_there_and_be_searched(project: Path) -> None:
    settings = load(
        project,
        overrides=[
            "forest.more.deep=5",
            "forest.kinds.a=interval(0.5,2)",
            "rate=tag(log,interval(0.001,1))",
            "params_to_tune.forest.depth.high=7",
        ],
    ).settings

    tree = settings.run.model_dump()
    assert tree["forest"]["more"] == {"deep": 5}
    space = {key: spec.model_dump() for key, spec in settings.search.params_to_tune.items()}
    assert set(space) == {"forest.depth", "forest.kinds.a", "rate"}
    assert (space["forest.depth"]["type"], space["forest.depth"]["high"]) == ("int", 7)
    assert (space["rate"]["type"], space["rate"]["log"]) == ("float", True)


def test_where_a_value_of_ones_own_was_written_is_known(project: Path) -> None:
    loaded = load(project, overrides=["forest.depth=4"])

    assert str(loaded.origins["rate"]) == "params.yaml:3"
    assert "command line" in str(loaded.origins["forest.depth"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("rate.low=interval(0.1,0.5)", "rate is the number 0.1, so there is nothing below it"),
        ("forest.kinds=choice(1,2)", "is a section; search the values in it"),
        ("batch_parts=choice(1,2)", "batch_parts"),
        ("parameters.lr=interval(0.1,0.5)", "parameters"),
        ("number=3", "a key of the program's own"),
        ("'objective=${rate}'", "has to be written out"),
    ],
)
def test_what_gets_in_each_others_way_is_refused(project: Path, override: str, words: str) -> None:
    assert words in said(project, override.strip("'"))


def test_a_parameter_and_one_below_it_cannot_both_be_searched(project: Path) -> None:
    text = said(project, "forest.new=interval(0,1)", "forest.new.deep=interval(0,1)")
    assert "forest.new is a section" in text or "is a section, since forest.new.deep" in text


def test_a_dot_in_a_key_of_ones_own_is_refused_with_its_line(project: Path) -> None:
    (project / "params.yaml").write_text(f"{OWN}tree:\n  a.b: 2\n", encoding="utf-8")
    assert "params.yaml:5: tree.a.b" in said(project)


def test_the_keys_of_the_other_files_stay_what_they_are(project: Path) -> None:
    assert "unknown key" in said(project, "study.n_trails=4")
    (project / "params.yaml").write_text(f"{OWN}study: {{}}\n", encoding="utf-8")
    assert "belongs into optuna_params.yaml" in said(project)


def test_interpolation_reaches_ones_own_values(project: Path) -> None:
    (project / "params.yaml").write_text(f"{OWN}twice: ${{forest.depth}}\n", encoding="utf-8")
    tree: dict[str, Any] = load(project).settings.run.model_dump()
    assert tree["twice"] == 3
