from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from tunectl.config.json_schema import render_schemas, schema_name
from tunectl.config.layout import layout_of
from tunectl.config.load import load
from tunectl.config.runs import RUNS
from tunectl.config.schema import Surroundings
from tunectl.config.search_schema import Study
from tunectl.config.seed_spaces import SEED_SPACES
from tunectl.config.signal_run import TrainingRun
from tunectl.config.templates import SEED_SPACE, render

ROOT = Path(__file__).parents[3]


def _write(folder: Path) -> None:
    for name, text in render().items():
        (folder / name).write_text(text, encoding="utf-8")


def test_the_templates_say_the_defaults_and_nothing_else(tmp_path: Path) -> None:
    _write(tmp_path)

    loaded = load(tmp_path)

    assert loaded.settings.surroundings == Surroundings()
    assert loaded.settings.run == TrainingRun()
    assert loaded.settings.search.study == Study()
    assert list(loaded.settings.search.params_to_tune) == list(SEED_SPACE)
    assert {origin.kind for origin in loaded.origins.values()} == {"file"}


@pytest.mark.parametrize("objective", sorted(SEED_SPACES))
def test_the_templates_of_every_objective_are_valid_and_say_its_defaults(
    tmp_path: Path, objective: str
) -> None:
    schemas = render_schemas(layout=layout_of(objective))
    for name, text in render(objective).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        values = yaml.safe_load(text)
        jsonschema.validate(values, schemas[schema_name(name)])

    loaded = load(tmp_path)

    assert loaded.settings.run == RUNS[objective]()
    assert list(loaded.settings.search.params_to_tune) == list(SEED_SPACES[objective])
    assert {origin.kind for origin in loaded.origins.values()} == {"file"}


def test_the_seed_space_makes_each_weight_depend_on_the_weighted_loss(tmp_path: Path) -> None:
    _write(tmp_path)

    space = load(tmp_path).settings.search.params_to_tune

    conditions = [space[f"training.weight_target_{index}"].when for index in range(6)]
    assert conditions == [{"training.use_weighted_loss": True}] * 6


@pytest.mark.parametrize("name", ["config.yaml", "params.yaml", "optuna_params.yaml"])
def test_other_readers_of_yaml_see_the_same_values(tmp_path: Path, name: str) -> None:
    """PyYAML reads YAML 1.1, in which 1e-05 and `no` mean something else."""
    _write(tmp_path)
    loaded = load(tmp_path)
    values = yaml.safe_load(render()[name])

    if name == "config.yaml":
        assert Surroundings.model_validate(values) == loaded.settings.surroundings
    elif name == "params.yaml":
        assert TrainingRun.model_validate(values) == loaded.settings.run
    else:
        assert Study.model_validate(values["study"]) == loaded.settings.search.study
        assert values["params_to_tune"] == SEED_SPACE


def test_no_line_is_too_long_to_read() -> None:
    lines = [line for text in render().values() for line in text.splitlines()]

    assert max(map(len, lines)) <= 110
    assert not [line for line in lines if line != line.rstrip() or "\t" in line]


@pytest.mark.parametrize("name", ["config.yaml", "params.yaml", "optuna_params.yaml"])
def test_the_repositorys_own_files_are_the_templates(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == render()[name]
