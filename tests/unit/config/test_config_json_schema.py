from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tunectl.config import fields
from tunectl.config.json_schema import DIALECT, FOLDER, render_schemas, schema_name
from tunectl.config.schema import Surroundings
from tunectl.config.search_schema import Search
from tunectl.config.signal_run import TrainingRun
from tunectl.config.templates import render

ROOT = Path(__file__).parents[3]
FILES = ("config.yaml", "params.yaml", "optuna_params.yaml")
SCHEMAS: dict[str, Any] = render_schemas({"study.sampler.name": ["RandomSampler", "TPESampler"]})


def marks(file: str, text: str) -> list[str]:
    """Return where an editor would mark a text."""
    validator = Draft202012Validator(SCHEMAS[schema_name(file)])
    return [error.json_path for error in validator.iter_errors(yaml.safe_load(text))]


@pytest.mark.parametrize("file", FILES)
def test_the_schemas_are_schemas_that_name_their_draft(file: str) -> None:
    schema = SCHEMAS[schema_name(file)]

    Draft202012Validator.check_schema(schema)

    assert schema["$schema"] == DIALECT
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("folder", [ROOT, ROOT / "examples" / "soft_sensor"], ids=lambda p: p.name)
def test_files_that_are_right_are_not_marked(folder: Path, file: str) -> None:
    assert marks(file, (folder / file).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("file", FILES)
def test_each_template_starts_with_the_line_that_editors_look_for(file: str) -> None:
    first = render()[file].splitlines()[0]

    assert first == f"# yaml-language-server: $schema={FOLDER}/{schema_name(file)}"


def test_every_value_says_what_it_is() -> None:
    for model, file in zip((Surroundings, TrainingRun, Search), FILES, strict=True):
        schema = SCHEMAS[schema_name(file)]
        for key in fields.leaves(model):
            here: Any = schema
            for part in key.split("."):
                below = here["properties"][part]
                ways = [way["$ref"] for way in below.get("anyOf", []) if "$ref" in way]
                inner = [ref for ref in ways if not ref.endswith("Interpolation")]
                here = schema["$defs"][inner[0].rpartition("/")[2]] if inner else below
                assert below["description"], key


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.yaml", "runtime: {divice: cpu}"),
        ("config.yaml", "runtime: {workers: two}"),
        ("config.yaml", "outputs: {}"),
        ("params.yaml", "training: {epoch: 5}"),
        ("params.yaml", "training: {epochs: 0}"),
        ("params.yaml", "training: {optimizer: sdg}"),
        ("params.yaml", "training.epochs: 5"),
        ("params.yaml", "dataset: {drop_channels: [-1]}"),
        ("optuna_params.yaml", "study: {trials: 5}"),
        ("optuna_params.yaml", "study: {direction: minimise}"),
        ("optuna_params.yaml", "study: {name: 'my study'}"),
        ("optuna_params.yaml", "study: {sampler: {name: TPESampeler}}"),
        ("optuna_params.yaml", "params_to_tune: {model.hiden: {low: 4, high: 8}}"),
        ("optuna_params.yaml", "params_to_tune: {model: {hiden: {low: 4, high: 8}}}"),
        ("optuna_params.yaml", "params_to_tune: {model.hidden: {low: 4, hgih: 8}}"),
        ("optuna_params.yaml", "params_to_tune: {model.hidden: {low: 4, min: 4, max: 8}}"),
        ("optuna_params.yaml", "params_to_tune: {model.hidden: {low: 1, high: 8}}"),
        ("optuna_params.yaml", "params_to_tune: {model.hidden: {type: float, low: 4, high: 8}}"),
        ("optuna_params.yaml", "params_to_tune: {model.hidden: {choices: [4, eight]}}"),
        ("optuna_params.yaml", "params_to_tune: {model.hidden: {low: 4, high: 8, when: {a: 1}}}"),
        ("optuna_params.yaml", "base_params: {training.epoch: 5}"),
    ],
)
def test_what_is_mistyped_is_marked(file: str, text: str) -> None:
    assert marks(file, text)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.yaml", "runtime:"),
        ("params.yaml", "training: {seed: '${study.seed}', run_name: null}"),
        ("optuna_params.yaml", "study: {sampler: {name: my_package.samplers.Mine}}"),
        ("optuna_params.yaml", "study: {pruner: {kwargs: {anything: 3}}}"),
        ("optuna_params.yaml", "study: {metric: [val_mse, n_parameters], direction: minimize}"),
        ("optuna_params.yaml", "params_to_tune: {model: {hidden: {min: 4, max: 8}}}"),
        ("optuna_params.yaml", "params_to_tune: {model.hidden: {low: '${study.seed}', high: 90}}"),
        ("optuna_params.yaml", "params_to_tune: {training.learning_rate: {low: 1, high: 2}}"),
        (
            "optuna_params.yaml",
            "params_to_tune: {model.hidden: {low: 4, high: 8, when: {model: {type: [cnn1d]}}}}",
        ),
        ("optuna_params.yaml", "params_to_tune:"),
        ("optuna_params.yaml", "base_params: {training.epochs: 5, model: {hidden: 8}}"),
    ],
)
def test_what_load_accepts_beyond_the_models_is_not_marked(file: str, text: str) -> None:
    assert marks(file, text) == []
